"""Make Temporal fire what the schedules here say, and give every due time its record."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.schedule_upkeep import ScheduleUpkeepActivities
    from contracts.runs import JobSummary, ReconcileRequest
    from runtime import policies, task_queues


@workflow.defn
class ScheduleReconciler:
    """First what fires, then what did not fire, then what stopped without saying so."""

    @workflow.run
    async def run(self, request: ReconcileRequest) -> JobSummary:
        reconciled = await workflow.execute_activity_method(
            ScheduleUpkeepActivities.reconcile_schedules,
            request,
            task_queue=task_queues.MAINTENANCE,
            summary="Compare with Temporal's schedules",
            **policies.UPKEEP,
        )
        missed = await workflow.execute_activity_method(
            ScheduleUpkeepActivities.record_missed_runs,
            task_queue=task_queues.MAINTENANCE,
            summary="Record what was missed",
            **policies.UPKEEP,
        )
        lost = await workflow.execute_activity_method(
            ScheduleUpkeepActivities.end_lost_runs,
            task_queue=task_queues.MAINTENANCE,
            summary="End runs that nothing runs any more",
            **policies.UPKEEP,
        )
        return JobSummary(counts=reconciled.counts | missed.counts | lost.counts)
