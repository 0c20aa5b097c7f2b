"""Schedules: as people define them, pause them and read them, and as workers load them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.schedules import (
    CloudScanTarget,
    NewSchedule,
    ScheduleChange,
    ScheduleCounters,
    ScheduleDefinition,
    StoredSchedule,
    Target,
)
from contracts.vocabulary import OverlapPolicy, ScheduleStatus
from storage import cursors
from storage.schedules.schedule_tables import ScheduleRow
from storage.tables import TeamRow

_TARGET: Final[TypeAdapter[Target]] = TypeAdapter(Target)
_CLEARABLE: Final = {"starts_at", "ends_at", "max_runs"}
_REARMS: Final = {"trigger", "starts_at", "ends_at", "exclude", "max_runs"}


async def create_schedule(
    session: AsyncSession,
    team_id: UUID,
    schedule: NewSchedule,
    *,
    at: datetime,
    default_of: str | None = None,
) -> StoredSchedule | None:
    """A new schedule of the team; Conflict when the name is taken.

    As the default of a job: None, and nothing changes, when the team has that default already.
    """
    row = (
        await session.scalars(
            insert(ScheduleRow)
            .values(
                team_id=team_id,
                paused=schedule.paused,
                note=schedule.note,
                default_of=default_of,
                accounted_until=at,
                created_at=at,
                updated_at=at,
                **_columns(schedule),
            )
            .on_conflict_do_nothing()
            .returning(ScheduleRow)
        )
    ).one_or_none()
    if row is not None:
        return _shown(row)
    if default_of is not None:
        return None
    raise _name_taken(schedule.name)


async def list_schedules(
    session: AsyncSession,
    team_id: UUID,
    *,
    status: Sequence[ScheduleStatus] | None = None,
    job: Sequence[str] | None = None,
    account_id: Sequence[UUID] | None = None,
    trigger: Sequence[str] | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[StoredSchedule]:
    """The team's schedules, oldest first."""
    query = select(ScheduleRow).where(ScheduleRow.team_id == team_id)
    for column, values in (
        (ScheduleRow.job, job),
        (ScheduleRow.account_id, account_id),
        (ScheduleRow.trigger_type, trigger),
    ):
        if values is not None:
            query = query.where(column.in_(values))
    if status is not None:
        finished = ScheduleRow.finished_at.is_not(None)
        conditions = {
            ScheduleStatus.FINISHED: finished,
            ScheduleStatus.PAUSED: ~finished & ScheduleRow.paused,
            ScheduleStatus.ACTIVE: ~finished & ~ScheduleRow.paused,
        }
        query = query.where(or_(*(conditions[each] for each in status)))
    after = cursors.decode_id("schedules", cursor)
    if after is not None:
        query = query.where(ScheduleRow.id > after)
    rows = (await session.scalars(query.order_by(ScheduleRow.id).limit(limit + 1))).all()
    more = len(rows) > limit
    return Page(
        items=[_shown(row) for row in rows[:limit]],
        next_cursor=cursors.encode("schedules", rows[limit - 1].id) if more else None,
    )


async def get_schedule(
    session: AsyncSession, team_id: UUID, schedule_id: UUID, *, lock: bool = False
) -> StoredSchedule:
    """One schedule of the team; locked, nobody else changes it or its firing meanwhile."""
    row = await _row(session, schedule_id, lock=lock)
    if row is None or row.team_id != team_id:
        raise NotFound("There is no such schedule in this team.")
    return _shown(row)


async def default_schedule(
    session: AsyncSession, team_id: UUID, job: str, *, lock: bool = False
) -> StoredSchedule | None:
    """The team's default schedule of a job, if it has been made."""
    query = select(ScheduleRow).where(ScheduleRow.team_id == team_id, ScheduleRow.default_of == job)
    if lock:
        query = query.with_for_update(key_share=True)
    found = await session.scalars(query.execution_options(populate_existing=True))
    row = found.one_or_none()
    return None if row is None else _shown(row)


