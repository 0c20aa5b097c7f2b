"""Whether a schedule's runs still succeed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.vocabulary import RunOutcome
from storage.job_runs import LIVE
from storage.schedule_tables import JobRunRow


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
