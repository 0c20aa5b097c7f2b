"""Runs of jobs: admitted one after the other, recorded whatever became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.runs import RunAsked, RunEnd, RunInTheWay
from contracts.scans import ScanError
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger, ScanStatus
from storage.scans.import_tables import BEING_READ
from storage.schedules.schedule_tables import JobRunRow
from storage.tables import ScanRow

LIVE: Final = [outcome for outcome in RunOutcome if not outcome.ended]
_LIVE_SCAN: Final = [status for status in ScanStatus if not status.ended]


class RunRecord(NamedTuple):
    """A run as a worker sees it."""

    id: UUID
    team_id: UUID
    schedule_id: UUID | None
    job: str
    params: dict[str, Any]
    trigger: RunTrigger
    overlap: OverlapPolicy
    overlap_key: str
    outcome: RunOutcome
    reason: str | None
    queued_at: datetime
    scan_id: UUID | None
    workflow_id: str | None
    execution_id: str | None
    work_id: str | None


class Holder(NamedTuple):
    """What has not ended and must not run at the same time: a run, or a scan started by hand."""

    id: UUID
    is_run: bool
    is_waiting: bool
    queued_at: datetime
    in_the_way: RunInTheWay


async def lock_key(session: AsyncSession, key: str) -> None:
    """From here to the end of the transaction nobody else decides about what has this key."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"job_run/{key}"}
    )


async def find_run(session: AsyncSession, run_id: UUID) -> RunRecord | None:
    """A run of whatever team."""
    found = await session.scalars(
        select(JobRunRow).where(JobRunRow.id == run_id).execution_options(populate_existing=True)
    )
    row = found.one_or_none()
    return None if row is None else _record(row)


async def add_run(
    session: AsyncSession,
    asked: RunAsked,
    *,
    team_id: UUID,
    job: str,
    params: Mapping[str, Any],
    overlap: OverlapPolicy,
    overlap_key: str,
    outcome: RunOutcome,
    reason: str | None,
) -> RunRecord:
    """The record of a run that has come up; once per id."""
    left_out = outcome.ended
    row = (
        await session.scalars(
            insert(JobRunRow)
            .values(
                id=asked.run_id,
                team_id=team_id,
                schedule_id=asked.schedule_id,
                job=job,
                params=dict(params),
                trigger=asked.trigger,
                nominal_at=asked.nominal_at,
                overlap=overlap,
                overlap_key=overlap_key,
                outcome=outcome,
                reason=reason,
                queued_at=asked.asked_at,
                ended_at=asked.asked_at if left_out else None,
                item=None if asked.item is None else asked.item.model_dump(mode="json"),
                workflow_id=asked.workflow_id,
                execution_id=asked.execution_id,
            )
            .returning(JobRunRow)
        )
    ).one()
    return _record(row)


async def set_outcome(
    session: AsyncSession, run_id: UUID, outcome: RunOutcome, reason: str | None
) -> None:
    """What a run that has not started waits for."""
    await session.execute(
        update(JobRunRow).where(JobRunRow.id == run_id).values(outcome=outcome, reason=reason)
    )


async def start_run(
    session: AsyncSession,
    run_id: UUID,
    *,
    work_id: str,
    scan_id: UUID | None,
    reason: str | None,
    at: datetime,
) -> None:
    """A run's work begins, in this workflow."""
    await session.execute(
        update(JobRunRow)
        .where(JobRunRow.id == run_id)
        .values(
            outcome=RunOutcome.RUNNING,
            started_at=at,
            work_id=work_id,
            scan_id=scan_id,
            reason=reason,
        )
    )


