"""Temporal is killed, emptied or changed behind our back: nothing is lost, doubled or locked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from contracts.runs import Run
from contracts.schedules import CronTrigger, IntervalTrigger, StoredSchedule
from contracts.vocabulary import OverlapPolicy, RunOutcome, ScheduleStatus
from runtime import search_attributes, task_queues
from runtime.settings import Settings
from runtime.temporal import connect, register_search_attributes
from storage.schedules import schedules
from tests.support.killable_temporal import KillableTemporal
from tests.support.scheduler import SchedulerLab, outcomes, scheduler_lab
from workflows.catalogue import EXPIRY_SWEEP, RECONCILER
from workflows.defaults import ensure_defaults, ensure_defaults_after_loss

HOURLY = CronTrigger(cron="0 * * * *")
NEVER_SOON = CronTrigger(cron="0 0 1 1 *")
OUTAGE_SECONDS = 30
EVERY = 5


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[KillableTemporal]:
    """A server of this test's own."""
    made = KillableTemporal(tmp_path)
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def own(server: KillableTemporal, database_url: str) -> AsyncIterator[SchedulerLab]:
    """A scheduler at work on that server."""
    settings = Settings(temporal_port=server.port, database_url=database_url, log_level="warning")
    client = await connect(settings)
    await register_search_attributes(client, search_attributes.TYPES)
    async with scheduler_lab(database_url, client, settings) as made, made.working():
        yield made


def _between(runs: list[Run], first: datetime, last: datetime) -> list[Run]:
    return [run for run in runs if first < run.nominal_at < last]


async def test_after_an_outage_each_policy_catches_up_as_it_says_and_nothing_stampedes(
    own: SchedulerLab, server: KillableTemporal
) -> None:
    every = IntervalTrigger(every_seconds=EVERY)
    skip = await own.add(every, overlap=OverlapPolicy.SKIP)
    queue = await own.add(every, overlap=OverlapPolicy.QUEUE, seconds=0.2)
    allow = await own.add(every, overlap=OverlapPolicy.ALLOW)
    dropped = await own.add(every, overlap=OverlapPolicy.ALLOW, catchup_seconds=10)
    everyone = (skip, queue, allow, dropped)
    for schedule in everyone:
        await own.until(schedule.id, lambda runs: len(runs) >= 1)
    await server.kill()
    down = datetime.now(UTC)
    await asyncio.sleep(OUTAGE_SECONDS)
    await server.start()
    up = datetime.now(UTC)

    due = OUTAGE_SECONDS // EVERY

    def missed(runs: list[Run]) -> list[Run]:
        return _between(runs, down + timedelta(seconds=1), up - timedelta(seconds=1))

    def caught_up(runs: list[Run]) -> bool:
        later = [run for run in runs if run.nominal_at > up + timedelta(seconds=EVERY)]
        return bool(later) and all(run.outcome.ended for run in runs)

    def all_caught_up(runs: list[Run]) -> bool:  # in whatever order workers come to them
        return caught_up(runs) and len(missed(runs)) >= due - 1

    told = {
        schedule.id: missed(await own.until(schedule.id, all_caught_up, seconds=90))
        for schedule in everyone[:-1]
    }
    told[dropped.id] = missed(await own.until(dropped.id, caught_up, seconds=90))
    # skip: of what is over 15 s late only the last runs; the rest has its record.
    assert len(told[skip.id]) >= due - 1
    late = [run for run in told[skip.id] if run.nominal_at < up - timedelta(seconds=20)]
    assert outcomes(late) == [RunOutcome.MISSED] * len(late)
    assert late
    assert "only the last one runs (overlap: skip)" in (late[0].reason or "")
    # queue and allow: every time, each once; queue one after the other.
    for schedule in (queue, allow):
        runs = told[schedule.id]
        assert outcomes(runs) == [RunOutcome.COMPLETED] * len(runs)
        assert len({run.nominal_at for run in runs}) == len(runs) >= due - 1
    ordered = sorted(told[queue.id], key=lambda run: run.started_at or up)
    for one, other in pairwise(ordered):
        assert one.ended_at <= other.started_at  # type: ignore[operator]
    # Missed by more than catchup_seconds: dropped.
    ran = [run for run in told[dropped.id] if run.outcome.started]
    assert all(run.nominal_at > up - timedelta(seconds=30) for run in ran)
    assert len(ran) < due - 1


