"""What Temporal says of workflows that our rows call unfinished, and of those who poll."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contracts.vocabulary import RunOutcome
from runtime import task_queues

POLLER_FRESH: Final = timedelta(seconds=75)
"""A poll lasts up to a minute, and Temporal lists a poller for minutes after its last one."""

RPC_TIMEOUT: Final = timedelta(seconds=4)

SHARD_KEY: Final = "key"
"""What heartbeats of a shard call the shard."""

UNKNOWN: Final = "is unknown to Temporal and ended"

OUTCOMES: Final = {
    WorkflowExecutionStatus.COMPLETED: RunOutcome.COMPLETED,
    WorkflowExecutionStatus.CANCELED: RunOutcome.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: RunOutcome.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT: RunOutcome.TIMED_OUT,
}
"""What a closed workflow means for its run; everything else, and one that is gone, has failed."""


async def described(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """The newest execution; None when Temporal does not know the workflow."""
    try:
        return await client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def status_of(client: Client, workflow_id: str) -> WorkflowExecutionStatus | None:
    """Where the newest execution stands; None when Temporal does not know the workflow."""
    description = await described(client, workflow_id)
    return None if description is None else description.status


async def silent_shards(
    client: Client, execution: WorkflowExecutionDescription, *, before: datetime
) -> set[str]:
    """Keys of the shards whose activity nobody runs, and whose last heartbeat is older than this.

    Temporal itself gives a shard without heartbeats to another worker; these wait for one.
    """
    found = set()
    for pending in execution.raw_description.pending_activities:
        if pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            continue
        if pending.last_heartbeat_time.ToDatetime(UTC) > before:
            continue
        details = await client.data_converter.decode(pending.heartbeat_details.payloads)
        found |= {said[SHARD_KEY] for said in details if isinstance(said, dict)}
    return found


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
