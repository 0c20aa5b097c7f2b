"""Row, then Temporal: creates, changes, pauses and removes schedules, safe at every kill -9."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import job_control, schedule_engine, schedule_view
from api.problems import Refusal
from api.state import Services
from api.wording import FieldMessage
from contracts.errors import Conflict, EngineUnavailable
from contracts.keys import Caller
from contracts.runs import BackfillRequest, Run, RunRequest
from contracts.schedules import (
    Backfill,
    CloudScanTarget,
    ExpiryTrigger,
    NewBackfill,
    NewSchedule,
    ScheduleChange,
    ScheduleDefinition,
    SchedulePreview,
    StoredSchedule,
)
from contracts.vocabulary import OverlapPolicy, ScheduleStatus
from scheduling import validation, words
from scheduling.clock_changes import zone_of
from scheduling.times import occurrences
from storage.schedules import job_runs, schedules, tracked_items

BACKFILL_LIMIT: Final = 500
COUNT_LIMIT: Final = 100_000
"""Times that are counted to say how many are too many."""

EARLIEST: Final = 2000
"""Temporal's calendars know no year before."""

CLEARABLE: Final = frozenset({"starts_at", "ends_at", "max_runs"})
ENGINE_FIX: Final = "Start it (`cloudsweep up`), or check TEMPORAL_ADDRESS. Then repeat the call."

Change = Callable[[AsyncSession, StoredSchedule], Awaitable[StoredSchedule]]


async def create(
    shared: Services, caller: Caller, schedule: NewSchedule, now: datetime
) -> StoredSchedule:
    """The row, committed; then Temporal's schedule, with the row locked.

    A process that dies between the two leaves a row whose schedule the reconciler creates. When
    Temporal cannot be reached the row is taken back: a 503 that says so.
    """
    await _require_engine(shared, "created")
    async with shared.database.transaction() as session:
        await job_control.require_right(session, caller, job_of(schedule))
        await _require_valid(session, caller.team_id, schedule, now)
        made = await schedules.create_schedule(session, caller.team_id, schedule, at=now)
    if made is None:  # only of a default, which this is not
        raise Conflict(f"A schedule named {schedule.name} exists already.")
    try:
        async with shared.database.transaction() as session:
            locked = await schedules.get_schedule(session, caller.team_id, made.id, lock=True)
            installation = await schedules.installation(session)
            await schedule_engine.put(shared.engine, locked, installation)
    except Exception as error:
        async with shared.database.transaction() as session:
            await schedules.delete_schedule(session, made)
        if isinstance(error, EngineUnavailable):
            raise _nothing_was("created", error) from error
        raise
    return locked


async def change(
    shared: Services, caller: Caller, schedule_id: UUID, asked: ScheduleChange, now: datetime
) -> StoredSchedule:
    """Row and Temporal together; a paused schedule stays paused, and no past time fires."""
    _refuse_nulls(asked)

    async def apply(session: AsyncSession, schedule: StoredSchedule) -> StoredSchedule:
        wanted = _changed(schedule, asked)
        await job_control.require_right(session, caller, job_of(wanted))
        _refuse_other_job(schedule, wanted)
        _refuse_used_up(schedule, asked)
        await _require_valid(session, caller.team_id, wanted, now, earlier=schedule)
        return await schedules.change_schedule(session, schedule, asked, at=now)

    return await _together(shared, caller, schedule_id, apply)


async def pause(
    shared: Services, caller: Caller, schedule_id: UUID, note: str, now: datetime
) -> StoredSchedule:
    """Fire nothing until it is resumed; one that is paused gets the new note, if there is one."""

    async def apply(session: AsyncSession, schedule: StoredSchedule) -> StoredSchedule:
        _refuse_finished(schedule)
        if schedule.paused and not note:
            return schedule
        return await schedules.set_paused(session, schedule.id, True, note, at=now)

    return await _together(shared, caller, schedule_id, apply)


async def resume(
    shared: Services, caller: Caller, schedule_id: UUID, note: str, now: datetime
) -> StoredSchedule:
    """Fire again, from the next time on; what was due meanwhile stays undone.

    Conflict while its target would only pause it again.
    """

    async def apply(session: AsyncSession, schedule: StoredSchedule) -> StoredSchedule:
        _refuse_finished(schedule)
        if not schedule.paused:
            return schedule
        errors = await job_control.target_errors(session, caller.team_id, schedule.target)
        if errors:
            raise Conflict(
                f"Its target cannot run: {errors[0][1]}", fix="Mend that, or change its target."
            )
        return await schedules.set_paused(session, schedule.id, False, note, at=now)

    return await _together(shared, caller, schedule_id, apply)