async def test_a_time_that_nothing_fired_is_recorded_as_missed(own: SchedulerLab) -> None:
    schedule = await own.add(HOURLY, pushed=False)  # its maker died before Temporal heard of it
    await _set(own, schedule, accounted_until=datetime.now(UTC) - timedelta(hours=5))

    done = await own.reconcile()

    assert done.counts["created"] == 1
    runs = await own.runs(schedule.id)
    assert 3 <= len(runs) == done.counts["missed"] <= 4  # the last hour may still be caught up
    assert set(outcomes(runs)) == {RunOutcome.MISSED}
    assert runs[0].reason == "Nothing fired it: Temporal was away, or had lost this schedule."
    assert (await own.schedule(schedule.id)).counters.missed == len(runs)
    assert await own.in_temporal(schedule.id)
    await _listed(own, schedule.id)
    assert (await own.reconcile()).counts == {}


async def test_an_emptied_temporal_gets_every_schedule_back_and_fires_nothing_twice(
    own: SchedulerLab, server: KillableTemporal
) -> None:
    await ensure_defaults(own.database, own.client, own.jobs)
    active = await own.add(IntervalTrigger(every_seconds=2))
    paused = await own.add(IntervalTrigger(every_seconds=2), paused=True)
    before = await own.until(active.id, lambda runs: len(runs) >= 2)
    lost = await own.add(NEVER_SOON, seconds=300)
    lost_run = await own.start(lost.id)

    await server.lose_everything()
    await register_search_attributes(own.client, search_attributes.TYPES)
    assert await ensure_defaults_after_loss(own.database, own.client)
    await own.until(active.id, lambda runs: len(runs) >= len(before) + 2, seconds=60)

    for schedule in (active, paused, lost):
        assert await own.in_temporal(schedule.id)
    for name in (EXPIRY_SWEEP, RECONCILER):
        async with own.database.transaction() as session:
            team = await schedules.installation(session)
            default = await schedules.default_schedule(session, team, name)
        assert default is not None
        assert await own.in_temporal(default.id)
    assert await own.runs(paused.id) == []
    runs = await own.runs(active.id)
    assert len({run.nominal_at for run in runs}) == len(runs)
    # What Temporal forgot while it ran is ended, and its schedule free.
    async with own.database.transaction() as session:
        await session.execute(
            text("UPDATE job_run SET queued_at = queued_at - interval '2 minutes' WHERE id = :id"),
            {"id": lost_run},
        )
    await own.reconcile()
    (ended,) = await own.runs(lost.id)
    assert ended.outcome is RunOutcome.FAILED
    assert ended.error is not None
    assert "unknown to Temporal" in ended.error.message
    assert not await ensure_defaults_after_loss(own.database, own.client)


async def test_a_schedule_deleted_behind_our_back_comes_back(own: SchedulerLab) -> None:
    schedule = await own.add(NEVER_SOON)
    await _listed(own, schedule.id)
    await own.client.get_schedule_handle(f"schedule/{schedule.id}").delete()
    await own.until_gone(schedule.id)

    assert await _reconciled(own) == {"created": 1}

    assert await own.in_temporal(schedule.id)


