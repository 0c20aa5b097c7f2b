"""Run one job once: be admitted, do its work, and always record how it ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.run_admission import RunAdmissionActivities
    from activities.run_endings import RunEndActivities
    from contracts.runs import (
        RunAdmission,
        RunAsked,
        RunDisplacement,
        RunEnd,
        RunPlan,
        RunRequest,
        RunSummary,
        run_id_at,
    )
    from contracts.vocabulary import RunOutcome
    from runtime import policies, search_attributes, task_queues
    from workflows.failures import root_cause, scan_error
    from workflows.inline import work_inline
    from workflows.prompt import promptly, to_the_end

NOMINAL = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""Set by Temporal on what a schedule starts: the time it was due."""


@workflow.defn
class JobRun:
    """One run, also of a time that is skipped. History holds identifiers and counts."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        self._my_turn = False

    @workflow.run
    async def run(self, request: RunRequest) -> RunSummary:
        asked = _complete(request)
        try:
            admission = await self._admitted(asked)
            if admission.plan is None:
                self._show(f"{admission.outcome}: {admission.words}")
                return RunSummary(
                    run_id=asked.run_id, outcome=admission.outcome, words=admission.words
                )
            self._show(f"Running {admission.plan.summary}\n\n{admission.words}")
            result = await self._work(admission.plan)
        except (FailureError, asyncio.CancelledError) as error:  # never a bug or an eviction
            await self._end(asked, _outcome(error), error=error)
            raise
        outcome = await self._end(asked, RunOutcome.COMPLETED, result=result)
        return RunSummary(run_id=asked.run_id, outcome=outcome, words=admission.words)

    async def _admitted(self, asked: RunAsked) -> RunAdmission:
        """Ask until the run may start or is left out; wait, or displace others, in between."""
        while True:
            admission = await promptly(
                RunAdmissionActivities.admit_run, asked, summary="Decide whether it may run"
            )
            if admission.plan is not None or admission.outcome.ended:
                return admission
            self._show(admission.words)
            if admission.in_the_way:
                await workflow.execute_activity_method(
                    RunEndActivities.displace_runs,
                    RunDisplacement(
                        in_the_way=admission.in_the_way,
                        terminate=admission.terminate,
                    ),
                    task_queue=task_queues.SCANS,
                    summary="End what is in the way",
                    **policies.DISPLACE,
                )
                continue
            # What it waits for may end without telling: look again after a while.
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self._my_turn, timeout=policies.TURN_RECHECK)
            self._my_turn = False

    async def _work(self, plan: RunPlan) -> Any:
        if plan.inline:
            return await work_inline(plan)
        return await workflow.execute_child_workflow(
            plan.workflow,
            plan.argument,
            id=plan.workflow_id,
            task_queue=plan.task_queue,
            execution_timeout=timedelta(seconds=plan.timeout_seconds),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            search_attributes=search_attributes.of(plan.attributes),
            static_summary=plan.summary,
        )

    async def _end(
        self,
        asked: RunAsked,
        outcome: RunOutcome,
        *,
        result: Any = None,
        error: BaseException | None = None,
    ) -> RunOutcome:
        """Record the end, then wake the run that waits behind this one, also when cancelled."""
        end = RunEnd(
            run_id=asked.run_id,
            outcome=outcome,
            ended_at=workflow.now(),
            result=result,
            error=scan_error(error) if error and outcome is not RunOutcome.CANCELLED else None,
        )
        return await to_the_end(self._record_end(end))

    async def _record_end(self, end: RunEnd) -> RunOutcome:
        closed = await promptly(RunEndActivities.close_run, end, summary="Record how it ended")
        self._show(f"Ended: {closed.outcome}")
        if closed.next_workflow_id is not None:
            waiting = workflow.get_external_workflow_handle(closed.next_workflow_id)
            try:
                await waiting.signal("your_turn")
            except FailureError:  # it is not running any more; the next one looks by itself
                workflow.logger.info("The waiting run %s is gone", closed.next_workflow_id)
        return closed.outcome

    @workflow.signal
    def your_turn(self) -> None:
        """The run before this one has ended."""
        self._my_turn = True

    def _show(self, words: str) -> None:
        workflow.set_current_details(words)


def _complete(request: RunRequest) -> RunAsked:
    """The request with what Temporal knows: when it was due, and which execution asks."""
    info = workflow.info()
    nominal = request.nominal_at or info.typed_search_attributes.get(NOMINAL) or workflow.now()
    run_id = request.run_id
    if run_id is None:
        if request.schedule_id is None:
            raise ApplicationError("A run needs an id, or a schedule.", non_retryable=True)
        run_id = run_id_at(request.schedule_id, nominal)
    return RunAsked(
        **request.model_dump(exclude={"run_id", "nominal_at"}),
        run_id=run_id,
        nominal_at=nominal,
        asked_at=workflow.now(),
        workflow_id=info.workflow_id,
        execution_id=info.run_id,
    )


def _outcome(error: BaseException) -> RunOutcome:
    if is_cancelled_exception(error):
        return RunOutcome.CANCELLED
    cause = error.__cause__ if isinstance(error, ChildWorkflowError) else root_cause(error)
    if isinstance(cause, TerminatedError):
        return RunOutcome.TERMINATED
    return RunOutcome.TIMED_OUT if isinstance(cause, TimedOut) else RunOutcome.FAILED