async def delete(shared: Services, caller: Caller, schedule_id: UUID) -> None:
    """The row, committed; then Temporal's schedule. What is left there the reconciler removes, and
    a run of a schedule without a row is refused."""
    async with shared.database.transaction() as session:
        schedule = await schedules.get_schedule(session, caller.team_id, schedule_id, lock=True)
        await job_control.require_right(session, caller, schedule.job)
        await schedules.delete_schedule(session, schedule)
    try:
        await schedule_engine.remove(shared.engine, schedule_id)
    except EngineUnavailable:
        return


async def trigger(
    shared: Services,
    caller: Caller,
    schedule_id: UUID,
    overlap: OverlapPolicy | None,
    now: datetime,
) -> Run:
    """Run it now, also while it is paused or finished; returns once a rule has decided."""
    schedule = await _read(shared, caller, schedule_id)
    return await job_control.started(
        shared,
        RunRequest(schedule_id=schedule.id, overlap=overlap),
        team_id=schedule.team_id,
        job=schedule.job,
        params=schedule.params,
        overlap=overlap or schedule.overlap,
        summary=schedule.name,
        now=now,
    )


async def backfill(
    shared: Services, caller: Caller, schedule_id: UUID, asked: NewBackfill, now: datetime
) -> Backfill:
    """Start its runs for times that have passed, or only list them."""
    schedule = await _read(shared, caller, schedule_id)
    times = _times_between(schedule, asked, now)
    ran: set[datetime] = set()
    if not asked.rerun:
        async with shared.database.transaction() as session:
            ran = await job_runs.started_at_times(session, schedule.id, times[0], times[-1])
    left = [time for time in times if time not in ran]
    workflow_id = None
    if left and not asked.dry_run:
        request = BackfillRequest(
            schedule_id=schedule.id,
            team_id=schedule.team_id,
            times=left,
            overlap=asked.overlap,
        )
        summary = f"Backfill of {schedule.name}"
        workflow_id = await schedule_engine.start_backfill(shared.engine, request, summary)
    return Backfill(times=left, already_ran=len(times) - len(left), workflow_id=workflow_id)


async def preview(
    session: AsyncSession, caller: Caller, schedule: NewSchedule, count: int, now: datetime
) -> SchedulePreview:
    """When a schedule would fire, in its own zone; refused as its creation would be."""
    await _require_valid(session, caller.team_id, schedule, now)
    zone = zone_of(schedule.timezone)
    warnings = words.warnings(schedule, now=now)
    if isinstance(schedule.trigger, ExpiryTrigger):
        kind = schedule.trigger.item_kind
        known = await tracked_items.list_items(session, caller.team_id, kind=[kind], limit=1)
        if not known.items:
            warnings.append(f"There is no tracked item of the kind `{kind}` yet.")
    return SchedulePreview(
        next_runs=[time.astimezone(zone) for time in schedule_view.upcoming(schedule, now, count)],
        in_words=words.in_words(schedule),
        warnings=warnings,
    )


def job_of(schedule: ScheduleDefinition) -> str:
    """The job that a schedule starts, as the catalogue names it."""
    target = schedule.target
    return target.kind if isinstance(target, CloudScanTarget) else target.job


async def _together(
    shared: Services, caller: Caller, schedule_id: UUID, apply: Change
) -> StoredSchedule:
    """One transaction with the row locked: change it, tell Temporal, commit; or neither."""
    try:
        async with shared.database.transaction() as session:
            schedule = await schedules.get_schedule(session, caller.team_id, schedule_id, lock=True)
            await job_control.require_right(session, caller, schedule.job)
            changed = await apply(session, schedule)
            if changed is not schedule:
                installation = await schedules.installation(session)
                await schedule_engine.put(shared.engine, changed, installation)
    except EngineUnavailable as error:
        raise _nothing_was("changed", error) from error
    return changed


async def _read(shared: Services, caller: Caller, schedule_id: UUID) -> StoredSchedule:
    async with shared.database.transaction() as session:
        schedule = await schedules.get_schedule(session, caller.team_id, schedule_id)
        await job_control.require_right(session, caller, schedule.job)
    return schedule


async def _require_engine(shared: Services, participle: str) -> None:
    try:
        await shared.engine.client()
    except EngineUnavailable as error:
        raise _nothing_was(participle, error) from error


def _nothing_was(participle: str, error: EngineUnavailable) -> Refusal:
    return Refusal(
        503,
        f"Temporal cannot be reached, so nothing was {participle}.",
        code=error.code,
        fix=ENGINE_FIX,
    )


