"""Tell people once what is due, overdue, or no longer accepted."""

from __future__ import annotations

from collections import Counter

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.sla_checks import SlaActivities
    from contracts.runs import JobSummary
    from contracts.sla import DueDatesRequest, SlaCheckRequest, SlaStep
    from runtime import policies, task_queues
    from workflows.due_dates import DueDates


@workflow.defn
class SlaCheck:
    """Due dates first, then notices: in bounded steps, until nothing is left."""

    @workflow.run
    async def run(self, request: SlaCheckRequest) -> JobSummary:
        counts = Counter(request.counts)
        if not counts:  # else the history before has done that
            redated = await workflow.execute_child_workflow(
                DueDates.run,
                DueDatesRequest(),
                id=f"due-dates/{workflow.info().run_id}",
                task_queue=task_queues.MAINTENANCE,
                static_summary="Due dates of all teams",
            )
            counts.update(redated.counts)
        while True:
            done = await workflow.execute_activity_method(
                SlaActivities.check_sla,
                SlaStep(at=workflow.now(), limit=policies.SLA_BATCH),
                task_queue=task_queues.MAINTENANCE,
                summary="Notice what is due or expired",
                **policies.UPKEEP,
            )
            counts.update(done.counts)
            workflow.set_current_details(str(dict(counts)))
            if sum(done.counts.values()) < policies.SLA_BATCH:
                return JobSummary(counts=dict(counts))
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(SlaCheckRequest(counts=dict(counts)))
