"""Scans, runs and resources go when they are over, old, and nothing needs them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.findings import Finding, FindingFilter
from contracts.observations import ObservedResource
from contracts.schedules import IntervalTrigger, JobTarget, NewSchedule
from contracts.vocabulary import RunOutcome
from storage.findings import findings
from storage.schedules import schedules
from tests.retention.conftest import Keeper
from tests.storage.lab import observed, places
from tests.storage.vulnerability_lab import add_rule, states, sync

BUCKETS = places([observed()])


def thing(name: str, **tags: str) -> ObservedResource:
    """A resource of the inventory."""
    return ObservedResource(
        type="bucket", uid=f"arn:aws:s3:::{name}", name=name, region="eu-west-1", tags=tags,
        attributes={},
    )  # fmt: skip


async def scan_ids(keeper: Keeper) -> list[UUID]:
    """Every scan of the account, oldest first."""
    rows = await keeper.lab.sql(
        "SELECT id FROM scan WHERE account_id = :id ORDER BY id", id=keeper.lab.account_id
    )
    return [row[0] for row in rows]


async def test_old_scans_go_with_their_shards_but_the_last_of_each_use_stay(
    keeper: Keeper,
) -> None:
    await keeper.keep(gone_resources=None, resolved_findings=None)
    await keeper.lab.scan([observed()])  # 0
    await keeper.lab.scan([observed(check_id="iam_mfa")])  # 1: the last that did this check
    await keeper.lab.discover([thing("one")], ["bucket"])  # 2
    await keeper.lab.discover([thing("one")], ["bucket"])  # 3: the last complete discovery
    await keeper.lab.scan([observed()])  # 4: the last that did this check, the last complete one
    failed = await keeper.lab.begin("shard")  # 5: the last that ended
    await keeper.lab.sql("UPDATE scan_task SET status = 'failed' WHERE scan_id = :id", id=failed)
    await keeper.lab.end(failed)
    running = await keeper.lab.begin("shard")
    ids = await scan_ids(keeper)
    keeper.pass_days(177)
    assert await keeper.cycle() == {}
    keeper.pass_days(4)
    assert (await keeper.preview())["scans"] == (2, 0, 4)
    assert await keeper.cycle() == {"scans": 2}
    assert await scan_ids(keeper) == [ids[1], ids[3], ids[4], failed, running]
    tasks = await keeper.lab.sql("SELECT DISTINCT scan_id FROM scan_task ORDER BY scan_id")
    assert [task[0] for task in tasks] == await scan_ids(keeper)


async def test_discoveries_that_the_inventory_goes_by_stay(keeper: Keeper) -> None:
    await keeper.lab.discover([], ["vpc"])  # the last that read this type
    await keeper.lab.discover([thing("one")], ["bucket"])
    await keeper.lab.discover([thing("one")], ["bucket"])  # the last that saw all regions
    for _ in range(2):
        await keeper.lab.discover([thing("one")], ["bucket"])
        await keeper.lab.sql(
            'UPDATE scan SET options = options || \'{"regions": ["eu-west-1"]}\''
            " WHERE id = (SELECT id FROM scan ORDER BY id DESC LIMIT 1)"
        )
    first, _, third, _, last = await scan_ids(keeper)
    keeper.pass_days(500)
    assert await keeper.cycle() == {"scans": 2}
    assert await scan_ids(keeper) == [first, third, last]


async def test_findings_are_found_by_when_they_were_first_seen_also_if_no_scan_tells_any_more(
    keeper: Keeper,
) -> None:
    seen: dict[str, datetime] = {}
    for name in ("a", "b", "c"):
        await keeper.lab.scan([observed(each) for each in (*seen, name)])
        seen[name] = keeper.now
        keeper.pass_days(100)
    for _ in range(2):
        assert [each.resource.name for each in await first_seen(keeper, seen["c"], days=1)] == ["c"]
        assert [each.resource.name for each in await first_seen(keeper, seen["b"], days=1)] == [
            *("b", "c"),
        ]
        assert len(await first_seen(keeper, seen["a"], days=50)) == 3
        assert await first_seen(keeper, keeper.now, days=0) == []
        await keeper.cycle()
    assert len(await scan_ids(keeper)) == 1


async def first_seen(keeper: Keeper, moment: datetime, *, days: float) -> list[Finding]:
    """What was first seen later than some days before, as a list and as a summary have it."""
    filter = FindingFilter(first_seen_after=moment - timedelta(days=days))
    found = sorted(await keeper.lab.list(filter), key=lambda each: each.resource.name)
    async with keeper.lab.database.transaction() as session:
        counted = await findings.summarize_findings(session, keeper.lab.team_id, filter)
    assert counted.total == len(found)
    return found


async def test_a_sync_after_scans_are_gone_writes_nothing(keeper: Keeper) -> None:
    for _ in range(3):
        await keeper.lab.scan([observed()])
    await sync(keeper.lab)
    before = await keeper.lab.sql("SELECT ctid, xmin FROM vulnerability_cursor")
    keeper.pass_days(500)
    assert (await keeper.cycle())["scans"] == 2
    await sync(keeper.lab)
    assert await keeper.lab.sql("SELECT ctid, xmin FROM vulnerability_cursor") == before


async def test_a_scan_that_a_live_run_names_stays(keeper: Keeper) -> None:
    for _ in range(2):
        await keeper.lab.scan([observed()])
    first, _ = await scan_ids(keeper)
    run = await a_run(keeper, RunOutcome.RUNNING, scan_id=first)
    keeper.pass_days(500)
    assert await keeper.cycle() == {}
    await end_run(keeper, run)
    assert await keeper.cycle() == {"scans": 1}


async def test_held_scans_stay_whatever_account_they_are_of(keeper: Keeper) -> None:
    other = await keeper.beside()
    for each in (keeper, other):
        for _ in range(2):
            await each.lab.scan([observed()])
    hold = await keeper.hold(account_id=keeper.lab.account_id)
    keeper.pass_days(500)
    assert (await keeper.preview())["scans"] == (1, 1, 2)
    assert await keeper.cycle() == {"scans": 1}
    assert (len(await scan_ids(keeper)), len(await scan_ids(other))) == (2, 1)
    await keeper.lift(hold)
    assert await keeper.cycle() == {"scans": 1}


async def a_run(keeper: Keeper, outcome: RunOutcome, **fields: Any) -> UUID:
    """A run that came up now and stands like this."""
    at = keeper.lab.clock()
    row = {
        "id": uuid4(), "team_id": keeper.lab.team_id, "job": "sla_check", "at": at,
        "ended_at": at if outcome.ended else None, "outcome": outcome.value,
        "schedule_id": None, "scan_id": None, "account_id": None, **fields,
    }  # fmt: skip
    await keeper.lab.sql(
        """
        INSERT INTO job_run (id, team_id, job, params, trigger, nominal_at, overlap, overlap_key,
                             outcome, queued_at, ended_at, schedule_id, scan_id)
        VALUES (:id, :team_id, :job, jsonb_build_object('account_id', CAST(:account_id AS text)),
                'schedule', :at, 'skip', 'key', :outcome, :at, :ended_at, :schedule_id, :scan_id)
        """,
        **row,
    )
    return UUID(str(row["id"]))


async def end_run(keeper: Keeper, run_id: UUID) -> None:
    """It has ended now."""
    await keeper.lab.sql(
        "UPDATE job_run SET outcome = 'completed', ended_at = :at WHERE id = :id",
        at=keeper.now, id=run_id,
    )  # fmt: skip


async def a_schedule(keeper: Keeper, at: datetime) -> UUID:
    """A schedule of a job."""
    new = NewSchedule(
        name="nightly",
        target=JobTarget(job="sla_check"),
        trigger=IntervalTrigger(every_seconds=86_400),
    )
    async with keeper.lab.database.transaction() as session:
        made = await schedules.create_schedule(session, keeper.lab.team_id, new, at=at)
    assert made is not None
    return made.id


async def run_ids(keeper: Keeper) -> set[UUID]:
    """Every run of the team."""
    rows = await keeper.lab.sql("SELECT id FROM job_run WHERE team_id = :id", id=keeper.lab.team_id)
    return {row[0] for row in rows}


async def test_old_runs_go_but_the_last_of_a_job_and_of_a_schedule_stay(keeper: Keeper) -> None:
    schedule_id = await a_schedule(keeper, keeper.now)
    live = await a_run(keeper, RunOutcome.RUNNING)
    await a_run(keeper, RunOutcome.COMPLETED, schedule_id=schedule_id)
    success = await a_run(keeper, RunOutcome.COMPLETED, schedule_id=schedule_id)
    await a_run(keeper, RunOutcome.FAILED, schedule_id=schedule_id)
    last = await a_run(keeper, RunOutcome.MISSED, schedule_id=schedule_id)
    await a_run(keeper, RunOutcome.COMPLETED, schedule_id=uuid4())  # its schedule was removed
    of_job = await a_run(keeper, RunOutcome.SKIPPED)
    other_job = await a_run(keeper, RunOutcome.COMPLETED, job="expiry_sweep")
    keeper.pass_days(401)
    assert await keeper.preview() == {"runs": (3, 0, 4)}
    assert await keeper.cycle(limit=2) == {"runs": 3}
    assert await run_ids(keeper) == {live, success, last, of_job, other_job}
    assert await keeper.cycle() == {}


async def test_a_run_is_as_old_as_its_end(keeper: Keeper) -> None:
    run = await a_run(keeper, RunOutcome.RUNNING)
    await a_run(keeper, RunOutcome.COMPLETED)
    keeper.pass_days(500)
    await end_run(keeper, run)
    assert await keeper.cycle() == {}
    keeper.pass_days(400)
    assert await keeper.cycle() == {"runs": 1}


async def test_runs_are_held_by_job_and_by_account(keeper: Keeper) -> None:
    account_id = str(keeper.lab.account_id)
    for _ in range(2):
        await a_run(keeper, RunOutcome.COMPLETED)
        await a_run(keeper, RunOutcome.COMPLETED, job="cloud_scan", account_id=account_id)
        await a_run(keeper, RunOutcome.COMPLETED, job="cloud_scan", account_id=str(uuid4()))
    await keeper.hold(job="sla_check")
    await keeper.hold(account_id=account_id)
    keeper.pass_days(500)
    assert await keeper.preview() == {"runs": (1, 3, 2)}
    assert await keeper.cycle() == {"runs": 1}


async def test_resources_go_some_time_after_they_are_gone(keeper: Keeper) -> None:
    await keeper.lab.discover([thing("stays"), thing("goes")], ["bucket"])
    await keeper.lab.discover([thing("stays")], ["bucket"])
    await keeper.keep(scans=None)
    keeper.pass_days(399)
    assert await keeper.cycle() == {}
    keeper.pass_days(1)
    assert await keeper.cycle() == {"gone_resources": 1}
    assert [row["name"] for row in await keeper.rows("resource")] == ["stays"]
    back = await keeper.lab.discover([thing("stays"), thing("goes")], ["bucket"])
    assert (back.new, back.unchanged) == (1, 1)


async def test_a_resource_by_whose_tag_a_finding_is_muted_stays(keeper: Keeper) -> None:
    await keeper.lab.discover([thing("bucket", env="test")], ["bucket"])
    await keeper.lab.scan([observed()])
    await add_rule(keeper.lab, tag="env:test")
    await sync(keeper.lab)
    await keeper.lab.discover([], ["bucket"])
    keeper.pass_days(500)
    assert "gone_resources" not in await keeper.cycle()
    await sync(keeper.lab)
    assert await states(keeper.lab) == {"bucket": "muted"}


@pytest.mark.parametrize("criterion", ["tag", "resource", "region", "account_id", "kinds"])
async def test_what_a_hold_names_stays_with_its_finding(keeper: Keeper, criterion: str) -> None:
    await keeper.keep(scans=None, events=None)
    await keeper.lab.discover([thing("held", case="4711"), thing("other")], ["bucket"])
    await keeper.lab.discover([], ["bucket"])
    await keeper.lab.scan([observed("held"), observed("other", region="us-east-1")])
    await keeper.lab.scan([], places([observed(), observed(region="us-east-1")]))
    named: dict[str, Any] = {
        "tag": "case:4711", "resource": "arn:*:he*d", "region": "eu-west-1",
        "account_id": keeper.lab.account_id, "kinds": ["resolved_findings"],
    }  # fmt: skip
    hold = await keeper.hold(**{criterion: named[criterion]})
    keeper.pass_days(500)
    shown = await keeper.preview()
    held = {"tag": (1, 1), "resource": (1, 1), "region": (1, 2), "account_id": (2, 2),
            "kinds": (2, 0)}[criterion]  # fmt: skip
    assert shown["resolved_findings"] == (2 - held[0], held[0], 0)
    assert shown["gone_resources"] == (2 - held[1], held[1], 0)
    await keeper.cycle()
    assert await keeper.count("finding") == held[0]
    assert await keeper.count("resource") == held[1]
    await keeper.lift(hold)
    await keeper.cycle()
    assert (await keeper.count("finding"), await keeper.count("resource")) == (0, 0)
