"""Schedules as people read them: their next times, their last run, and whether one is late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from api import job_control, scan_control
from api.state import Services
from contracts.runs import run_id_at
from contracts.schedules import ExpiryTrigger, Schedule, ScheduleDefinition, StoredSchedule
from contracts.vocabulary import ScheduleStatus
from scheduling.times import next_times, occurrences
from scheduling.words import in_words
from storage.schedules import job_runs, run_history

NEXT_RUNS: Final = 5
LATE: Final = timedelta(seconds=15)
"""A run that has not come up by this long after its time is late."""

FIRST_LOOK: Final = timedelta(minutes=1)
LOOK_GROWS: Final = 8

NO_ENGINE: Final = (
    "Temporal cannot be reached, so nothing fires. When it is back, it fires what it missed, as "
    "far as `catchup_seconds` allow."
)
NOT_FIRED: Final = "Temporal has not fired it yet; the reconciler looks every five minutes."


async def shown(shared: Services, found: Sequence[StoredSchedule], now: datetime) -> list[Schedule]:
    """The schedules as the API shows them; two queries, however many there are."""
    due = {schedule.id: time for schedule in found if (time := newest_due(schedule, now))}
    runs = {schedule_id: run_id_at(schedule_id, time) for schedule_id, time in due.items()}
    async with shared.database.transaction() as session:
        last = await run_history.last_runs(session, [schedule.id for schedule in found])
        known = await job_runs.known_runs(session, list(runs.values()))
    late = {schedule_id for schedule_id, run_id in runs.items() if run_id not in known}
    reason = None
    if late:
        missing = await scan_control.what_is_missing(shared, no_engine=NO_ENGINE)
        reason = missing or NOT_FIRED
    definition = set(ScheduleDefinition.model_fields)
    return [
        Schedule(
            **{name: getattr(schedule, name) for name in definition},
            id=schedule.id,
            paused=schedule.paused,
            note=schedule.note,
            status=schedule.status,
            is_default=schedule.default_of is not None,
            in_words=in_words(schedule),
            next_runs=next_runs(schedule, now),
            counters=schedule.counters,
            failures_in_a_row=schedule.failures_in_a_row,
            late=schedule.id in late,
            late_reason=reason if schedule.id in late else None,
            last_run=job_control.shown(shared, [last[schedule.id]])[0]
            if schedule.id in last
            else None,
            created_at=schedule.created_at,
            updated_at=schedule.updated_at,
            finished_at=schedule.finished_at,
        )
        for schedule in found
    ]


def next_runs(schedule: StoredSchedule, now: datetime) -> list[datetime]:
    """Its next times, while it is active."""
    if schedule.status is not ScheduleStatus.ACTIVE:
        return []
    return upcoming(schedule, now, NEXT_RUNS, fired=schedule.counters.fired)


def upcoming(
    schedule: ScheduleDefinition, now: datetime, count: int, *, fired: int = 0
) -> list[datetime]:
    """Up to `count` times from now on, no more than `max_runs` leaves; none of an expiry."""
    if schedule.max_runs is not None:
        count = min(count, max(schedule.max_runs - fired, 0))
    return next_times(schedule, after=now, count=count)


def newest_due(schedule: StoredSchedule, now: datetime) -> datetime | None:
    """The newest time whose run should have come up by now; None if there is none to expect.

    Looks back as far as a run would still be started, in steps that grow, so that a schedule of
    many times costs as little as one of few.
    """
    if schedule.status is not ScheduleStatus.ACTIVE or isinstance(schedule.trigger, ExpiryTrigger):
        return None
    until = now - LATE - timedelta(seconds=schedule.jitter_seconds)
    oldest = until - timedelta(seconds=schedule.catchup_seconds)
    oldest = max(schedule.accounted_until, oldest).astimezone(UTC)
    step = FIRST_LOOK
    while until > oldest:
        after = max(oldest, until - step)
        times = list(occurrences(schedule, after=after, until=until))
        if times:
            return times[-1]
        if after == oldest:
            break
        step *= LOOK_GROWS
    return None
