"""Scans as the watchdog looks at them: which should be running, and what each waits for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.scans import ScanError
from contracts.vocabulary import ScanKind, ScanStatus, TaskStatus
from storage.scans.import_tables import BEING_READ
from storage.schedules.job_runs import LIVE
from storage.schedules.schedule_tables import JobRunRow
from storage.tables import AccountRow, ScanRow, ScanTaskRow, TeamRow

UNENDED: Final = [status for status in ScanStatus if not status.ended]


class WatchedScan(NamedTuple):
    """A scan that has not ended. `of_run`: a run that has not ended started it, and minds it."""

    id: UUID
    team_id: UUID
    account_id: UUID
    account_name: str
    kind: ScanKind
    status: ScanStatus
    queued_at: datetime
    running_since: datetime | None
    of_run: bool


async def unended(
    session: AsyncSession, *, after: UUID | None = None, limit: int
) -> list[WatchedScan]:
    """Scans of all teams that have not ended, in the order of their ids; no file still read."""
    of_run = (
        select(JobRunRow.id)
        .where(JobRunRow.scan_id == ScanRow.id, JobRunRow.outcome.in_(LIVE))
        .exists()
    )
    query = (
        select(
            ScanRow.id,
            ScanRow.team_id,
            ScanRow.account_id,
            AccountRow.name,
            ScanRow.kind,
            ScanRow.status,
            ScanRow.queued_at,
            ScanRow.running_since,
            of_run.label("of_run"),
        )
        .join(AccountRow, AccountRow.id == ScanRow.account_id)
        .where(ScanRow.status.in_(UNENDED), ~BEING_READ)
    )
    if after is not None:
        query = query.where(ScanRow.id > after)
    rows = await session.execute(query.order_by(ScanRow.id).limit(limit))
    return [
        WatchedScan(
            id=row.id,
            team_id=row.team_id,
            account_id=row.account_id,
            account_name=row.name,
            kind=ScanKind(row.kind),
            status=ScanStatus(row.status),
            queued_at=row.queued_at,
            running_since=row.running_since,
            of_run=row.of_run,
        )
        for row in rows
    ]


async def status_locked(session: AsyncSession, scan_id: UUID) -> ScanStatus | None:
    """Where a scan stands; nobody changes that before the transaction ends. None: deleted."""
    status = await session.scalar(
        select(ScanRow.status).where(ScanRow.id == scan_id).with_for_update(key_share=True)
    )
    return None if status is None else ScanStatus(status)


async def ends(
    session: AsyncSession, scan_ids: Collection[UUID]
) -> dict[UUID, tuple[ScanStatus, datetime | None]]:
    """Status and end of those of these scans that have a row."""
    rows = await session.execute(
        select(ScanRow.id, ScanRow.status, ScanRow.finished_at).where(
            ScanRow.id.in_(list(scan_ids))
        )
    )
    return {row.id: (ScanStatus(row.status), row.finished_at) for row in rows}


async def teams(session: AsyncSession) -> set[UUID]:
    """Every team of this installation."""
    return set(await session.scalars(select(TeamRow.id)))


async def tell_why(session: AsyncSession, scan_id: UUID, error: ScanError) -> None:
    """Why a running scan is about to be cancelled; its end keeps these words."""
    await session.execute(
        update(ScanRow)
        .where(ScanRow.id == scan_id, ScanRow.status == ScanStatus.RUNNING)
        .values(error=error.model_dump(mode="json"))
    )


class RunningShard(NamedTuple):
    """A shard that is said to run; `attempt` changes when it begins anew."""

    key: str
    attempt: int


async def running_shards(
    session: AsyncSession, scan_ids: Collection[UUID]
) -> dict[UUID, list[RunningShard]]:
    """The shards of these scans that are said to run and have not reported, by scan."""
    rows = await session.execute(
        select(ScanTaskRow.scan_id, ScanTaskRow.key, ScanTaskRow.attempt)
        .where(
            ScanTaskRow.scan_id.in_(list(scan_ids)),
            ScanTaskRow.status == TaskStatus.RUNNING,
            ScanTaskRow.coverage.is_(None),
        )
        .order_by(ScanTaskRow.position, ScanTaskRow.key)
    )
    found: dict[UUID, list[RunningShard]] = {}
    for row in rows:
        found.setdefault(row.scan_id, []).append(RunningShard(row.key, row.attempt))
    return found


async def say_shards_wait(
    session: AsyncSession, scan_id: UUID, shards: Sequence[RunningShard]
) -> None:
    """These shards wait, unless one has begun anew meanwhile: nobody works on them."""
    await session.execute(
        update(ScanTaskRow)
        .where(
            ScanTaskRow.scan_id == scan_id,
            tuple_(ScanTaskRow.key, ScanTaskRow.attempt).in_(shards),
            ScanTaskRow.status == TaskStatus.RUNNING,
            ScanTaskRow.coverage.is_(None),
        )
        .values(status=TaskStatus.PENDING, progress=0)
    )


class Waiting(NamedTuple):
    """A scan that has not ended, and the kinds of work it cannot do without."""

    id: UUID
    team_id: UUID
    kind: ScanKind
    status: ScanStatus
    waiting_for: str | None
    kinds: list[str]
    is_planned: bool


_WAITING: Final = text("""
    SELECT scan.id, scan.team_id, scan.kind, scan.status, scan.waiting_for,
           array_remove(array_agg(DISTINCT task.kind), NULL)
               AS kinds,
           EXISTS (SELECT FROM scan_task WHERE scan_id = scan.id) AS is_planned
    FROM scan LEFT JOIN scan_task AS task
        ON task.scan_id = scan.id AND task.status IN ('pending', 'running')
    WHERE scan.status IN ('pending', 'running')
    GROUP BY scan.id ORDER BY scan.id
""")


async def waiting(session: AsyncSession) -> list[Waiting]:
    """Pending and running scans with the kinds of their shards that are still to run."""
    rows = await session.execute(_WAITING)
    return [
        Waiting(
            id=row.id,
            team_id=row.team_id,
            kind=ScanKind(row.kind),
            status=ScanStatus(row.status),
            waiting_for=row.waiting_for,
            kinds=row.kinds or [],
            is_planned=row.is_planned,
        )
        for row in rows
    ]


async def say_waiting(
    session: AsyncSession, scan_ids: Sequence[UUID], *, was: str | None, words: str | None
) -> int:
    """Change what scans wait for, where it still is what was seen; returns how many."""
    rows = await session.scalars(
        update(ScanRow)
        .where(
            ScanRow.id.in_(scan_ids),
            ScanRow.status.in_([ScanStatus.PENDING, ScanStatus.RUNNING]),
            ScanRow.waiting_for.is_not_distinct_from(was),
        )
        .values(waiting_for=words)
        .returning(ScanRow.id)
    )
    return len(rows.all())
