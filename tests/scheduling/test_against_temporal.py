"""What we say of a schedule's times is what a real Temporal says of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleListDescription,
    ScheduleState,
)

from contracts.schedules import ExcludedPeriod, IntervalTrigger, Timing
from scheduling.clock_changes import clock_changes
from scheduling.temporal_spec import same_spec, to_spec
from scheduling.times import occurrences
from tests.scheduling.timings import HARD, NOW, TIMINGS, cron
from tests.support.waiting import until

MOST = 900
"""Times to compare in one question; Temporal answers at most 1,000."""


@pytest.mark.parametrize("name", HARD)
async def test_temporal_fires_at_our_times(name: str, temporal: Client) -> None:
    await _compare(HARD[name], temporal)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(timing=TIMINGS)
@example(timing=cron("0 1 * * 0", "America/Havana"))
async def test_temporal_fires_at_our_times_whatever_the_timing(
    timing: Timing, temporal: Client
) -> None:
    await _compare(timing, temporal)


async def test_what_temporal_lists_is_the_spec_that_was_sent(temporal: Client) -> None:
    handles = {name: await _create(timing, temporal) for name, timing in HARD.items()}
    listed: dict[str, ScheduleListDescription] = {}

    async def all_are_listed() -> bool:
        listed.update({each.id: each async for each in await temporal.list_schedules()})
        return all(handle.id in listed for handle in handles.values())

    await until(all_are_listed)
    specs = {name: to_spec(timing, now=NOW) for name, timing in HARD.items()}
    for name, handle in handles.items():
        shown = listed[handle.id].schedule
        assert shown is not None
        for spec in (shown.spec, (await handle.describe()).schedule.spec):
            same = {other for other, sent in specs.items() if same_spec(sent, spec)}
            assert same == {name}, "the same as what was sent, and as nothing else"
    for handle in handles.values():
        await handle.delete()


async def test_jitter_delays_a_time_by_no_more_than_it_says(temporal: Client) -> None:
    timing = Timing(trigger=IntervalTrigger(every_seconds=3600), jitter_seconds=600)
    start = datetime(2028, 3, 1, tzinfo=UTC) - timedelta(seconds=1)
    end = start + timedelta(days=4)
    async with _schedule(timing, temporal) as handle:
        fires = await _temporals_times(handle, temporal, start, end)
    nominal = list(occurrences(timing, after=start, until=end))

    delays = [(at - due).total_seconds() for at, due in zip(fires, nominal, strict=True)]
    assert all(0 <= delay <= 600 for delay in delays)
    assert len(set(delays)) > len(delays) // 2, "spread, not shifted"


async def _compare(timing: Timing, temporal: Client) -> None:
    timing = timing.model_copy(update={"jitter_seconds": 0})  # Temporal would answer with it
    spec = to_spec(timing, now=NOW)
    async with _schedule(timing, temporal) as handle:
        assert same_spec(spec, (await handle.describe()).schedule.spec)
        for start, end in _ranges(timing):
            ours = list(islice(occurrences(timing, after=start, until=end), MOST))
            if len(ours) == MOST:
                end = ours[-1]
            assert await _temporals_times(handle, temporal, start, end) == ours


def _ranges(timing: Timing) -> Iterator[tuple[datetime, datetime]]:
    """Around clock changes, the edges of exclusions and bounds, a leap day, and any two weeks."""
    chance = random.Random(repr(timing))  # noqa: S311
    edges = [
        moment
        for exclusion in timing.exclude
        if isinstance(exclusion, ExcludedPeriod)
        for moment in (exclusion.start, exclusion.end)
    ]
    edges += [moment for moment in (timing.starts_at, timing.ends_at) if moment]
    edges += [datetime.fromtimestamp(c.at, UTC) for c in clock_changes(timing.timezone, 2027, 2028)]
    edges = [edge.replace(microsecond=0) for edge in edges] + [datetime(2028, 2, 29, tzinfo=UTC)]
    for edge in edges:
        start = edge - timedelta(seconds=chance.randint(0, 5 * 3600))
        yield start, start + timedelta(hours=30)
    for year in (2027, 2028):
        start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randint(0, 8000))
        yield start, start + timedelta(days=14)


@asynccontextmanager
async def _schedule(timing: Timing, temporal: Client) -> AsyncIterator[ScheduleHandle]:
    handle = await _create(timing, temporal)
    try:
        yield handle
    finally:
        await handle.delete()


async def _create(timing: Timing, temporal: Client) -> ScheduleHandle:
    name = f"timing/{uuid.uuid4()}"
    action = ScheduleActionStartWorkflow("Nothing", id=name, task_queue="nobody-listens")
    return await temporal.create_schedule(
        name, Schedule(action, to_spec(timing, now=NOW), state=ScheduleState(paused=True))
    )


async def _temporals_times(
    handle: ScheduleHandle, temporal: Client, start: datetime, end: datetime
) -> list[datetime]:
    request = ListScheduleMatchingTimesRequest(namespace="default", schedule_id=handle.id)
    request.start_time.FromDatetime(start)
    request.end_time.FromDatetime(end)
    answer = await temporal.workflow_service.list_schedule_matching_times(request)
    return [each.ToDatetime(tzinfo=UTC) for each in answer.start_time]
