"""Where a scan and its shards stand, as workers record it. Every step may be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Contract
from contracts.errors import Conflict, NotFound, Superseded
from contracts.scans import (
    Coverage,
    HybridOptions,
    NativeOptions,
    ScanCounts,
    ScanEnd,
    ScanError,
    ScanOptions,
    ScanSummary,
    ScanTrigger,
)
from contracts.vocabulary import ScanKind, ScanStatus, TaskKind, TaskStatus
from storage.findings.finding_counts import fold_counts
from storage.merge.staging import forget_staged
from storage.scans.import_tables import BEING_READ
from storage.scans.scans import (
    NO_NUMBERS,
    live_numbers,
    options_of,
    trigger_of,
)
from storage.tables import AccountRow, ScanRow, ScanTaskRow

DONE = [status for status in TaskStatus if status.done]
LIVE_TASK = [TaskStatus.PENDING, TaskStatus.RUNNING]
HOLDS_ACCOUNT = [ScanStatus.RUNNING, ScanStatus.PAUSED]


class ScanRecord(Contract):
    """A scan as a worker loads it."""

    id: UUID
    team_id: UUID
    account_id: UUID
    kind: ScanKind
    status: ScanStatus
    options: ScanOptions
    native: NativeOptions | None
    hybrid: HybridOptions | None = None
    trigger: ScanTrigger


class PlannedShard(Contract):
    """A shard to run; `plan` is what its activity needs to know."""

    kind: TaskKind
    key: str
    title: str
    batch: int
    plan: dict[str, Any]


async def load_scan(session: AsyncSession, scan_id: UUID) -> ScanRecord:
    """A scan of whatever team; NotFound when it was deleted."""
    row = await _scan(session, scan_id)
    options = options_of(row)
    return ScanRecord(
        id=row.id,
        team_id=row.team_id,
        account_id=row.account_id,
        kind=ScanKind(row.kind),
        status=ScanStatus(row.status),
        options=options if isinstance(options, ScanOptions) else ScanOptions(),
        native=options if isinstance(options, NativeOptions) else None,
        hybrid=options if isinstance(options, HybridOptions) else None,
        trigger=trigger_of(row),
    )


async def claim_account(session: AsyncSession, scan_id: UUID, *, at: datetime) -> UUID | None:
    """Become the account's one running scan: None once it is ours, else the scan that has it.

    Claiming again is harmless, and a paused scan stays paused. Conflict once the scan has ended:
    only `reopen_scan` brings it back, so a claim that comes late starts nothing.
    """
    scan = await _scan(session, scan_id)
    # The account's row is the lock: of two claims at once the second sees what the first did.
    await session.execute(
        select(AccountRow.id)
        .where(AccountRow.id == scan.account_id)
        .with_for_update(key_share=True)
    )
    await session.refresh(scan, with_for_update={"key_share": True})
    if ScanStatus(scan.status).ended:
        raise Conflict(f"This scan has ended already: it is {scan.status}.", fix="Resume it.")
    holder = await session.scalar(
        select(ScanRow.id).where(
            ScanRow.account_id == scan.account_id,
            ScanRow.status.in_(HOLDS_ACCOUNT),
            ScanRow.id != scan_id,
        )
    )
    if holder is not None:
        return holder
    if scan.status == ScanStatus.PENDING:
        scan.status = ScanStatus.RUNNING
        scan.running_since = at
    scan.started_at = scan.started_at or at
    scan.waiting_for = scan.error = scan.finished_at = scan.counts = scan.progress = None
    await session.flush()
    return None


async def set_waiting(session: AsyncSession, scan_id: UUID, words: str | None) -> None:
    """Say in words why a pending scan has not begun."""
    await session.execute(
        update(ScanRow)
        .where(
            ScanRow.id == scan_id,
            ScanRow.status == ScanStatus.PENDING,
            ScanRow.waiting_for.is_distinct_from(words),
        )
        .values(waiting_for=words)
    )


async def add_notes(session: AsyncSession, scan_id: UUID, notes: Sequence[str]) -> None:
    """What a reader of the scan should know; a note that it has is not added again."""
    scan = await _scan(session, scan_id, lock=True)
    fresh = [note for note in dict.fromkeys(notes) if note not in scan.notes]
    if fresh:
        scan.notes = [*scan.notes, *fresh]
        await session.flush()


async def write_plan(
    session: AsyncSession, scan_id: UUID, shards: Sequence[PlannedShard], notes: Sequence[str]
) -> None:
    """Insert the shards and notes that are missing; of the others, what is not done is pending.

    Conflict for shards of a scan that has ended: they would be pending for ever.
    """
    scan = await _scan(session, scan_id, lock=True)
    if shards and ScanStatus(scan.status).ended:
        raise Conflict(f"This scan has ended already: it is {scan.status}.", fix="Resume it.")
    await add_notes(session, scan_id, notes)
    if not shards:
        return
    planned = (
        await session.execute(
            select(func.coalesce(func.max(ScanTaskRow.position) + 1, 0)).where(
                ScanTaskRow.scan_id == scan_id
            )
        )
    ).scalar_one()
    row = insert(ScanTaskRow).values(
        [
            {
                "scan_id": scan_id,
                "position": planned + index,
                "status": TaskStatus.PENDING,
                **shard.model_dump(mode="json"),
            }
            for index, shard in enumerate(shards)
        ]
    )
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["scan_id", "key"],
            set_={
                "title": row.excluded.title,
                "batch": row.excluded.batch,
                "plan": row.excluded.plan,
                "status": TaskStatus.PENDING,
            },
            where=ScanTaskRow.status.not_in(DONE),
        )
    )


async def undone_shards(
    session: AsyncSession, scan_id: UUID, *, kind: TaskKind
) -> list[PlannedShard] | None:
    """The shards of one kind that are still to run, as planned; None if none was ever planned."""
    rows = (
        await session.scalars(
            select(ScanTaskRow)
            .where(ScanTaskRow.scan_id == scan_id, ScanTaskRow.kind == kind)
            .order_by(ScanTaskRow.position, ScanTaskRow.key)
            .execution_options(populate_existing=True)
        )
    ).all()
    if not rows:
        return None
    return [_shard(row) for row in rows if not TaskStatus(row.status).done]


async def start_task(
    session: AsyncSession, scan_id: UUID, key: str, *, at: datetime, attempt: int
) -> PlannedShard:
    """A shard begins, or begins again; one that is done stays as it is."""
    row = await _task(session, scan_id, key)
    if not TaskStatus(row.status).done:
        row.status = TaskStatus.RUNNING
        row.attempt = attempt
        row.started_at = at
        row.progress = 0.0
        row.rows = row.covered = 0
        row.finished_at = row.error = row.coverage = None
        await session.flush()
    return _shard(row)


async def record_task_progress(
    session: AsyncSession, scan_id: UUID, key: str, *, progress: float, rows: int
) -> None:
    """How far a running shard is; late words about one that is not running are ignored."""
    await session.execute(
        update(ScanTaskRow)
        .where(
            ScanTaskRow.scan_id == scan_id,
            ScanTaskRow.key == key,
            ScanTaskRow.status == TaskStatus.RUNNING,
            ScanTaskRow.coverage.is_(None),
        )
        .values(progress=min(100.0, max(0.0, progress)), rows=rows)
    )


async def report_task(
    session: AsyncSession,
    scan_id: UUID,
    key: str,
    *,
    coverage: Coverage,
    rows: int,
    covered: int,
    begun: datetime | None = None,
) -> None:
    """A shard's staging is complete: so many rows and covered pairs, which the merge checks.

    Superseded when another attempt than the one that has `begun` then is at it.
    """
    row = await _task(session, scan_id, key)
    if begun is not None and row.started_at != begun:
        raise Superseded(f"Another attempt of shard {key} has begun.")
    if not TaskStatus(row.status).done:
        row.coverage = coverage.model_dump(mode="json")
        row.rows, row.covered = rows, covered
        await session.flush()


async def fail_task(
    session: AsyncSession,
    scan_id: UUID,
    key: str,
    *,
    status: TaskStatus,
    error: ScanError | None,
    at: datetime,
) -> None:
    """A shard ended without a result; one that is done stays done."""
    row = await _task(session, scan_id, key)
    if not TaskStatus(row.status).done:
        row.status = status
        row.error = None if error is None else error.model_dump(mode="json")
        row.finished_at = at
        await session.flush()


async def pause_scan(session: AsyncSession, scan_id: UUID, paused: bool, *, at: datetime) -> None:
    """Running becomes paused, or paused running; any other scan stays as it is."""
    was, now = HOLDS_ACCOUNT if paused else reversed(HOLDS_ACCOUNT)
    await session.execute(
        update(ScanRow)
        .where(ScanRow.id == scan_id, ScanRow.status == was)
        .values(status=now, running_since=None if paused else at)
    )


async def end_scan(session: AsyncSession, end: ScanEnd, *, at: datetime) -> ScanSummary:
    """Record how a scan ended and give the account back; idempotent, the first end counts.

    Without an outcome it follows from the shards; one that never ran counts as failed.
    """
    scan = await _scan(session, end.scan_id, lock=True)
    if not ScanStatus(scan.status).ended:
        await _end(session, scan, end, at)
    waiting = await session.scalar(
        select(ScanRow.id)
        .where(
            ScanRow.account_id == scan.account_id,
            ScanRow.status == ScanStatus.PENDING,
            ~BEING_READ,
        )
        .order_by(ScanRow.queued_at, ScanRow.id)
        .limit(1)
    )
    return ScanSummary(
        status=ScanStatus(scan.status),
        counts=ScanCounts.model_validate(scan.counts or {}),
        next_scan_id=waiting,
    )


async def _end(session: AsyncSession, scan: ScanRow, end: ScanEnd, at: datetime) -> None:
    left = TaskStatus.CANCELLED if end.outcome is ScanStatus.CANCELLED else TaskStatus.FAILED
    await session.execute(
        update(ScanTaskRow)
        .where(ScanTaskRow.scan_id == scan.id, ScanTaskRow.status.in_(LIVE_TASK))
        .values(status=left, finished_at=at)
    )
    statuses = (
        await session.scalars(select(ScanTaskRow.status).where(ScanTaskRow.scan_id == scan.id))
    ).all()
    status = end.outcome or _outcome([TaskStatus(status) for status in statuses])
    numbers = (await live_numbers(session, [scan.id])).get(scan.id, NO_NUMBERS)
    complete = status in (ScanStatus.COMPLETED, ScanStatus.COMPLETED_WITH_ERRORS)
    scan.status = status
    scan.finished_at = at
    scan.waiting_for = None
    scan.counts = numbers.counts.model_dump(mode="json")
    scan.progress = 100.0 if complete else numbers.progress
    if end.error is not None:  # else it may have been told before, by whoever cancelled it
        scan.error = end.error.model_dump(mode="json")
    scan.running_since = None
    await session.flush()
    if any(not TaskStatus(status).done for status in statuses):
        await forget_staged(session, scan.id)
    await fold_counts(session, scan.team_id, scan.account_id)


def _outcome(tasks: Sequence[TaskStatus]) -> ScanStatus:
    ran = [status for status in tasks if status is not TaskStatus.SKIPPED]
    if ran and all(status is TaskStatus.FAILED for status in ran):
        return ScanStatus.FAILED
    if all(status is TaskStatus.COMPLETED for status in ran):
        return ScanStatus.COMPLETED
    return ScanStatus.COMPLETED_WITH_ERRORS


async def _scan(session: AsyncSession, scan_id: UUID, *, lock: bool = False) -> ScanRow:
    query = select(ScanRow).where(ScanRow.id == scan_id).execution_options(populate_existing=True)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound("This scan does not exist any more.")
    return row


async def _task(session: AsyncSession, scan_id: UUID, key: str) -> ScanTaskRow:
    """The row of a shard, locked: a merge and a late attempt do not overtake each other."""
    row = (
        await session.scalars(
            select(ScanTaskRow)
            .where(ScanTaskRow.scan_id == scan_id, ScanTaskRow.key == key)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"This scan has no shard {key}.")
    return row


def _shard(row: ScanTaskRow) -> PlannedShard:
    return PlannedShard(
        kind=TaskKind(row.kind), key=row.key, title=row.title, batch=row.batch, plan=row.plan
    )