async def _require_valid(
    session: AsyncSession,
    team_id: UUID,
    schedule: NewSchedule | ScheduleDefinition,
    now: datetime,
    earlier: ScheduleDefinition | None = None,
) -> None:
    errors = validation.problems(schedule, now=now, earlier=earlier)
    if earlier is None or earlier.target != schedule.target:
        errors += await job_control.target_errors(session, team_id, schedule.target)
    if errors:
        raise Refusal(422, _count(errors), errors=errors)


def _count(errors: list[FieldMessage]) -> str:
    if len(errors) == 1:
        return "1 field of the schedule is wrong."
    return f"{len(errors)} fields of the schedule are wrong."


def _changed(schedule: StoredSchedule, asked: ScheduleChange) -> ScheduleDefinition:
    values: dict[str, Any] = {
        name: getattr(schedule, name) for name in ScheduleDefinition.model_fields
    }
    values |= {name: getattr(asked, name) for name in asked.model_fields_set - {"note"}}
    return ScheduleDefinition(**values)


def _refuse_nulls(asked: ScheduleChange) -> None:
    nulls = [
        name
        for name in ScheduleChange.model_fields
        if name in asked.model_fields_set - CLEARABLE and getattr(asked, name) is None
    ]
    if nulls:
        raise Refusal(
            422,
            "A field that every schedule has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )


def _refuse_other_job(schedule: StoredSchedule, wanted: ScheduleDefinition) -> None:
    if schedule.default_of is not None and job_of(wanted) != schedule.default_of:
        raise Refusal(
            422,
            f"{schedule.name} is the default schedule of {schedule.default_of}.",
            errors=[("target.job", "Its job cannot change. Create another schedule instead.")],
        )


def _refuse_used_up(schedule: StoredSchedule, asked: ScheduleChange) -> None:
    fired = schedule.counters.fired
    if asked.max_runs is not None and asked.max_runs <= fired:
        words = f"It has had {fired} run{'s' if fired > 1 else ''} already. Choose more."
        raise Refusal(422, "1 field of the schedule is wrong.", errors=[("max_runs", words)])


def _refuse_finished(schedule: StoredSchedule) -> None:
    if schedule.status is ScheduleStatus.FINISHED:
        raise Conflict(
            "This schedule is finished: it will not fire again.",
            fix="Change its times to arm it again, or trigger it to run it now.",
        )


def _times_between(schedule: StoredSchedule, asked: NewBackfill, now: datetime) -> list[datetime]:
    """Its times in the range, both ends included: at least one, at most the limit."""
    if isinstance(schedule.trigger, ExpiryTrigger):
        raise Conflict(
            "A schedule that fires when items expire has no past times to run.",
            fix="Trigger it, or renew the items.",
        )
    if asked.start.year < EARLIEST:
        raise _wrong_range("start", f"Choose a time from {EARLIEST} on.")
    if asked.end > now:
        raise _wrong_range("end", "It is in the future. Choose a time that has passed.")
    if asked.end < asked.start:
        raise _wrong_range("end", "It must not be before start.")
    start = asked.start.replace(microsecond=0)
    if start < asked.start:
        start += timedelta(seconds=1)
    due = occurrences(schedule, after=start - timedelta(seconds=1), until=asked.end)
    times = list(islice(due, BACKFILL_LIMIT))
    more = sum(1 for _ in islice(due, COUNT_LIMIT - BACKFILL_LIMIT))
    if more:
        count = len(times) + more
        said = f"More than {COUNT_LIMIT:,}" if count == COUNT_LIMIT else f"{count:,}"
        raise _wrong_range(
            "end",
            f"{said} times lie in this range; at most {BACKFILL_LIMIT} can be run at once. "
            f"End it by {words.moment_in_words(times[-1])} and go on from there.",
        )
    if not times:
        raise _wrong_range("end", f"No time of this schedule lies in this range.{_hint(schedule)}")
    return times


def _hint(schedule: StoredSchedule) -> str:
    bounds = [
        f"{name} is {words.moment_in_words(bound)}"
        for name, bound in (("starts_at", schedule.starts_at), ("ends_at", schedule.ends_at))
        if bound is not None
    ]
    limits = f" Its {' and its '.join(bounds)}." if bounds else ""
    return f"{limits} It runs {words.in_words(schedule).split('; ')[0]}. Choose a wider range."


def _wrong_range(field: str, message: str) -> Refusal:
    return Refusal(422, "The range of the backfill is wrong.", errors=[(field, message)])
