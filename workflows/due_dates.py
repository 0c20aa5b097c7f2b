"""Give vulnerabilities the due dates that the policy of their team says."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.sla_checks import SlaActivities
    from contracts.runs import JobSummary
    from contracts.sla import DueDatesRequest, DueDatesStep
    from runtime import policies, task_queues


@workflow.defn
class DueDates:
    """In bounded steps. A policy that changes again starts it anew, from the first one on."""

    @workflow.run
    async def run(self, request: DueDatesRequest) -> JobSummary:
        after, changed = request.after, request.changed
        while True:
            done = await workflow.execute_activity_method(
                SlaActivities.redate,
                DueDatesStep(team_id=request.team_id, after=after, limit=policies.SLA_BATCH),
                task_queue=task_queues.MAINTENANCE,
                summary="Compare due dates with the policy",
                **policies.UPKEEP,
            )
            after, changed = done.after, changed + done.changed
            workflow.set_current_details(f"{changed} due dates changed")
            if after is None:
                return JobSummary(counts={"redated": changed})
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(
                    DueDatesRequest(team_id=request.team_id, after=after, changed=changed)
                )
