"""Imports: a scan whose findings are read from a file, staged as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.consistency import Fault
from contracts.findings import CheckText
from contracts.scans import Coverage, ScanEnd, ScanError, ScanOptions
from contracts.vocabulary import ScanKind, ScanStatus, TaskKind, TriggerKind
from storage.checks import add_checks
from storage.merge import staging
from storage.scans import scan_state
from storage.scans.import_tables import ImportFileRow
from storage.tables import AccountRow, ScanRow, ScanTaskRow

KEY: Final = "import"
"""The one shard of an import."""
REMEMBERED: Final = 50
"""How many imports of an account are looked through for the same file."""
READING: Final = "Its file is being read."
NOT_READ: Final = ScanError(
    code="import_abandoned",
    message="The file was not read to its end: the upload broke off. Nothing of it was merged.",
    fix="Import the file again.",
)
ABANDONED_AFTER: Final = timedelta(minutes=15)
"""An upload of which nothing came for this long is over: its process or its sender is gone."""

_IS_READ: Final = and_(ImportFileRow.sha256.is_(None), ScanRow.status == ScanStatus.PENDING)

_SEEN: Final = text("""
    INSERT INTO coverage_staging (task_id, check_id, region, is_complete)
    SELECT DISTINCT staged.task_id, check_id, region, true
    FROM finding_staging AS staged JOIN scan_task ON scan_task.id = staged.task_id
    WHERE scan_task.scan_id = :scan_id AND scan_task.key = :key
