"""Resuming a scan that has ended: which of its shards run again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.errors import Conflict
from contracts.scans import Coverage, Scan
from contracts.vocabulary import ScanStatus, TaskStatus
from storage.scans.scans import get_scan, require_scan
from storage.tables import ScanTaskRow


async def reopen_scan(session: AsyncSession, team_id: UUID, scan_id: UUID, *, at: datetime) -> Scan:
    """Resume an ended scan: it waits again, and with it the shards that are not done.

    Those that were throttled or cut off to the end run again, too; what they merged stays, and
    counts.
    """
    scan = await require_scan(session, team_id, scan_id)
    await session.refresh(scan, with_for_update={"key_share": True})
    if not ScanStatus(scan.status).ended:
        raise Conflict(f"This scan has not ended: it is {scan.status}.")
    tasks = (
        await session.scalars(
            select(ScanTaskRow).where(ScanTaskRow.scan_id == scan_id).with_for_update()
        )
    ).all()
    undone = [task for task in tasks if _may_do_more(task)]
    # A scan that failed before it had a plan has everything still to do.
    if tasks and not undone:
        raise Conflict(
            "Every shard of this scan is done, or lacks only what another try would lack, too.",
            fix="`GET /scans/{id}/tasks` says what was denied; mend that and start a new scan.",
        )
    for task in undone:
        task.status = TaskStatus.PENDING
        task.progress = 0.0
        task.rows = task.covered = 0
        task.error = task.coverage = task.started_at = task.finished_at = None
    scan.status = ScanStatus.PENDING
    scan.waiting_for = scan.error = scan.finished_at = scan.counts = scan.progress = None
    await session.flush()
    return await get_scan(session, team_id, scan_id)


def _may_do_more(task: ScanTaskRow) -> bool:
    status = TaskStatus(task.status)
    if status is not TaskStatus.COMPLETED_WITH_ERRORS:
        return not status.done
    return Coverage.model_validate(task.coverage or {}).may_be_completed
