"""Run a schedule for times that have passed, in their order."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from contracts.runs import BackfillRequest, JobSummary, RunRequest
    from contracts.vocabulary import OverlapPolicy, RunTrigger
    from runtime import policies, search_attributes
    from workflows.job_run import JobRun


@workflow.defn
class ScheduleBackfill:
    """One after the other when they queue; a failed run does not stop the next."""

    @workflow.run
    async def run(self, request: BackfillRequest) -> JobSummary:
        one_by_one = request.overlap in (OverlapPolicy.QUEUE, OverlapPolicy.QUEUE_ONE)
        slots = asyncio.Semaphore(1 if one_by_one else policies.BACKFILL_IN_FLIGHT)
        done = await asyncio.gather(
            *(self._run(request, time, slots) for time in sorted(request.times))
        )
        return JobSummary(counts={"runs": len(done), "failed": done.count(False)})

    async def _run(
        self, request: BackfillRequest, time: datetime, slots: asyncio.Semaphore
    ) -> bool:
        async with slots:
            run_id = workflow.uuid4()
            try:
                await workflow.execute_child_workflow(
                    JobRun.run,
                    RunRequest(
                        schedule_id=request.schedule_id,
                        trigger=RunTrigger.BACKFILL,
                        run_id=run_id,
                        nominal_at=time,
                        overlap=request.overlap,
                    ),
                    id=f"run/{run_id}",
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                    search_attributes=search_attributes.of_schedule(
                        request.team_id, request.schedule_id
                    ),
                    static_summary=f"Backfill of {time.isoformat()}",
                )
            except ChildWorkflowError as error:
                if is_cancelled_exception(error):
                    raise
                return False
            return True
