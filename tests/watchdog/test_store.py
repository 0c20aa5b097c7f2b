"""Rows that contradict each other, made so for real: mended within one cycle."""

from __future__ import annotations

import pytest

from activities import store_watch
from contracts.observations import ObservedResource
from contracts.vocabulary import FindingStatus
from storage.watchdog import count_drift
from tests.storage.lab import observed
from tests.watchdog.conftest import Watched, synced_lab

FAIL, PASS = FindingStatus.FAIL, FindingStatus.PASS


def resource(kind: str, name: str) -> ObservedResource:
    """Something of an inventory."""
    return ObservedResource(
        type=kind, uid=f"arn:aws:{kind}:::{name}", name=name, region="eu-west-1",
        tags={}, attributes={},
    )  # fmt: skip


@pytest.mark.parametrize(("ended", "shard"), [("failed", "failed"), ("cancelled", "cancelled")])
async def test_shards_of_an_ended_scan_that_are_said_to_run_are_ended(
    watched: Watched, ended: str, shard: str
) -> None:
    scan_id = await watched.store.begin("done", "runs", "waits")
    await watched.store.stage(scan_id, [observed()], key="done")
    await watched.store.merge(scan_id, "done")
    await watched.store.end(scan_id)
    await watched.sql("UPDATE scan SET status = :status", status=ended)
    await watched.sql("UPDATE scan_task SET status = 'running' WHERE key = 'runs'")
    await watched.sql("UPDATE scan_task SET status = 'pending' WHERE key = 'waits'")

    assert (await watched.cycle()).counts == {"shards_left": 1}

    rows = await watched.sql("SELECT key, status FROM scan_task ORDER BY key")
    assert rows == [("done", "completed"), ("runs", shard), ("waits", shard)]
    assert (await watched.cycle()).counts == {}


@pytest.mark.parametrize("fault", ["ended", "done", "deleted"])
async def test_staged_rows_that_nobody_will_merge_are_deleted_in_batches(
    watched: Watched, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watch, "ROWS_AT_ONCE", 3)
    other = await synced_lab(watched.database, watched.team_id)
    wanted = await other.begin("shard")  # of a scan that has not ended: they stay
    await other.stage(wanted, [observed(), observed("another")])
    scan_id = await watched.store.begin("shard", "other")
    await watched.store.stage(scan_id, [observed(f"bucket {n}") for n in range(10)])
    await watched.sql("UPDATE scan SET status = 'pending'")  # as those that have a workflow
    if fault == "ended":
        await watched.sql("UPDATE scan SET status = 'failed' WHERE id = :id", id=scan_id)
        await watched.sql("UPDATE scan_task SET status = 'failed' WHERE scan_id = :id", id=scan_id)
    elif fault == "done":
        await watched.sql(
            "UPDATE scan_task SET status = 'completed' WHERE scan_id = :id", id=scan_id
        )
    else:
        await watched.sql("DELETE FROM scan WHERE id = :id", id=scan_id)

    done = await watched.cycle()

    assert done.counts["staging_left"] == 1
    for table, left in (("finding_staging", 2), ("coverage_staging", 1)):
        rows = await watched.sql(
            f"SELECT count(*) FROM {table}"  # noqa: S608 (our own names)
        )
        assert rows == [(left,)]


async def test_resources_that_the_last_complete_discovery_did_not_see_are_marked_as_gone(
    watched: Watched,
) -> None:
    buckets = [resource("bucket", "a"), resource("bucket", "b")]
    queues = [resource("queue", "c"), resource("queue", "d")]
    await watched.store.discover([*buckets, *queues], ["bucket", "queue"])
    await watched.store.discover([*buckets, *queues], ["bucket", "queue"])
    assert (await watched.cycle()).counts == {}
    await watched.store.discover(buckets, ["bucket"])  # nothing reads queues any more

    assert (await watched.cycle()).counts == {"resources_unseen": 1}

    rows = await watched.sql("SELECT name, gone_at IS NULL FROM resource ORDER BY name")
    assert rows == [("a", True), ("b", True), ("c", False), ("d", False)]
    assert (await watched.cycle()).counts == {}
    # A later discovery that sees them has the last word.
    await watched.store.discover([*buckets, *queues], ["bucket", "queue"])
    assert await watched.sql("SELECT count(*) FROM resource WHERE gone_at IS NOT NULL") == [(0,)]
    assert (await watched.cycle()).counts == {}


