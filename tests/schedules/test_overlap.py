"""Each trigger with each overlap policy, on a real server: the table of docs/schedules.md."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from contracts.runs import Run
from contracts.schedules import (
    CronTrigger,
    ExpiryTrigger,
    IntervalTrigger,
    OneTimeTrigger,
    StoredSchedule,
)
from contracts.tracked_items import NewTrackedItem
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger
from storage.schedules import tracked_items
from tests.support.scheduler import SchedulerLab

DONE, SKIPPED = RunOutcome.COMPLETED, RunOutcome.SKIPPED
CANCELLED, TERMINATED = RunOutcome.CANCELLED, RunOutcome.TERMINATED

# One run is going on. Then a time comes up, and right after it another run is asked for.
POLICIES = {
    # policy: what becomes of the run going on, the one whose time came, and the one after it
    OverlapPolicy.SKIP: (DONE, SKIPPED, SKIPPED),
    OverlapPolicy.QUEUE: (DONE, DONE, DONE),
    OverlapPolicy.QUEUE_ONE: (DONE, DONE, SKIPPED),
    OverlapPolicy.CANCEL_PREVIOUS: (CANCELLED, CANCELLED, DONE),
    OverlapPolicy.TERMINATE_PREVIOUS: (TERMINATED, TERMINATED, DONE),
    OverlapPolicy.ALLOW: (DONE, DONE, DONE),
}
Story = tuple[StoredSchedule, list[Run]]


async def _cron(lab: SchedulerLab, overlap: OverlapPolicy) -> StoredSchedule:
    return await lab.add(CronTrigger(cron="* * * * *"), overlap=overlap, seconds=300)


async def _interval(lab: SchedulerLab, overlap: OverlapPolicy) -> StoredSchedule:
    soon = int((datetime.now(UTC) + timedelta(seconds=8)).timestamp())
    every = 86_400
    trigger = IntervalTrigger(every_seconds=every, offset_seconds=soon % every)
    return await lab.add(trigger, overlap=overlap, seconds=300)


async def _one_time(lab: SchedulerLab, overlap: OverlapPolicy) -> StoredSchedule:
    soon = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    return await lab.add(OneTimeTrigger(at=soon), overlap=overlap, seconds=300)


async def _expiry(lab: SchedulerLab, overlap: OverlapPolicy) -> StoredSchedule:
    kind = f"certificate_{uuid4().hex[:8]}"
    schedule = await lab.add(ExpiryTrigger(item_kind=kind), overlap=overlap, seconds=300)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    async with lab.database.transaction() as session:
        await tracked_items.create_item(
            session,
            lab.team_id,
            NewTrackedItem(
                kind=kind,
                name="www",
                expires_at=soon + timedelta(days=30),
                lead_seconds=30 * 86_400,
            ),
            at=datetime.now(UTC),
        )
    return schedule


TRIGGERS: dict[str, Callable[[SchedulerLab, OverlapPolicy], Awaitable[StoredSchedule]]] = {
    "cron": _cron,
    "interval": _interval,
    "one_time": _one_time,
    "expiry": _expiry,
}


async def _tell(lab: SchedulerLab, trigger: str, overlap: OverlapPolicy) -> Story:
    """The story of one line of the table: the three runs in the order in which they came up."""
    schedule = await TRIGGERS[trigger](lab, overlap)
    first = await lab.start(schedule.id)

    def came(runs: list[Run]) -> Run | None:
        due = (RunTrigger.SCHEDULE, RunTrigger.EXPIRY)
        return next((run for run in runs if run.trigger in due), None)

    while came(await lab.runs(schedule.id)) is None:
        if trigger == "expiry":
            await lab.sweep()
        await asyncio.sleep(0.2)
    await lab.pause(schedule.id)  # one time is enough
    displaces = overlap in (OverlapPolicy.CANCEL_PREVIOUS, OverlapPolicy.TERMINATE_PREVIOUS)
    runs = await lab.until(
        schedule.id,
        lambda runs: not displaces or came(runs).outcome is RunOutcome.RUNNING,  # type: ignore[union-attr]
    )
    second = came(runs)
    assert second is not None
    third = await lab.start(schedule.id)
    if displaces:
        await lab.until(
            schedule.id,
            lambda runs: all(run.outcome.ended for run in runs if run.id in (first, second.id)),
        )
    await lab.let_go(schedule.id)
    by_id = {run.id: run for run in await lab.runs(schedule.id)}
    return await lab.schedule(schedule.id), [by_id[first], by_id[second.id], by_id[third]]


@pytest.fixture(scope="module")
async def stories(shared_lab: SchedulerLab) -> dict[tuple[str, OverlapPolicy], Story]:
    """Every line of the table, all at the same time: cron makes us wait for the minute once."""
    lines = [(trigger, policy) for trigger in TRIGGERS for policy in POLICIES]
    async with asyncio.timeout(240):
        told = await asyncio.gather(*(_tell(shared_lab, *line) for line in lines))
    return dict(zip(lines, told, strict=True))


@pytest.mark.parametrize("overlap", POLICIES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_time_that_comes_up_during_a_run_does_as_the_policy_says(
    stories: dict[tuple[str, OverlapPolicy], Story], trigger: str, overlap: OverlapPolicy
) -> None:
    schedule, runs = stories[trigger, overlap]

    assert tuple(run.outcome for run in runs) == POLICIES[overlap]
    for run in runs[1:]:
        assert f"(overlap: {overlap})" in (run.reason or "")
    (due,) = [run for run in runs if run.trigger.counts]
    assert schedule.counters.fired == due.outcome.started
    assert schedule.counters.skipped == (due.outcome is SKIPPED)
    assert schedule.failures_in_a_row == 0


@pytest.mark.parametrize("overlap", POLICIES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_only_allow_lets_two_runs_work_at_the_same_time(
    stories: dict[tuple[str, OverlapPolicy], Story], trigger: str, overlap: OverlapPolicy
) -> None:
    _, runs = stories[trigger, overlap]
    worked = [run for run in runs if run.started_at is not None]

    together = [
        (one, other)
        for one, other in pairwise(worked)
        if other.started_at < one.ended_at  # type: ignore[operator]  # both have ended
    ]
    assert bool(together) is (overlap is OverlapPolicy.ALLOW)
