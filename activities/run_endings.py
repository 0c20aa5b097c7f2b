"""How runs end: by themselves, for another run's sake, or because their workflow was lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities import temporal_schedules
from activities.engine_state import OUTCOMES, how_it_ended, status_of
from activities.progress import heartbeating
from contracts.runs import RunClosed, RunDisplacement, RunEnd, RunInTheWay
from contracts.scans import ScanEnd, ScanError
from contracts.schedules import StoredSchedule
from contracts.vocabulary import RunOutcome, ScanStatus
from storage.database import Database
from storage.scans import scan_state
from storage.schedules import job_runs, schedules

YOUNG: Final = timedelta(minutes=1)
"""A row this young may be ahead of its workflow, which is started after it."""

FAILURES: Final = (RunOutcome.FAILED, RunOutcome.TIMED_OUT)
"""What counts for `pause_after_failures`; a cancel or terminate is somebody's doing."""


class RunEndActivities:
    """Idempotent: of several ends of a run the first counts."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def close_run(self, end: RunEnd) -> RunClosed:
        """Record how a run ended; pauses its schedule after too many failures in a row."""
        outcome, summary, error = _judged(end)
        async with self._database.transaction() as session:
            run = await job_runs.find_run(session, end.run_id)
            if run is None:
                return RunClosed(outcome=outcome)
            schedule = None
            if run.schedule_id is not None:
                schedule = await schedules.load_schedule(session, run.schedule_id, lock=True)
            # A run that is being admitted sees this one's end, or is seen here to wait for it.
            await job_runs.lock_key(session, run.overlap_key)
            ended = await job_runs.end_run(
                session, end, outcome=outcome, summary=summary, error=error
            )
            pauses = False
            if ended is not None and schedule is not None:
                pauses = await self._count(session, schedule, ended, error, end.ended_at)
            waiting = await job_runs.next_waiting(session, run.overlap_key)
        if pauses and schedule is not None:
            await self.push(schedule.id)
        return RunClosed(outcome=outcome, next_workflow_id=waiting)

    async def _count(
        self,
        session: AsyncSession,
        schedule: StoredSchedule,
        run: job_runs.RunRecord,
        error: ScanError | None,
        at: datetime,
    ) -> bool:
        """Add a run to its schedule's failures, or forgive them; True if that pauses it."""
        succeeded = run.outcome in (RunOutcome.COMPLETED, RunOutcome.COMPLETED_WITH_ERRORS)
        if succeeded and schedule.failures_in_a_row:
            await schedules.count_outcome(session, schedule.id, in_a_row=0)
        if run.outcome not in FAILURES:
            return False
        failures = schedule.failures_in_a_row + 1
        counted = {"failed": 1} if run.trigger.counts else {}
        await schedules.count_outcome(session, schedule.id, in_a_row=failures, **counted)
        limit = schedule.pause_after_failures
        if schedule.paused or not limit or failures < limit:
            return False
        last = error.message if error else run.outcome.value
        note = f"Paused after {failures} failed runs in a row. The last one: {last}"
        await schedules.set_paused(session, schedule.id, True, note[:500], at=at)
        return True

    async def record_lost(self, run_id: UUID, lost: RunInTheWay) -> None:
        """End the record of a run whose workflow ended without doing so; its work is ended, too."""
        status = await status_of(self._client, lost.workflow_id)
        how = await how_it_ended(self._client, lost.workflow_id)
        words = f"The workflow of this run {how} without recording its end."
        work = RunInTheWay(workflow_id=lost.work_id, scan_id=lost.scan_id) if lost.work_id else None
        if work is not None and await self._stop(work, terminate=False):
            await self._until_closed(work.workflow_id)
        if lost.scan_id is not None:
            await self._end_scan(lost.scan_id, words)
        outcome = RunOutcome.FAILED if status is None else OUTCOMES.get(status, RunOutcome.FAILED)
        await self.close_run(
            RunEnd(
                run_id=run_id,
                outcome=RunOutcome.FAILED if outcome is RunOutcome.COMPLETED else outcome,
                ended_at=datetime.now(UTC),
                error=ScanError(code="workflow_ended", message=words),
            )
        )

    async def _end_scan(self, scan_id: UUID, words: str) -> None:
        async with self._database.transaction() as session:
            await scan_state.end_scan(
                session,
                ScanEnd(
                    scan_id=scan_id,
                    outcome=ScanStatus.CANCELLED,
                    error=ScanError(
                        code="workflow_ended",
                        message=words,
                        fix="Resume the scan to run the shards that are not done.",
                    ),
                ),
                at=datetime.now(UTC),
            )

    @activity.defn
    async def displace_runs(self, displacement: RunDisplacement) -> None:
        """End what is in the way of a run; returns once all of it has ended."""
        async with heartbeating():
            for each in displacement.in_the_way:
                # Ending the work lets its run record that; a run without work yet has only itself.
                work = each.model_copy(update={"workflow_id": each.work_id or each.workflow_id})
                await self._stop(work, terminate=displacement.terminate and bool(each.work_id))
            for each in displacement.in_the_way:
                await self._until_closed(each.workflow_id)

    async def _stop(self, work: RunInTheWay, *, terminate: bool) -> bool:
        """Ask a workflow to end, or end it; False when it does not run."""
        handle = self._client.get_workflow_handle(work.workflow_id)
        try:
            if terminate:
                await handle.terminate("Displaced by a run whose overlap policy says so.")
            else:
                await handle.cancel()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        if terminate and work.scan_id is not None:
            await self._end_scan(work.scan_id, "The scan was terminated for another run.")
        return True

    async def _until_closed(self, workflow_id: str) -> None:
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            await handle.result()
        except WorkflowFailureError:
            pass  # however it ended, it has
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def lives(self, workflow_id: str, since: datetime) -> bool:
        """Whether the workflow runs, or may only just be about to."""
        status = await status_of(self._client, workflow_id)
        if status is None:
            return datetime.now(UTC) - since < YOUNG
        return status is WorkflowExecutionStatus.RUNNING

    async def bury(self, holder: job_runs.Holder) -> None:
        """End the record of what no longer runs."""
        if holder.is_run:
            await self.record_lost(holder.id, holder.in_the_way)
        else:
            await self._end_scan(holder.id, "The workflow of this scan ended without a record.")

    async def push(self, schedule_id: UUID) -> None:
        """Tell Temporal how a schedule is now: paused, finished, or deleted."""
        async with self._database.transaction() as session:
            schedule = await schedules.load_schedule(session, schedule_id, lock=True)
            if schedule is None:
                await temporal_schedules.remove(self._client, schedule_id)
            else:
                installation = await schedules.installation(session)
                await temporal_schedules.put(self._client, schedule, installation)


def _judged(end: RunEnd) -> tuple[RunOutcome, dict[str, Any] | None, ScanError | None]:
    """Outcome, summary and error of a run, from what its workflow returned."""
    result = end.result or {}
    if end.outcome is not RunOutcome.COMPLETED:
        return end.outcome, None, end.error
    if result.get("ok") is False:  # a check that worked, and found something wrong
        error = ScanError(
            code="check_failed", message=str(result.get("error")), fix=result.get("fix")
        )
        return RunOutcome.FAILED, None, error
    if "status" in result:  # a scan says how it ended
        outcome = RunOutcome(result["status"])
        failed = ScanError(code="scan_failed", message="The scan failed.")
        return outcome, result.get("counts"), failed if outcome in FAILURES else None
    return RunOutcome.COMPLETED, result, None
