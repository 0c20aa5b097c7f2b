"""Schedules that Temporal lost, kept or changed, and a reconciler that did not run."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from activities import schedule_watch, temporal_schedules
from contracts.schedules import StoredSchedule
from storage.schedules import schedules
from tests.support.waiting import until
from tests.watchdog.conftest import Watched
from workflows.catalogue import RECONCILER, WATCHDOG
from workflows.defaults import ensure_defaults


async def default(watched: Watched, job: str) -> StoredSchedule:
    """The default schedule of a job."""
    async with watched.database.transaction() as session:
        team = await schedules.installation(session)
        schedule = await schedules.default_schedule(session, team, job)
    assert schedule is not None
    return schedule


Holds = bool | None
"""Of a schedule in Temporal: whether it is paused; None when it is not there."""


@pytest.mark.parametrize(
    ("fault", "seen", "mended"),
    [("deleted", None, False), ("paused", True, False), ("never defined", False, None)],
)
async def test_schedules_that_differ_in_temporal_are_put_right_by_the_reconciler(
    watched: Watched, fault: str, seen: Holds, mended: Holds
) -> None:
    await ensure_defaults(watched.database, watched.client)
    await watched.sql("UPDATE schedule SET updated_at = now() - interval '10 minutes'")
    assert (await watched.cycle()).counts == {}
    schedule = await default(watched, WATCHDOG)
    team = schedule.team_id
    handle = watched.client.get_schedule_handle(f"schedule/{schedule.id}")
    match fault:
        case "deleted":
            await handle.delete()
        case "paused":
            await handle.pause()
        case _:
            await watched.sql("DELETE FROM schedule WHERE id = :id", id=schedule.id)

    async def holds(expected: Holds) -> bool:
        held = {each.id: each async for each in temporal_schedules.listed(watched.client, team)}
        entry = held.get(schedule.id)
        return (None if entry is None else entry.paused) is expected

    await until(partial(holds, seen))  # Temporal's list is a moment behind

    async with watched.working():
        assert (await watched.cycle()).counts == {"schedules_differ": 1}
        await until(partial(holds, mended))
        await until(partial(has_reconciled, watched))
        assert (await watched.cycle()).counts == {}


async def has_reconciled(watched: Watched) -> bool:
    """Whether a run of the reconciler has completed, and none goes on."""
    runs = "SELECT DISTINCT outcome FROM job_run WHERE job = 'schedule_reconciler'"
    return await watched.sql(runs) == [("completed",)]


async def test_a_reconciler_that_was_due_and_did_not_run_is_run(watched: Watched) -> None:
    await ensure_defaults(watched.database, watched.client)
    assert (await watched.cycle()).counts == {}  # made just now: not due yet
    schedule = await default(watched, RECONCILER)
    assert schedule_watch.RECONCILER == RECONCILER
    await watched.client.get_schedule_handle(f"schedule/{schedule.id}").delete()
    await watched.sql("UPDATE schedule SET created_at = now() - interval '1 hour'")

    async with watched.working():
        done = await watched.cycle()
        assert done.counts == {"reconciler_late": 1}

        await until(partial(has_reconciled, watched))
        assert (await watched.cycle()).counts == {}
    described = await watched.client.get_schedule_handle(f"schedule/{schedule.id}").describe()
    assert not described.schedule.state.paused  # put back


async def test_a_reconciler_that_a_person_paused_is_left_alone(watched: Watched) -> None:
    await ensure_defaults(watched.database, watched.client)
    await watched.sql("UPDATE schedule SET created_at = now() - interval '1 hour', paused = true")
    assert (await watched.cycle()).counts == {}


async def test_a_reconciler_that_is_due_only_once_a_day_is_left_alone(watched: Watched) -> None:
    await ensure_defaults(watched.database, watched.client)
    now = datetime.now(UTC)
    never_soon = '{"type": "interval", "every_seconds": 864000, "offset_seconds": %d}'
    offset = (int(now.timestamp()) + 3_600) % 864_000
    await watched.sql(
        "UPDATE schedule SET created_at = now() - interval '1 hour',"
        " trigger = CAST(:trigger AS jsonb)",
        trigger=never_soon % offset,
    )
    async with watched.database.transaction() as session:
        team = await schedules.installation(session)
        for schedule in await schedules.unfinished_schedules(session, after=None, limit=100):
            await temporal_schedules.put(watched.client, schedule, team)
    assert (await watched.cycle()).counts == {}