async def load_schedule(
    session: AsyncSession, schedule_id: UUID, *, lock: bool = False
) -> StoredSchedule | None:
    """A schedule of whatever team; None when it was deleted."""
    row = await _row(session, schedule_id, lock=lock)
    return None if row is None else _shown(row)


async def change_schedule(
    session: AsyncSession, schedule: StoredSchedule, change: ScheduleChange, *, at: datetime
) -> StoredSchedule:
    """Change what was given, of a schedule that is locked. It stays paused if it is.

    Times before now are settled: a change never fires one of them. A finished schedule whose
    times change is armed again.
    """
    values = {
        name: getattr(change, name)
        for name in change.model_fields_set
        if getattr(change, name) is not None or name in _CLEARABLE
    }
    note = values.pop("note", schedule.note)
    definition = ScheduleDefinition(
        **{name: getattr(schedule, name) for name in ScheduleDefinition.model_fields} | values
    )
    return await _update(
        session,
        schedule.id,
        note=note,
        finished_at=None if values.keys() & _REARMS else schedule.finished_at,
        accounted_until=at,
        updated_at=at,
        **_columns(definition),
    )


async def set_paused(
    session: AsyncSession, schedule_id: UUID, paused: bool, note: str, *, at: datetime
) -> StoredSchedule:
    """Pause or resume; the times while it was paused are nobody's loss. Resuming forgives."""
    forgiven = {} if paused else {"failures_in_a_row": 0}
    return await _update(
        session,
        schedule_id,
        paused=paused,
        note=note,
        accounted_until=at,
        updated_at=at,
        **forgiven,
    )


async def finish_schedule(
    session: AsyncSession, schedule_id: UUID, *, at: datetime
) -> StoredSchedule:
    """It will not fire again; it stays, with its record."""
    return await _update(session, schedule_id, finished_at=at, updated_at=at)


async def settle_until(session: AsyncSession, schedule_id: UUID, until: datetime) -> None:
    """Every time up to here has its run, or needs none."""
    await session.execute(
        update(ScheduleRow)
        .where(ScheduleRow.id == schedule_id, ScheduleRow.accounted_until < until)
        .values(accounted_until=until)
    )


async def delete_schedule(session: AsyncSession, schedule: StoredSchedule) -> None:
    """Delete it; its runs stay. Conflict for the default schedule of a job."""
    if schedule.default_of is not None:
        raise Conflict(
            f"{schedule.name} is the default schedule of {schedule.default_of}.",
            fix="Pause it instead, or change its times.",
        )
    await session.execute(delete(ScheduleRow).where(ScheduleRow.id == schedule.id))


async def unfinished_schedules(
    session: AsyncSession, *, after: UUID | None, limit: int
) -> list[StoredSchedule]:
    """Schedules of all teams that may still fire, in the order of ids."""
    query = select(ScheduleRow).where(ScheduleRow.finished_at.is_(None))
    if after is not None:
        query = query.where(ScheduleRow.id > after)
    rows = await session.scalars(
        query.order_by(ScheduleRow.id).limit(limit).execution_options(populate_existing=True)
    )
    return [_shown(row) for row in rows]


async def active_expiry_schedules(session: AsyncSession, *, at: datetime) -> list[StoredSchedule]:
    """Schedules of all teams that fire when items expire, and may do so now."""
    rows = await session.scalars(
        select(ScheduleRow)
        .where(
            ScheduleRow.trigger_type == "expiry",
            ScheduleRow.finished_at.is_(None),
            ~ScheduleRow.paused,
            or_(ScheduleRow.starts_at.is_(None), ScheduleRow.starts_at <= at),
            or_(ScheduleRow.ends_at.is_(None), ScheduleRow.ends_at >= at),
        )
        .order_by(ScheduleRow.id)
        .execution_options(populate_existing=True)
    )
    return [_shown(row) for row in rows]


