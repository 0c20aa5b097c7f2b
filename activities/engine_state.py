"""What Temporal says of workflows that our rows call unfinished, and of those who poll."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contracts.vocabulary import RunOutcome
from runtime import task_queues

POLLER_FRESH: Final = timedelta(seconds=75)
"""A poll lasts up to a minute, and Temporal lists a poller for minutes after its last one."""

RPC_TIMEOUT: Final = timedelta(seconds=4)

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


async def is_polled(client: Client, queue: str) -> bool:
    """True when a worker asked for work of this queue lately: workflows of `scans`, else steps."""
    of_workflows = queue in (task_queues.SCANS, task_queues.MAINTENANCE)
    described = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
            if of_workflows
            else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        ),
        timeout=RPC_TIMEOUT,
    )
    oldest = datetime.now(UTC) - POLLER_FRESH
    return any(poller.last_access_time.ToDatetime(UTC) > oldest for poller in described.pollers)