@pytest.mark.parametrize("drift", ["times", "paused", "policy"])
async def test_a_schedule_changed_behind_our_back_is_corrected(
    own: SchedulerLab, drift: str
) -> None:
    schedule = await own.add(NEVER_SOON)
    await _listed(own, schedule.id)
    handle = own.client.get_schedule_handle(f"schedule/{schedule.id}")

    def change(given: ScheduleUpdateInput) -> ScheduleUpdate:
        held = given.description.schedule
        if drift == "times":
            every = ScheduleIntervalSpec(every=timedelta(days=300))
            held.spec = ScheduleSpec(intervals=[every])
        elif drift == "paused":
            held.state.paused = True
        else:
            held.policy.catchup_window = timedelta(days=365)
        return ScheduleUpdate(held)

    await handle.update(change)
    await asyncio.sleep(2)  # until its list shows it

    assert (await own.reconcile(full=True)).counts == {"corrected": 1}

    held = (await handle.describe()).schedule
    assert not held.state.paused
    assert held.spec.calendars
    assert held.policy.catchup_window == timedelta(hours=1)


async def test_what_nobody_defined_is_removed_but_not_what_others_made(own: SchedulerLab) -> None:
    schedule = await own.add(NEVER_SOON)
    foreign = Schedule(
        action=ScheduleActionStartWorkflow("Other", id="other", task_queue=task_queues.SCANS),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=300))]),
    )
    await own.client.create_schedule("somebody-else", foreign)
    await _listed(own, schedule.id)
    async with own.database.transaction() as session:
        await schedules.delete_schedule(session, schedule)  # and the process is killed here

    assert await _reconciled(own) == {"removed": 1}

    assert not await own.in_temporal(schedule.id)
    assert await own.client.get_schedule_handle("somebody-else").describe()


async def test_a_run_that_was_terminated_is_ended_by_the_reconciler(own: SchedulerLab) -> None:
    schedule = await own.add(NEVER_SOON, seconds=300)
    run_id = await own.start(schedule.id)
    await own.client.get_workflow_handle(f"run/{run_id}").terminate("by a test")
    async with own.database.transaction() as session:
        await session.execute(
            text("UPDATE job_run SET queued_at = queued_at - interval '2 minutes'")
        )

    assert (await own.reconcile()).counts["lost"] == 1

    (run,) = await own.runs(schedule.id)
    assert run.outcome is RunOutcome.TERMINATED
    assert (await own.reconcile()).counts.get("lost") is None


async def test_a_schedule_whose_end_has_passed_is_finished(own: SchedulerLab) -> None:
    schedule = await own.add(HOURLY, ends_at=datetime.now(UTC) + timedelta(days=1))
    await _listed(own, schedule.id)
    await _set(own, schedule, ends_at=datetime.now(UTC) - timedelta(hours=3))

    assert (await own.reconcile()).counts["finished"] == 1

    assert (await own.schedule(schedule.id)).status is ScheduleStatus.FINISHED
    assert not await own.in_temporal(schedule.id)


async def _set(lab: SchedulerLab, schedule: StoredSchedule, **values: datetime) -> None:
    """As if it had been so for long."""
    async with lab.database.transaction() as session:
        for name, value in values.items():
            await session.execute(
                text(f"UPDATE schedule SET {name} = :value WHERE id = :id"),  # noqa: S608
                {"value": value, "id": schedule.id},
            )


async def _listed(lab: SchedulerLab, schedule_id: UUID) -> None:
    """Return once Temporal's list shows the schedule: it lags by a moment."""
    async with asyncio.timeout(30):
        while True:
            found = [each.id async for each in await lab.client.list_schedules()]
            if f"schedule/{schedule_id}" in found:
                return
            await asyncio.sleep(0.2)


async def _reconciled(lab: SchedulerLab) -> dict[str, int]:
    """What the reconciler did once Temporal's list let it see something to do."""
    async with asyncio.timeout(30):
        while not (done := (await lab.reconcile()).counts):  # noqa: ASYNC110 (a list that lags)
            await asyncio.sleep(0.5)
    return done
