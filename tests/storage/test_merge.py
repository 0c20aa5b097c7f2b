"""What merging a shard does to findings."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from contracts.errors import NotFound, StagingLost
from contracts.findings import FindingFilter
from contracts.observations import CoveredCheck
from contracts.scans import FindingCounts
from contracts.vocabulary import FindingState, FindingTransition, Severity
from storage.database import Database
from storage.findings import findings
from storage.merge import merge_shard, staging
from tests.storage.lab import FAIL, MANUAL, NOT_ASSESSED, PASS, Lab, at_once, make_lab, observed

WRITTEN = (
    "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables"
    " WHERE relname LIKE 'finding%' AND relname <> 'finding_staging'"
    " AND n_tup_ins + n_tup_upd + n_tup_del > 0"
)
PUBLIC = CoveredCheck("s3_public", "eu-west-1")


async def test_a_first_scan_opens_what_fails_and_keeps_what_passes(lab: Lab) -> None:
    counts = await lab.scan([observed("a"), observed("b", PASS), observed("c", MANUAL)])
    assert counts == FindingCounts(new=3)
    found = {each.resource.name: each for each in await lab.list()}
    assert {name: each.state for name, each in found.items()} == {
        "a": FindingState.OPEN,
        "b": FindingState.RESOLVED,
        "c": FindingState.OPEN,
    }
    assert found["b"].resolved_at is None
    assert {each.first_seen_at for each in found.values()} == {found["a"].last_seen_at}
    opened = await lab.one(resource_uid=["arn:aws:s3:::a"])
    assert [event.transition for event in opened.history] == [FindingTransition.OPENED]
    assert opened.history[0].after == {"status": "fail", "severity": "high"}
    assert opened.history[0].scan_id == opened.first_scan_id


async def test_an_identical_rescan_writes_no_row_and_was_the_last_to_see_them(lab: Lab) -> None:
    rows = [observed(str(number), FAIL if number % 3 else PASS) for number in range(20)]
    await lab.scan(rows)
    before = await lab.list()
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, list(reversed(rows)))
    async with lab.database.transaction() as session:
        written = (await session.execute(text(WRITTEN))).all()
        counts = await merge_shard(session, scan_id, "shard", at=lab.clock())
        assert (await session.execute(text(WRITTEN))).all() == written
    assert counts == FindingCounts(unchanged=20)
    await lab.end(scan_id)
    after = await lab.list()
    assert {each.last_scan_id for each in after} == {scan_id}
    assert all(
        then.last_seen_at < now.last_seen_at for then, now in zip(before, after, strict=True)
    )
    seen = {"last_seen_at", "last_scan_id"}
    assert [each.model_dump(exclude=seen) for each in after] == [
        each.model_dump(exclude=seen) for each in before
    ]


async def test_a_fixed_resource_resolves_and_a_broken_one_reopens_with_history(lab: Lab) -> None:
    await lab.scan([observed()])
    assert await lab.scan([observed(status=PASS, detail="It is private.")]) == FindingCounts(
        resolved=1
    )
    resolved = await lab.one()
    assert (resolved.state, resolved.status) == (FindingState.RESOLVED, PASS)
    assert resolved.resolved_at == resolved.history[-1].at
    assert await lab.scan([observed()]) == FindingCounts(changed=1)
    reopened = await lab.one()
    assert (reopened.state, reopened.resolved_at) == (FindingState.OPEN, None)
    assert [event.transition for event in reopened.history] == [
        FindingTransition.OPENED,
        FindingTransition.RESOLVED,
        FindingTransition.REOPENED,
    ]
    assert reopened.history[2].before == {
        "status": "pass",
        "state": "resolved",
        "detail": "It is private.",
    }
    assert reopened.history[2].after == {
        "status": "fail",
        "state": "open",
        "detail": "It is public.",
    }
    assert reopened.history[0].after == {"status": "fail", "severity": "high"}


async def test_another_severity_or_detail_is_a_change_with_what_differs(lab: Lab) -> None:
    await lab.scan([observed()])
    counts = await lab.scan([observed(severity=Severity.CRITICAL)])
    assert counts == FindingCounts(changed=1)
    found = await lab.one()
    assert found.history[1].transition is FindingTransition.CHANGED
    assert (found.history[1].before, found.history[1].after) == (
        {"severity": "high"},
        {"severity": "critical"},
    )
    assert found.history[0].after == {"status": "fail", "severity": "high"}


async def test_what_is_gone_inside_coverage_is_resolved_and_says_so(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b")])
    first = await lab.list()
    assert await lab.scan([observed("a")]) == FindingCounts(resolved=1, unchanged=1)
    gone = await lab.one(resource_uid=["arn:aws:s3:::b"])
    assert (gone.state, gone.status) == (FindingState.RESOLVED, FAIL)
    assert gone.history[-1].reason == "gone"
    assert gone.history[-1].after == {"state": "resolved"}
    # It was last seen by the scan before, even though that wrote nothing since.
    assert gone.last_scan_id == first[0].last_scan_id
    assert await lab.scan([observed("a")]) == FindingCounts(unchanged=1)
    assert await lab.one(resource_uid=["arn:aws:s3:::b"]) == gone


async def test_gone_after_unchanged_scans_was_last_seen_by_the_latest_of_them(lab: Lab) -> None:
    await lab.scan([observed()])
    await lab.scan([observed()])
    latest = (await lab.one()).last_scan_id
    await lab.scan([], [PUBLIC])
    gone = await lab.one()
    assert (gone.state, gone.last_scan_id) == (FindingState.RESOLVED, latest)


async def test_what_comes_back_failing_is_reopened(lab: Lab) -> None:
    await lab.scan([observed()])
    await lab.scan([], [PUBLIC])
    assert await lab.scan([observed()]) == FindingCounts(changed=1)
    back = await lab.one()
    assert (back.state, back.resolved_at) == (FindingState.OPEN, None)
    assert (back.history[-1].transition, back.history[-1].reason) == (
        FindingTransition.REOPENED,
        "returned",
    )


async def test_a_pass_that_is_gone_is_neither_listed_nor_counted_until_it_is_back(
    lab: Lab,
) -> None:
    await lab.scan([observed(status=PASS)])
    assert await lab.scan([], [PUBLIC]) == FindingCounts()
    assert await lab.list() == []
    async with lab.database.transaction() as session:
        summary = await findings.summarize_findings(session, lab.team_id, FindingFilter())
    assert summary.total == 0
    assert await lab.scan([observed(status=PASS)]) == FindingCounts()
    assert [event.transition for event in (await lab.one()).history] == [FindingTransition.OPENED]


@pytest.mark.parametrize(
    "covered", [[], [CoveredCheck("s3_public", "us-east-1")], [CoveredCheck("s3_x", "eu-west-1")]]
)
async def test_what_was_not_covered_resolves_nothing(lab: Lab, covered: list[CoveredCheck]) -> None:
    await lab.scan([observed("a"), observed("b")])
    assert await lab.scan([], covered) == FindingCounts()
    assert {each.state for each in await lab.list()} == {FindingState.OPEN}


async def test_verdicts_outside_coverage_are_merged_and_resolve_nothing(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b")])
    counts = await lab.scan([observed("a", PASS), observed("new")], [])
    assert counts == FindingCounts(new=1, resolved=1)
    assert (await lab.one(resource_uid=["arn:aws:s3:::b"])).state is FindingState.OPEN


async def test_not_assessed_turns_no_verdict_and_resolves_nothing(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b", PASS), observed("c")])
    before = await lab.list()
    counts = await lab.scan([observed("a", PASS), observed("b")], covered=[], not_assessed=[PUBLIC])
    assert counts == FindingCounts(unchanged=2)
    assert await lab.list() == before


async def test_a_new_finding_may_be_not_assessed_and_is_then_judged(lab: Lab) -> None:
    assert await lab.scan([observed()], [], not_assessed=[PUBLIC]) == FindingCounts(new=1)
    assert ((await lab.one()).status, (await lab.one()).state) == (
        NOT_ASSESSED,
        FindingState.OPEN,
    )
    assert await lab.scan([observed(status=PASS)]) == FindingCounts(resolved=1)


async def test_findings_of_one_resource_are_told_apart_by_name_then_detail(lab: Lab) -> None:
    rows = [
        observed("user", name="key-1", detail="Key A is old."),
        observed("user", name="key-2", detail="Key A is old."),
        observed("user", name="key-1", detail="Key B is old."),
    ]
    assert await lab.scan(rows) == FindingCounts(new=3)
    before = await lab.list()
    assert len({each.id for each in before}) == 3
    assert await lab.scan(list(reversed(rows))) == FindingCounts(unchanged=3)
    assert [each.id for each in await lab.list()] == [each.id for each in before]


async def test_merging_twice_changes_nothing(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, [observed("a"), observed("b", PASS)])
    first = await lab.merge(scan_id)
    rows = await lab.sql("SELECT ctid::text, xmin::text FROM finding ORDER BY id")
    assert await lab.merge(scan_id) == first == FindingCounts(new=2)
    assert await lab.sql("SELECT ctid::text, xmin::text FROM finding ORDER BY id") == rows
    assert (
        await lab.sql("SELECT 1 FROM finding_staging UNION ALL SELECT 2 FROM coverage_staging")
        == []
    )


async def test_one_shard_merged_twice_at_once_is_merged_once(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, [observed(str(number)) for number in range(200)])
    counts = await at_once(*(lab.merge(scan_id) for _ in range(4)))
    assert counts == [FindingCounts(new=200)] * 4
    assert len(await lab.sql("SELECT 1 FROM finding")) == 200


async def test_shards_of_one_scan_merge_at_once(lab: Lab) -> None:
    keys = [f"shard {number}" for number in range(4)]
    scan_id = await lab.begin(*keys)
    for number, key in enumerate(keys):
        rows = [observed(str(each), check_id=f"s3_{number}") for each in range(50)]
        await lab.stage(scan_id, rows, key=key)
    counts = await at_once(*(lab.merge(scan_id, key) for key in keys))
    assert counts == [FindingCounts(new=50)] * 4
    await lab.end(scan_id)
    assert len(await lab.list()) == 200


async def test_two_accounts_merge_at_once_and_never_mix(database: Database, lab: Lab) -> None:
    other = await make_lab(database, lab.team_id)
    shared = [observed(str(number)) for number in range(50)]
    done = await at_once(lab.scan(shared), other.scan(shared[:20]))
    assert done == [FindingCounts(new=50), FindingCounts(new=20)]
    assert len(await lab.list(account_id=[lab.account_id])) == 50
    assert await other.scan([], [PUBLIC]) == FindingCounts(resolved=20)
    assert {each.state for each in await lab.list(account_id=[lab.account_id])} == {
        FindingState.OPEN
    }


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM finding_staging WHERE resource_name = 'a'",
        "TRUNCATE finding_staging, coverage_staging",
        "TRUNCATE coverage_staging",
        "INSERT INTO finding_staging SELECT * FROM finding_staging LIMIT 1",
    ],
)
async def test_staging_that_is_not_what_was_reported_is_refused_and_merges_nothing(
    lab: Lab, loss: str
) -> None:
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, [observed("a"), observed("b")])
    await lab.sql(loss)
    with pytest.raises(StagingLost, match="Of shard shard"):
        await lab.merge(scan_id)
    assert await lab.sql("SELECT 1 FROM finding") == []
    assert await lab.sql("SELECT status FROM scan_task") == [("running",)]


async def test_a_shard_that_reported_nothing_is_refused(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    with pytest.raises(StagingLost):
        await lab.merge(scan_id)
    with pytest.raises(NotFound):
        await lab.merge(scan_id, "another")


async def test_a_retry_stages_anew(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, [observed("half")])
    async with lab.database.transaction() as session:
        await staging.clear_staging(session, scan_id, "shard")
    await lab.stage(scan_id, [observed("whole")])
    assert await lab.merge(scan_id) == FindingCounts(new=1)
    assert (await lab.one()).resource.name == "whole"


@pytest.mark.parametrize("decided", [FindingState.MUTED, FindingState.ACCEPTED])
async def test_what_a_person_decided_is_never_overridden(lab: Lab, decided: FindingState) -> None:
    await lab.scan([observed()])
    await lab.sql("UPDATE finding SET state = CAST(:state AS finding_state)", state=decided.value)
    assert await lab.scan([observed()]) == FindingCounts(unchanged=1)
    assert await lab.scan([observed(status=PASS)]) == FindingCounts(changed=1)
    found = await lab.one()
    assert (found.status, found.state, found.resolved_at) == (PASS, decided, None)
    await lab.scan([observed()])
    assert await lab.scan([], [PUBLIC]) == FindingCounts(changed=1)
    gone = await lab.one()
    assert (gone.status, gone.state) == (FAIL, decided)
    assert gone.history[-1].reason == "gone"
    assert await lab.scan([observed()]) == FindingCounts(changed=1)
    assert (await lab.one()).history[-1].reason == "returned"


@pytest.mark.parametrize(
    "odd",
    [
        "tab\there, line\nbreak, return\rand \\backslash \\N",
        "nul \0 inside",
        "half a pair \ud83d, a whole \U0001f600, ümlaut",
        "long " * 2000,
        "",
        "quote ' and \" and {brace} and %s and :name",
    ],
)
async def test_any_text_a_scanner_finds_is_stored(lab: Lab, odd: str) -> None:
    row = observed(odd, name=odd, detail=odd)
    assert await lab.scan([row, observed("plain")]) == FindingCounts(new=2)
    assert await lab.scan([row, observed("plain")]) == FindingCounts(unchanged=2)
    stored = {each.detail for each in await lab.list()}
    assert odd.replace("\0", "").replace("\ud83d", "?") in stored


async def test_ids_that_collide_by_name_or_differ_only_after_300_characters_are_two_findings(
    lab: Lab,
) -> None:
    long = "x" * 5000
    rows = [
        *[observed(f"{long}{n}", name="assets") for n in range(2)],
        *[observed(f"{long[:300]}{n}", name="assets") for n in range(2)],
        *[observed("assets", region=region) for region in ("eu-west-1", "us-east-1")],
        *[observed("assets", check_id=check) for check in ("s3_public_x", "s3_public-x")],
    ]
    assert await lab.scan(rows) == FindingCounts(new=len(rows))
    assert len({each.id for each in await lab.list()}) == len(rows)
    assert await lab.scan(rows) == FindingCounts(unchanged=len(rows))


async def test_a_shard_of_many_rows_merges_as_one_of_few_does(lab: Lab) -> None:
    """Above the number of rows where the planner is told to join whole sets."""
    from storage.merge import shards

    rows = [observed(str(number), FAIL if number % 2 else PASS) for number in range(300)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "MANY_ROWS", 100)
        assert await lab.scan(rows) == FindingCounts(new=300)
        assert await lab.scan(rows) == FindingCounts(unchanged=300)
        assert await lab.scan(rows[100:]) == FindingCounts(resolved=50, unchanged=200)
        turned = [row._replace(status=PASS) for row in rows]
        counts = await lab.scan(turned)
    assert counts == FindingCounts(resolved=100, changed=50, unchanged=100)
