"""What Temporal says of a workflow that our rows call unfinished."""

from __future__ import annotations

from typing import Final

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contracts.vocabulary import RunOutcome

UNKNOWN: Final = "is unknown to Temporal and ended"

OUTCOMES: Final = {
    WorkflowExecutionStatus.COMPLETED: RunOutcome.COMPLETED,
    WorkflowExecutionStatus.CANCELED: RunOutcome.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: RunOutcome.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT: RunOutcome.TIMED_OUT,
}
"""What a closed workflow means for its run; everything else, and one that is gone, has failed."""


async def status_of(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    """Where the newest execution stands; None when Temporal does not know the workflow."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return description.status


async def how_it_ended(client: Client, workflow_id: str) -> str | None:
    """In words how a workflow ended; None while it runs."""
    status = await status_of(client, workflow_id)
    if status is None:
        return UNKNOWN
    if status is WorkflowExecutionStatus.RUNNING:
        return None
    if status is WorkflowExecutionStatus.TERMINATED:
        return "was terminated"
    return f"ended ({status.name.lower()})"
