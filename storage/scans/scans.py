"""Scans and their shards as people create and read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.scans import (
    Coverage,
    FindingCounts,
    HybridOptions,
    NativeOptions,
    NewScan,
    Scan,
    ScanCounts,
    ScanError,
    ScanOptions,
    ScanTask,
    ScanTrigger,
    TaskCounts,
)
from contracts.vocabulary import (
    Provider,
    ScanKind,
    ScanStatus,
    TaskKind,
    TaskStatus,
    TriggerKind,
)
from storage import cursors
from storage.accounts import native_account
from storage.tables import AccountRow, ScanRow, ScanTaskRow

KINDS: Final = {Provider.KUBERNETES: ScanKind.KUBERNETES, Provider.NATIVE: ScanKind.NATIVE}
"""What a scan of an account is where it is no cloud."""


OF_THE_TEAM: Final[dict[ScanKind, type[NativeOptions | HybridOptions]]] = {
    ScanKind.NATIVE: NativeOptions,
    ScanKind.HYBRID: HybridOptions,
}
"""Scans of no account that people added: they run in the team's account of native scans."""


def options_of(row: ScanRow) -> ScanOptions | NativeOptions | HybridOptions:
    """The scope of a scan, by its kind."""
    return OF_THE_TEAM.get(ScanKind(row.kind), ScanOptions).model_validate(row.options)


def trigger_of(row: ScanRow) -> ScanTrigger:
    """What started a scan."""
    return ScanTrigger(
        kind=TriggerKind(row.trigger_kind), schedule_id=row.schedule_id, **(row.cascade or {})
    )


async def create_scan(
    session: AsyncSession,
    team_id: UUID,
    scan: NewScan | NativeOptions | HybridOptions,
    *,
    trigger: ScanTrigger,
    idempotency_key: str | None,
    at: datetime,
    kind: ScanKind | None = None,
) -> tuple[Scan, bool]:
    """A pending scan, and whether it is new: the same key and body give the same scan.

    Its kind, if none is given, is the one for the account's provider. Conflict when the key was
    used for another body or the account is disabled. A scan of targets or assets runs in the
    team's account of native scans.
    """
    if isinstance(scan, NewScan):
        account_id = scan.account_id
    else:
        account_id = (await native_account(session, team_id, at=at)).id
    options = scan.model_dump(mode="json", exclude={"account_id"})
    earlier = await _of_key(session, team_id, idempotency_key)
    if earlier is None:
        provider = await _require_enabled(session, team_id, account_id)
        scan_id = await session.scalar(
            insert(ScanRow)
            .values(
                team_id=team_id,
                account_id=account_id,
                kind=kind or KINDS.get(provider, ScanKind.CLOUD),
                status=ScanStatus.PENDING,
                options=options,
                trigger_kind=trigger.kind,
                schedule_id=trigger.schedule_id,
                cascade=trigger.model_dump(
                    mode="json", exclude={"kind", "schedule_id"}, exclude_none=True
                )
                or None,
                idempotency_key=idempotency_key,
                queued_at=at,
            )
            .on_conflict_do_nothing(index_elements=["team_id", "idempotency_key"])
            .returning(ScanRow.id)
        )
        if scan_id is not None:
            return await get_scan(session, team_id, scan_id), True
        earlier = await _of_key(session, team_id, idempotency_key)  # made a moment ago by another
        if earlier is None:
            raise NotFound("The scan of this Idempotency-Key was just deleted.")
    if (earlier.account_id, earlier.options) != (account_id, options):
        raise Conflict(
            f"This Idempotency-Key already made scan {earlier.id}, from another body.",
            fix="Use a new key for a new scan.",
        )
    return await get_scan(session, team_id, earlier.id), False


async def list_scans(
    session: AsyncSession,
    team_id: UUID,
    *,
    status: Sequence[ScanStatus] | None = None,
    account_id: Sequence[UUID] | None = None,
    kind: Sequence[ScanKind] | None = None,
    trigger: Sequence[TriggerKind] | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Scan]:
    """The team's scans, newest first."""
    query = select(ScanRow).where(ScanRow.team_id == team_id)
    for column, values in (
        (ScanRow.status, status),
        (ScanRow.account_id, account_id),
        (ScanRow.kind, kind),
        (ScanRow.trigger_kind, trigger),
    ):
        if values is not None:
            query = query.where(column.in_(values))
    after = cursors.decode_id("scans", cursor)
    if after is not None:
        query = query.where(ScanRow.id < after)
    found = await session.scalars(
        query.order_by(ScanRow.id.desc()).limit(limit + 1).execution_options(populate_existing=True)
    )
    rows = found.all()
    shown = rows[:limit]
    live = await live_numbers(session, [row.id for row in shown if row.counts is None])
    return Page(
        items=[_scan(row, live.get(row.id)) for row in shown],
        next_cursor=cursors.encode("scans", shown[-1].id) if len(rows) > limit else None,
    )


async def get_scan(session: AsyncSession, team_id: UUID, scan_id: UUID) -> Scan:
    """One scan of the team; while it is not ended its numbers are those of its shards so far."""
    row = await require_scan(session, team_id, scan_id)
    live = await live_numbers(session, [row.id]) if row.counts is None else {}
    return _scan(row, live.get(row.id))


async def find_scan(session: AsyncSession, team_id: UUID, scan_id: UUID) -> Scan | None:
    """The same, or None when there is no such scan any more."""
    try:
        return await get_scan(session, team_id, scan_id)
    except NotFound:
        return None