async def installation(session: AsyncSession) -> UUID:
    """The oldest team: whose the jobs of the whole installation are, and what tells its schedules
    from those of another in the same namespace."""
    found = await session.scalar(select(TeamRow.id).order_by(TeamRow.id).limit(1))
    if found is None:
        raise NotFound("This database has no team yet.", fix="Run `python -m storage.bootstrap`.")
    return found


async def count_outcome(
    session: AsyncSession, schedule_id: UUID, *, in_a_row: int | None = None, **more: int
) -> None:
    """Add to a schedule's counters (`fired`, `skipped`, `missed`, `failed`, `refused`)."""
    values: dict[str, Any] = {
        name: getattr(ScheduleRow, name) + number for name, number in more.items()
    }
    if in_a_row is not None:
        values["failures_in_a_row"] = in_a_row
    if values:
        await session.execute(
            update(ScheduleRow).where(ScheduleRow.id == schedule_id).values(**values)
        )


async def _update(session: AsyncSession, schedule_id: UUID, **values: Any) -> StoredSchedule:
    changed = (
        update(ScheduleRow)
        .where(ScheduleRow.id == schedule_id)
        .values(**values)
        .returning(ScheduleRow)
        .execution_options(populate_existing=True)
    )
    try:
        row = (await session.scalars(changed)).one_or_none()
    except IntegrityError:  # of what may change, only the name is unique
        raise _name_taken(str(values.get("name"))) from None
    if row is None:
        raise NotFound("This schedule was just deleted.")
    return _shown(row)


async def _row(session: AsyncSession, schedule_id: UUID, *, lock: bool) -> ScheduleRow | None:
    query = select(ScheduleRow).where(ScheduleRow.id == schedule_id)
    if lock:
        query = query.with_for_update(key_share=True)
    found = await session.scalars(query.execution_options(populate_existing=True))
    return found.one_or_none()


def _columns(schedule: ScheduleDefinition) -> dict[str, Any]:
    target = schedule.target
    stored = schedule.model_dump(mode="json", include={"target", "trigger", "exclude"})
    return {
        **stored,
        "name": schedule.name,
        "job": target.kind if isinstance(target, CloudScanTarget) else target.job,
        "account_id": _account_of(target),
        "trigger_type": schedule.trigger.type,
        "starts_at": schedule.starts_at,
        "ends_at": schedule.ends_at,
        "jitter_seconds": schedule.jitter_seconds,
        "overlap": schedule.overlap.value,
        "catchup_seconds": schedule.catchup_seconds,
        "max_runs": schedule.max_runs,
        "pause_after_failures": schedule.pause_after_failures,
    }


def _account_of(target: Target) -> UUID | None:
    if isinstance(target, CloudScanTarget):
        return target.account_id
    try:
        return UUID(str(target.params.get("account_id")))
    except ValueError:
        return None


def _shown(row: ScheduleRow) -> StoredSchedule:
    status = ScheduleStatus.PAUSED if row.paused else ScheduleStatus.ACTIVE
    return StoredSchedule.model_validate(
        {
            **{name: getattr(row, name) for name in ScheduleDefinition.model_fields},
            "target": _TARGET.validate_python(row.target),
            "overlap": OverlapPolicy(row.overlap),
            "id": row.id,
            "team_id": row.team_id,
            "paused": row.paused,
            "note": row.note,
            "status": ScheduleStatus.FINISHED if row.finished_at else status,
            "finished_at": row.finished_at,
            "default_of": row.default_of,
            "counters": ScheduleCounters(
                fired=row.fired,
                skipped=row.skipped,
                missed=row.missed,
                failed=row.failed,
                refused=row.refused,
            ),
            "failures_in_a_row": row.failures_in_a_row,
            "accounted_until": row.accounted_until,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )


def _name_taken(name: str) -> Conflict:
    return Conflict(f"A schedule named {name} exists already.", fix="Choose another name.")
