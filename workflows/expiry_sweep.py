"""Start what expiring items make due: one query finds them, each expiry starts once."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.schedule_upkeep import ScheduleUpkeepActivities
    from contracts.runs import JobSummary, SweepBatch, SweepRequest
    from runtime import policies, task_queues


@workflow.defn
class ExpirySweep:
    """In bounded steps, until nothing is due any more."""

    @workflow.run
    async def run(self, request: SweepRequest) -> JobSummary:
        started = request.started
        while True:
            done = await workflow.execute_activity_method(
                ScheduleUpkeepActivities.start_due_items,
                SweepBatch(at=workflow.now(), limit=policies.SWEEP_BATCH),
                task_queue=task_queues.MAINTENANCE,
                summary="Start what is due",
                **policies.UPKEEP,
            )
            started += done.started
            workflow.set_current_details(f"{started} started")
            if done.started < policies.SWEEP_BATCH:
                return JobSummary(counts={"started": started})
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(SweepRequest(started=started))