""")


async def create_import(
    session: AsyncSession, team_id: UUID, account_id: UUID, *, is_complete: bool, at: datetime
) -> UUID:
    """A pending scan of kind import with its one shard, to stage a file for."""
    scan_id: UUID | None = await session.scalar(
        insert(ScanRow)
        .values(
            team_id=team_id,
            account_id=account_id,
            kind=ScanKind.IMPORT,
            status=ScanStatus.PENDING,
            options=ScanOptions(discovery=False).model_dump(mode="json"),
            trigger_kind=TriggerKind.MANUAL,
            queued_at=at,
            waiting_for=READING,
        )
        .returning(ScanRow.id)
    )
    assert scan_id is not None  # noqa: S101  (RETURNING of an INSERT)
    session.add(
        ImportFileRow(scan_id=scan_id, account_id=account_id, is_complete=is_complete, read_at=at)
    )
    shard = scan_state.PlannedShard(
        kind=TaskKind.COMPLIANCE, key=KEY, title="Findings of a file", batch=0, plan={}
    )
    await scan_state.write_plan(session, scan_id, [shard], notes=[])
    await scan_state.start_task(session, scan_id, KEY, at=at, attempt=1)
    return scan_id


async def note_read(
    session: AsyncSession, scan_id: UUID, *, size: int, rows: int, at: datetime
) -> bool:
    """Record how far the file is read; False once the scan was ended meanwhile."""
    alive = await session.scalar(
        update(ImportFileRow)
        .where(
            ImportFileRow.scan_id == scan_id,
            select(ScanRow.id)
            .where(ScanRow.id == scan_id, ScanRow.status == ScanStatus.PENDING)
            .exists(),
        )
        .values(size=size, read_at=at)
        .returning(ImportFileRow.scan_id)
    )
    await scan_state.record_task_progress(session, scan_id, KEY, progress=0, rows=rows)
    return alive is not None


async def earlier_import(
    session: AsyncSession, account_id: UUID, sha256: bytes, *, is_complete: bool
) -> UUID | None:
    """The import that already took this file, among the last of the account; none that failed."""
    # Two uploads of one file at once: the second sees here what the first did.
    await session.execute(
        select(AccountRow.id).where(AccountRow.id == account_id).with_for_update(key_share=True)
    )
    last = (
        select(ImportFileRow.scan_id, ImportFileRow.sha256, ImportFileRow.is_complete)
        .where(ImportFileRow.account_id == account_id, ImportFileRow.sha256.is_not(None))
        .order_by(ImportFileRow.scan_id.desc())
        .limit(REMEMBERED)
        .subquery()
    )
    return await session.scalar(
        select(ScanRow.id)
        .join(last, last.c.scan_id == ScanRow.id)
        .where(
            last.c.sha256 == sha256,
            last.c.is_complete == is_complete,
            ScanRow.status.not_in([ScanStatus.FAILED, ScanStatus.CANCELLED]),
        )
        .order_by(ScanRow.id.desc())
        .limit(1)
    )


async def finish_reading(
    session: AsyncSession,
    scan_id: UUID,
    *,
    texts: Sequence[CheckText],
    rows: int,
    gone: int = 0,
    size: int,
    sha256: bytes,
    is_complete: bool,
    at: datetime,
) -> bool:
    """Everything of the file is staged: from here on only the merge is missing.

    False, and nothing is kept, when the scan was ended meanwhile.
    """
    status = await session.scalar(
        select(ScanRow.status).where(ScanRow.id == scan_id).with_for_update(key_share=True)
    )
    if status != ScanStatus.PENDING:
        await staging.forget_staged(session, scan_id)
        return False
    await add_checks(session, texts)
    covered = 0
    if is_complete:
        did = await session.execute(_SEEN, {"scan_id": scan_id, "key": KEY})
        covered = did.rowcount  # type: ignore[attr-defined]
    checks = await session.scalar(
        text("""
            SELECT count(DISTINCT check_id) FROM finding_staging
            WHERE task_id = (SELECT id FROM scan_task WHERE scan_id = :scan_id AND key = :key)
        """),
        {"scan_id": scan_id, "key": KEY},
    )
    coverage = Coverage(planned=checks or 0, run=checks or 0)
    await scan_state.report_task(
        session, scan_id, KEY, coverage=coverage, rows=rows, covered=covered
    )
    await session.execute(
        update(ImportFileRow)
        .where(ImportFileRow.scan_id == scan_id)
        .values(size=size, sha256=sha256)
    )
    what = "resolves" if is_complete else "resolves nothing of"
    note = (
        f"Imported from a file of {rows:,} findings, {size:,} bytes, SHA-256 {sha256.hex()}. "
        f"It {what} what the file lacks."
    )
    if gone:
        note += f" {gone:,} more were left out: their resources are gone."
    await scan_state.write_plan(session, scan_id, [], notes=[note])
    await scan_state.set_waiting(session, scan_id, None)
    # It waits for a worker only from now on.
    await session.execute(update(ScanRow).where(ScanRow.id == scan_id).values(queued_at=at))
    return True


async def forget_import(session: AsyncSession, scan_id: UUID) -> None:
    """As if this import had never begun."""
    await staging.forget_staged(session, scan_id)
    await session.execute(delete(ScanRow).where(ScanRow.id == scan_id))


async def fail_import(
    session: AsyncSession, scan_id: UUID, error: ScanError, *, at: datetime
) -> None:
    """End an import that cannot be read; what it staged is deleted and nothing is merged."""
    end = ScanEnd(scan_id=scan_id, outcome=ScanStatus.FAILED, error=error)
    await scan_state.end_scan(session, end, at=at)
    # It may have been cancelled while it staged on.
    await staging.forget_staged(session, scan_id)


async def abandoned(session: AsyncSession, *, at: datetime, limit: int) -> list[Fault]:
    """Imports of which nothing was read for so long that who read them is gone: `scan/<id>`."""
    rows = await session.execute(
        select(ScanRow.id, ScanRow.team_id, AccountRow.name)
        .join(ImportFileRow, ImportFileRow.scan_id == ScanRow.id)
        .join(AccountRow, AccountRow.id == ScanRow.account_id)
        .where(_IS_READ, ImportFileRow.read_at < at - ABANDONED_AFTER)
        .order_by(ScanRow.id)
        .limit(limit)
    )
    words = (
        "The upload of a file for {} broke off, and nobody was left to say so. Ended the import."
    )
    return [
        Fault(subject=f"scan/{row.id}", team_id=row.team_id, words=words.format(row.name))
        for row in rows
    ]


async def end_abandoned(session: AsyncSession, scan_id: UUID, *, at: datetime) -> None:
    """End an import that is still abandoned: as failed, and nothing of it stays staged."""
    still = (
        select(ImportFileRow.scan_id)
        .join(ScanRow, ScanRow.id == ImportFileRow.scan_id)
        .where(
            ImportFileRow.scan_id == scan_id,
            _IS_READ,
            ImportFileRow.read_at < at - ABANDONED_AFTER,
        )
        .with_for_update(of=ImportFileRow)
    )
    if await session.scalar(still) is not None:
        await fail_import(session, scan_id, NOT_READ, at=at)


async def was_read(session: AsyncSession, scan_id: UUID) -> bool:
    """Whether everything of an import's file is staged, or was."""
    coverage = await session.scalar(
        select(ScanTaskRow.coverage).where(ScanTaskRow.scan_id == scan_id, ScanTaskRow.key == KEY)
    )
    return coverage is not None