async def end_run(
    session: AsyncSession,
    end: RunEnd,
    *,
    outcome: RunOutcome,
    summary: dict[str, Any] | None,
    error: ScanError | None,
) -> RunRecord | None:
    """Record how a run ended; None when it had ended before: the first end counts."""
    row = (
        await session.scalars(
            update(JobRunRow)
            .where(JobRunRow.id == end.run_id, JobRunRow.outcome.in_(LIVE))
            .values(
                outcome=outcome,
                ended_at=end.ended_at,
                summary=summary,
                error=None if error is None else error.model_dump(mode="json"),
            )
            .returning(JobRunRow)
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    return None if row is None else _record(row)


async def refuse_waiting(
    session: AsyncSession, run_id: UUID, execution_id: str, reason: str, *, at: datetime
) -> None:
    """End the record of a run that waited in vain; one that has started is left alone."""
    await session.execute(
        update(JobRunRow)
        .where(
            JobRunRow.id == run_id,
            JobRunRow.execution_id == execution_id,
            JobRunRow.outcome == RunOutcome.QUEUED,
        )
        .values(outcome=RunOutcome.REFUSED, reason=reason, ended_at=at)
    )


async def holders(
    session: AsyncSession, key: str, *, account_id: UUID | None, besides: UUID
) -> list[Holder]:
    """What has this key and has not ended, oldest first; for an account also scans that no run
    started."""
    runs = (
        await session.scalars(
            select(JobRunRow).where(
                JobRunRow.overlap_key == key,
                JobRunRow.outcome.in_(LIVE),
                JobRunRow.id != besides,
            )
        )
    ).all()
    # A scan that has not begun yet waits, though its run has started.
    states = await _scan_states(session, [row.scan_id for row in runs if row.scan_id])
    found = [
        Holder(
            in_the_way=RunInTheWay(
                workflow_id=row.workflow_id or "", work_id=row.work_id, scan_id=row.scan_id
            ),
            is_waiting=row.outcome == RunOutcome.QUEUED
            or (row.scan_id is not None and states.get(row.scan_id) == ScanStatus.PENDING),
            queued_at=row.queued_at,
            id=row.id,
            is_run=True,
        )
        for row in runs
    ]
    if account_id is not None:
        own = {row.scan_id for row in runs}
        scans = await session.execute(
            select(ScanRow.id, ScanRow.status, ScanRow.queued_at).where(
                ScanRow.account_id == account_id, ScanRow.status.in_(_LIVE_SCAN), ~BEING_READ
            )
        )
        mine = await session.scalar(select(JobRunRow.scan_id).where(JobRunRow.id == besides))
        found += [
            Holder(
                id=scan.id,
                is_run=False,
                is_waiting=scan.status == ScanStatus.PENDING,
                queued_at=scan.queued_at,
                in_the_way=RunInTheWay(
                    workflow_id=f"scan/{scan.id}", work_id=f"scan/{scan.id}", scan_id=scan.id
                ),
            )
            for scan in scans
            if scan.id not in own and scan.id != mine
        ]
    return sorted(found, key=lambda holder: (holder.queued_at, holder.id))


async def _scan_states(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    rows = await session.execute(select(ScanRow.id, ScanRow.status).where(ScanRow.id.in_(ids)))
    return {row.id: row.status for row in rows}


async def next_waiting(session: AsyncSession, key: str) -> str | None:
    """The workflow of the run that waits for this key the longest."""
    return await session.scalar(
        select(JobRunRow.workflow_id)
        .where(JobRunRow.overlap_key == key, JobRunRow.outcome == RunOutcome.QUEUED)
        .order_by(JobRunRow.queued_at, JobRunRow.id)
        .limit(1)
    )


async def live_runs(
    session: AsyncSession, *, queued_before: datetime, after: UUID | None, limit: int
) -> list[RunRecord]:
    """Runs that have not ended and did not come up just now, to see whether they still run."""
    query = select(JobRunRow).where(
        JobRunRow.outcome.in_(LIVE), JobRunRow.queued_at < queued_before
    )
    if after is not None:
        query = query.where(JobRunRow.id > after)
    rows = await session.scalars(query.order_by(JobRunRow.id).limit(limit))
    return [_record(row) for row in rows]


async def known_runs(session: AsyncSession, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ids that have a record."""
    if not ids:
        return set()
    return set(await session.scalars(select(JobRunRow.id).where(JobRunRow.id.in_(ids))))


async def started_at_times(
    session: AsyncSession, schedule_id: UUID, first: datetime, last: datetime
) -> set[datetime]:
    """Nominal times of a schedule at which a run started, between these two."""
    started = [outcome for outcome in RunOutcome if outcome.started]
    return set(
        await session.scalars(
            select(JobRunRow.nominal_at).where(
                JobRunRow.schedule_id == schedule_id,
                JobRunRow.nominal_at.between(first, last),
                JobRunRow.outcome.in_(started),
            )
        )
    )


def _record(row: JobRunRow) -> RunRecord:
    return RunRecord(
        id=row.id,
        team_id=row.team_id,
        schedule_id=row.schedule_id,
        job=row.job,
        params=row.params,
        trigger=RunTrigger(row.trigger),
        overlap=OverlapPolicy(row.overlap),
        overlap_key=row.overlap_key,
        outcome=RunOutcome(row.outcome),
        reason=row.reason,
        queued_at=row.queued_at,
        scan_id=row.scan_id,
        workflow_id=row.workflow_id,
        execution_id=row.execution_id,
        work_id=row.work_id,
    )
