"""Delete what teams need not keep any more: team by team, and one that fails stops no other."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.retention import RetentionActivities
    from contracts.errors import MESSAGE_LIMIT
    from contracts.retention import RetentionPage, RetentionRequest, RetentionStep
    from contracts.runs import JobSummary
    from runtime import policies, task_queues
    from workflows.failures import scan_error

NAMED = 100
"""Teams that a summary names, with what was deleted of them or why they failed."""


@workflow.defn
class RetentionCycle:
    """History holds ids and counts. Fails at its end if any team failed, and says which."""

    @workflow.run
    async def run(self, request: RetentionRequest) -> JobSummary:
        while True:
            page = await workflow.execute_activity_method(
                RetentionActivities.list_teams,
                RetentionPage(after=request.after, limit=policies.RETENTION_PAGE),
                task_queue=task_queues.MAINTENANCE,
                summary="List teams",
                **policies.UPKEEP,
            )
            if not page.team_ids:
                return _ended(request)
            for team_id in page.team_ids:
                request = await self._delete_old(request, team_id)
                workflow.set_current_details(_words(request.counts))
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)

    async def _delete_old(self, request: RetentionRequest, team_id: UUID) -> RetentionRequest:
        done = {"after": team_id, "teams": request.teams + 1}
        try:
            did = await workflow.execute_activity_method(
                RetentionActivities.delete_old,
                RetentionStep(
                    cycle=UUID(workflow.info().first_execution_run_id),
                    team_id=team_id,
                    at=workflow.now(),
                    limit=policies.RETENTION_BATCH,
                ),
                task_queue=task_queues.MAINTENANCE,
                summary=f"Delete what is old of team {team_id}",
                **policies.RETENTION,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            why = scan_error(error)
            failures = [*request.failures, f"Team {team_id}: {why.message}"][:NAMED]
            failed = {"failed": request.failed + 1, "failures": failures}
            return request.model_copy(update=done | failed | {"error": request.error or why})
        if not did.counts:
            return request.model_copy(update=done)
        deleted = {
            "changed": request.changed + 1,
            "counts": dict(Counter(request.counts) + Counter(did.counts)),
            "notes": [*request.notes, f"{did.team}: {_words(did.counts)}"][:NAMED],
        }
        return request.model_copy(update=done | deleted)


def _ended(request: RetentionRequest) -> JobSummary:
    notes = _and_more(request.notes, request.changed)
    if request.error is None:
        return JobSummary(counts=request.counts, notes=notes)
    failures = _and_more(request.failures, request.failed)
    words = " ".join(
        [
            f"{request.failed} of {request.teams} teams failed, and keep what is left.",
            *failures,
            f"Deleted of the others: {'; '.join(notes) or 'nothing'}.",
        ]
    )
    error = request.error.model_copy(update={"message": words[:MESSAGE_LIMIT]})
    raise ApplicationError(error.message, error, type=error.code, non_retryable=True)


def _and_more(named: list[str], number: int) -> list[str]:
    more = number - len(named)
    return [*named, f"and {more} more teams"] if more else named


def _words(counts: dict[str, int]) -> str:
    did = [f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items()]
    return ", ".join(did) or "Nothing was old so far"
