"""Runs of jobs as people read them, and whether a schedule's still succeed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, cast, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from contracts.base import Page
from contracts.errors import NotFound
from contracts.runs import Run, RunItem
from contracts.scans import ScanError
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger
from storage import cursors
from storage.schedules.job_runs import LIVE
from storage.schedules.schedule_tables import JobRunRow


async def list_runs(
    session: AsyncSession,
    team_id: UUID,
    *,
    schedule_id: Sequence[UUID] | None = None,
    job: Sequence[str] | None = None,
    outcome: Sequence[RunOutcome] | None = None,
    trigger: Sequence[RunTrigger] | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Run]:
    """The team's runs, newest first."""
    query = select(JobRunRow).where(JobRunRow.team_id == team_id)
    for column, values in (
        (JobRunRow.schedule_id, schedule_id),
        (JobRunRow.job, job),
        (JobRunRow.outcome, outcome),
        (JobRunRow.trigger, trigger),
    ):
        if values is not None:
            query = query.where(column.in_(values))
    after = cursors.decode("runs", cursor, [datetime.fromisoformat, UUID])
    place = tuple_(JobRunRow.queued_at, JobRunRow.id)
    if after is not None:
        query = query.where(place < tuple_(*after))
    rows = (
        await session.scalars(
            query.order_by(JobRunRow.queued_at.desc(), JobRunRow.id.desc()).limit(limit + 1)
        )
    ).all()
    shown = rows[:limit]
    return Page(
        items=[_shown(row) for row in shown],
        next_cursor=cursors.encode("runs", shown[-1].queued_at.isoformat(), shown[-1].id)
        if len(rows) > limit
        else None,
    )


async def get_run(session: AsyncSession, team_id: UUID, run_id: UUID) -> Run:
    """One run of the team."""
    found = await session.scalars(
        select(JobRunRow)
        .where(JobRunRow.id == run_id, JobRunRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound("There is no such run in this team.")
    return _shown(row)


async def last_runs(session: AsyncSession, schedule_ids: Sequence[UUID]) -> dict[UUID, Run]:
    """The newest run of each of these schedules."""
    if not schedule_ids:
        return {}
    ids = cast(list(schedule_ids), ARRAY(Uuid()))
    asked = select(func.unnest(ids, type_=Uuid()).label("id")).subquery()
    newest = (
        select(JobRunRow)
        .where(JobRunRow.schedule_id == asked.c.id)
        .order_by(JobRunRow.queued_at.desc(), JobRunRow.id.desc())
        .limit(1)
        .lateral()
    )
    found = await session.scalars(
        select(aliased(JobRunRow, newest)).select_from(asked.join(newest, true()))
    )
    return {row.schedule_id: _shown(row) for row in found if row.schedule_id is not None}


async def last_success(session: AsyncSession, schedule_id: UUID) -> datetime | None:
    """When the last run of a schedule that completed ended."""
    return await session.scalar(
        select(JobRunRow.ended_at)
        .where(JobRunRow.schedule_id == schedule_id, JobRunRow.outcome == RunOutcome.COMPLETED)
        .order_by(JobRunRow.queued_at.desc(), JobRunRow.id.desc())
        .limit(1)
    )


async def goes_on(session: AsyncSession, schedule_id: UUID, *, since: datetime) -> bool:
    """Whether a run of a schedule that came up since then has not ended."""
    found = await session.scalar(
        select(JobRunRow.id)
        .where(
            JobRunRow.schedule_id == schedule_id,
            JobRunRow.outcome.in_(LIVE),
            JobRunRow.queued_at >= since,
        )
        .limit(1)
    )
    return found is not None


def _shown(row: JobRunRow) -> Run:
    started, ended = row.started_at, row.ended_at
    return Run(
        id=row.id,
        schedule_id=row.schedule_id,
        job=row.job,
        params=row.params,
        trigger=RunTrigger(row.trigger),
        nominal_at=row.nominal_at,
        outcome=RunOutcome(row.outcome),
        reason=row.reason,
        overlap=OverlapPolicy(row.overlap),
        queued_at=row.queued_at,
        started_at=started,
        ended_at=ended,
        delay_seconds=(started - row.nominal_at).total_seconds() if started else None,
        duration_seconds=(ended - started).total_seconds() if started and ended else None,
        summary=row.summary,
        error=None if row.error is None else ScanError.model_validate(row.error),
        scan_id=row.scan_id,
        item=None if row.item is None else RunItem.model_validate(row.item),
        workflow_id=row.workflow_id,
        temporal_url=None,
    )