async def list_tasks(
    session: AsyncSession,
    team_id: UUID,
    scan_id: UUID,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[ScanTask]:
    """The shards of a scan in the order they were planned."""
    await require_scan(session, team_id, scan_id)
    query = select(ScanTaskRow).where(ScanTaskRow.scan_id == scan_id)
    after = cursors.decode("tasks", cursor, [int, str])
    if after is not None:
        query = query.where(text("(position, key) > (:position, :key)")).params(
            position=after[0], key=after[1]
        )
    found = await session.scalars(
        query.order_by(ScanTaskRow.position, ScanTaskRow.key)
        .limit(limit + 1)
        .execution_options(populate_existing=True)
    )
    rows = found.all()
    shown = rows[:limit]
    return Page(
        items=[_task(row) for row in shown],
        next_cursor=cursors.encode("tasks", shown[-1].position, shown[-1].key)
        if len(rows) > limit
        else None,
    )


class Numbers(NamedTuple):
    """What a scan's shards add up to."""

    counts: ScanCounts
    progress: float


NO_NUMBERS = Numbers(ScanCounts(), 0.0)

_NUMBERS = text("""
    SELECT scan_id,
           count(*) AS total,
           count(*) FILTER (WHERE done) AS done,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           coalesce(sum(rows) FILTER (WHERE kind = 'discovery' AND done), 0) AS resources,
           coalesce(sum((counts->>'new')::bigint) FILTER (WHERE assessed), 0) AS new,
           coalesce(sum((counts->>'changed')::bigint) FILTER (WHERE assessed), 0) AS changed,
           coalesce(sum((counts->>'resolved')::bigint) FILTER (WHERE assessed), 0) AS resolved,
           coalesce(sum((counts->>'unchanged')::bigint) FILTER (WHERE assessed), 0) AS unchanged,
           avg(CASE WHEN done OR status = 'failed' THEN 100 ELSE progress END) AS progress
    FROM (
        SELECT *, status IN ('completed', 'completed_with_errors', 'skipped') AS done,
               kind <> 'discovery' AS assessed
        FROM scan_task WHERE scan_id = ANY(:scan_ids)
    ) AS task
    GROUP BY scan_id
""")


async def live_numbers(session: AsyncSession, scan_ids: Sequence[UUID]) -> dict[UUID, Numbers]:
    """The sums over the shards of these scans; a scan without shards is left out."""
    if not scan_ids:
        return {}
    found = await session.execute(_NUMBERS, {"scan_ids": list(scan_ids)})
    return {
        row.scan_id: Numbers(
            ScanCounts(
                resources=row.resources,
                findings=FindingCounts(
                    new=row.new,
                    changed=row.changed,
                    resolved=row.resolved,
                    unchanged=row.unchanged,
                ),
                tasks=TaskCounts(total=row.total, done=row.done, failed=row.failed),
            ),
            round(float(row.progress), 1),
        )
        for row in found
    }


async def require_scan(session: AsyncSession, team_id: UUID, scan_id: UUID) -> ScanRow:
    """The row of a scan of the team; NotFound if there is none."""
    query = select(ScanRow).where(ScanRow.id == scan_id, ScanRow.team_id == team_id)
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("There is no such scan in this team.")
    return row


async def _of_key(session: AsyncSession, team_id: UUID, key: str | None) -> ScanRow | None:
    if key is None:
        return None
    query = select(ScanRow).where(ScanRow.team_id == team_id, ScanRow.idempotency_key == key)
    return (await session.scalars(query)).one_or_none()


async def _require_enabled(session: AsyncSession, team_id: UUID, account_id: UUID) -> Provider:
    """The provider of the account, which must be there and enabled."""
    query = select(AccountRow.name, AccountRow.enabled, AccountRow.provider).where(
        AccountRow.id == account_id, AccountRow.team_id == team_id
    )
    # Locked against deletion until the scan's row stands, which keeps the account.
    account = (
        await session.execute(query.with_for_update(read=True, key_share=True))
    ).one_or_none()
    if account is None:
        raise NotFound("There is no such account in this team.")
    if not account.enabled:
        raise Conflict(f"Account {account.name} is disabled.", fix="Enable it first.")
    return Provider(account.provider)


def _scan(row: ScanRow, live: Numbers | None) -> Scan:
    counts, progress = live or NO_NUMBERS
    if row.counts is not None:
        counts = ScanCounts.model_validate(row.counts)
        progress = row.progress or 0.0
    return Scan(
        id=row.id,
        kind=ScanKind(row.kind),
        account_id=row.account_id,
        status=ScanStatus(row.status),
        progress=progress,
        trigger=trigger_of(row),
        options=options_of(row),
        queued_at=row.queued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        queue_seconds=_seconds(row.queued_at, row.started_at),
        duration_seconds=_seconds(row.started_at, row.finished_at),
        waiting_for=row.waiting_for,
        workflow_id=f"scan/{row.id}",
        temporal_url=None,
        counts=counts,
        notes=row.notes,
        error=_error(row.error),
    )


def _task(row: ScanTaskRow) -> ScanTask:
    return ScanTask(
        kind=TaskKind(row.kind),
        key=row.key,
        status=TaskStatus(row.status),
        attempt=row.attempt,
        rows=row.rows,
        progress=row.progress,
        started_at=row.started_at,
        finished_at=row.finished_at,
        coverage=None if row.coverage is None else Coverage.model_validate(row.coverage),
        counts=None if row.counts is None else FindingCounts.model_validate(row.counts),
        error=_error(row.error),
    )


def _error(stored: dict[str, Any] | None) -> ScanError | None:
    return None if stored is None else ScanError.model_validate(stored)


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else max(0.0, (end - begin).total_seconds())