async def test_a_discovery_that_was_not_complete_marks_nothing_as_gone(watched: Watched) -> None:
    buckets, queues = [resource("bucket", "a")], [resource("queue", "c")]
    await watched.store.discover([*buckets, *queues], ["bucket", "queue"])
    await watched.store.discover(buckets, ["bucket"])
    await watched.sql(
        "UPDATE scan_task SET status = 'completed_with_errors' "
        "WHERE scan_id = (SELECT id FROM scan ORDER BY id DESC LIMIT 1)"
    )
    assert (await watched.cycle()).counts == {}


WRONG = {
    "lost": "DELETE FROM finding_count",
    "doubled": "UPDATE finding_count SET n = 2 * n",
    "misplaced": "UPDATE finding_count SET region = 'nowhere'",
    "invented": "INSERT INTO finding_count (coverage_id, team_id, account_id, source, check_id,"
    " service, region, severity, status, state, n) SELECT 0, team_id, account_id, source, 'x',"
    " 'x', 'x', severity, status, state, 7 FROM finding_count",
    "total lost": "DELETE FROM finding_total",
    "total doubled": "UPDATE finding_total SET n = 2 * n",
    "both lost": "DELETE FROM finding_total; DELETE FROM finding_count",
}
COUNTED = """
    SELECT account_id::text, check_id, region, status::text, state::text, sum(n)
    FROM finding_count GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 ORDER BY 1, 2, 3, 4, 5
"""
TOTALED = """
    SELECT region, status::text, state::text, sum(n)
    FROM finding_total GROUP BY 1, 2, 3 HAVING sum(n) <> 0 ORDER BY 1, 2, 3
"""


@pytest.mark.parametrize("fault", WRONG)
async def test_running_totals_that_differ_from_the_findings_are_rebuilt(
    watched: Watched, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watch, "ACCOUNTS_A_CYCLE", 1)  # the total needs the other one, too
    other = await synced_lab(watched.database, watched.team_id)
    for lab in (watched.store, other):
        await lab.scan([observed("a"), observed("b", PASS), observed("c", check_id="iam_mfa")])
        await lab.scan([observed("a"), observed("b"), observed("c", check_id="iam_mfa")])
    counted, totaled = await watched.sql(COUNTED), await watched.sql(TOTALED)
    assert (await watched.cycle()).counts == {}
    for statement in WRONG[fault].split("; "):
        await watched.sql(statement)
    assert (await watched.sql(COUNTED), await watched.sql(TOTALED)) != (counted, totaled)

    done = await watched.cycle()

    assert done.counts.keys() & {"counts_wrong", "totals_wrong"}
    if fault == "both lost":  # then nothing shows that the other account is wrong: its turn is next
        await watched.cycle()
    assert await watched.sql(COUNTED) == counted
    assert await watched.sql(TOTALED) == totaled
    assert (await watched.cycle()).counts == {}


async def test_totals_are_checked_in_turn_the_longest_unchecked_account_first(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_watch, "ACCOUNTS_A_CYCLE", 2)
    accounts = {
        watched.account_id,
        await watched.another_account(),
        await watched.another_account(),
    }
    await watched.cycle()
    async with watched.database.transaction() as session:
        (first, second) = await count_drift.next_to_check(session, limit=2)
    checked = {row[0] for row in await watched.sql("SELECT account_id FROM count_check")}
    assert len(checked) == 2
    assert {first.id} == accounts - checked
    assert second.id in checked


async def test_what_a_merge_writes_meanwhile_is_not_counted_twice(watched: Watched) -> None:
    await watched.store.scan([observed("a")])
    await watched.sql("DELETE FROM finding_count")
    scan_id = await watched.store.begin("shard")
    await watched.store.stage(scan_id, [observed("a"), observed("b")])
    async with watched.database.transaction() as session:
        # Between what the repair sees and its commit a merge commits another finding.
        await count_drift.rebuild_counts(session, watched.team_id, watched.account_id)
        await watched.store.merge(scan_id)
    async with watched.database.transaction() as session:
        assert await count_drift.counts_lack(session, watched.account_id) == 0
