"""The record of what the watchdog repaired: each try, and when a later look found nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.consistency import Fault, Repair, RepairKind
from storage.watchdog.watchdog_tables import RepairRow

ATTEMPTS: Final = 5
WINDOW: Final = timedelta(days=1)
"""A fault that is still found after this many tries within this time is left alone until then."""

KEPT: Final = timedelta(days=90)


async def settle(
    session: AsyncSession,
    kind: RepairKind,
    *,
    besides: Collection[str],
    among: Collection[str] | None = None,
    at: datetime,
) -> None:
    """Faults of this kind that are no longer found are settled; only `among` these, if given."""
    gone = update(RepairRow).where(
        RepairRow.kind == kind,
        RepairRow.settled_at.is_(None),
        RepairRow.subject.not_in(list(besides)),
    )
    if among is not None:
        gone = gone.where(RepairRow.subject.in_(list(among)))
    await session.execute(gone.values(settled_at=at))


async def note_attempt(
    session: AsyncSession, kind: RepairKind, fault: Fault, *, at: datetime
) -> bool:
    """Record a try that is about to be made; False when the fault is given up for now."""
    row = insert(RepairRow).values(
        kind=kind,
        **fault.model_dump(include={"subject", "team_id", "words"}),
        first_at=at,
        last_at=at,
        attempts=1,
    )
    same_day = RepairRow.first_at > at - WINDOW
    noted = await session.scalar(
        row.on_conflict_do_update(
            index_elements=["kind", "subject"],
            index_where=RepairRow.settled_at.is_(None),
            set_={
                "words": row.excluded.words,
                "first_at": case((same_day, RepairRow.first_at), else_=at),
                "last_at": at,
                "attempts": case((same_day, RepairRow.attempts + 1), else_=1),
                "error": None,
            },
            where=~and_(same_day, RepairRow.attempts >= ATTEMPTS),
        ).returning(RepairRow.id)
    )
    return noted is not None


async def note_error(session: AsyncSession, kind: RepairKind, subject: str, error: str) -> None:
    """Why the try failed."""
    await session.execute(
        update(RepairRow)
        .where(
            RepairRow.kind == kind,
            RepairRow.subject == subject,
            RepairRow.settled_at.is_(None),
        )
        .values(error=error)
    )


async def newest(session: AsyncSession, team_id: UUID, *, at: datetime, limit: int) -> list[Repair]:
    """The team's repairs, newest first."""
    rows = await session.scalars(
        select(RepairRow)
        .where(RepairRow.team_id == team_id)
        .order_by(RepairRow.last_at.desc(), RepairRow.id.desc())
        .limit(limit)
    )
    return [_shown(row, at) for row in rows]


async def given_up(
    session: AsyncSession, team_id: UUID, *, at: datetime, limit: int
) -> list[Repair]:
    """The team's faults that are left alone until tomorrow, newest first."""
    rows = await session.scalars(
        select(RepairRow)
        .where(
            RepairRow.team_id == team_id,
            RepairRow.settled_at.is_(None),
            RepairRow.attempts >= ATTEMPTS,
            RepairRow.first_at > at - WINDOW,
        )
        .order_by(RepairRow.last_at.desc(), RepairRow.id.desc())
        .limit(limit)
    )
    return [_shown(row, at) for row in rows]


async def counted(
    session: AsyncSession, team_id: UUID, first: datetime, last: datetime
) -> dict[str, int]:
    """The team's repairs that were last tried between these times, by kind."""
    rows = await session.execute(
        select(RepairRow.kind, func.count())
        .where(RepairRow.team_id == team_id, RepairRow.last_at.between(first, last))
        .group_by(RepairRow.kind)
        .order_by(RepairRow.kind)
    )
    return {row[0]: row[1] for row in rows}


async def forget(session: AsyncSession, *, at: datetime) -> None:
    """Delete what was settled long ago, or lost its subject without being found again."""
    old = at - KEPT
    await session.execute(
        delete(RepairRow).where(or_(RepairRow.settled_at < old, RepairRow.last_at < old))
    )


def _shown(row: RepairRow, at: datetime) -> Repair:
    until = row.first_at + WINDOW
    is_given_up = row.settled_at is None and row.attempts >= ATTEMPTS and until > at
    return Repair(
        kind=RepairKind(row.kind),
        subject=row.subject,
        words=row.words,
        first_at=row.first_at,
        last_at=row.last_at,
        attempts=row.attempts,
        error=row.error,
        settled_at=row.settled_at,
        given_up_until=until if is_given_up else None,
    )
