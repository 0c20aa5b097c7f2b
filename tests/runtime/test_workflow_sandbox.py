"""Our runner is the SDK's sandbox: it refuses the same, and payloads stay what they were."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from runtime.workflow_sandbox import ContextFreeRunner

with workflow.unsafe.imports_passed_through():
    from contracts.scans import ShardTask

calls = 0


@activity.defn
async def echo(task: ShardTask) -> ShardTask:
    return task


@workflow.defn
class Echo:
    """Sends a contract through an activity, with a summary as ours have."""

    @workflow.run
    async def run(self, task: ShardTask) -> ShardTask:
        global calls
        calls += 1
        assert calls == 1, "each workflow imports its module anew"
        return await workflow.execute_activity(
            echo, task, summary="Echo", start_to_close_timeout=timedelta(seconds=30)
        )


@workflow.defn
class Gambler:
    """Does what no workflow may."""

    @workflow.run
    async def run(self) -> float:
        try:
            return random.random()  # noqa: S311  # not for security: it must not get through at all
        except workflow.NondeterminismError as error:
            raise ApplicationError(str(error), type="Refused") from error


@pytest.fixture
def queue() -> str:
    """A task queue of this test's own."""
    return f"sandbox-{uuid4()}"


async def test_a_contract_passes_through_a_sandboxed_workflow_unchanged(
    temporal: Client, queue: str
) -> None:
    task = ShardTask(scan_id=uuid4(), key="compliance/ü")
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[Echo],
        activities=[echo],
        workflow_runner=ContextFreeRunner.importing_once("contracts", "runtime"),
    ):
        for _ in range(2):
            found = await temporal.execute_workflow(
                Echo.run, task, id=f"echo/{uuid4()}", task_queue=queue
            )
            assert found == task
    assert calls == 0, "nothing of the workflows reached this module"


async def test_a_workflow_that_is_not_deterministic_is_refused(
    temporal: Client, queue: str
) -> None:
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[Gambler],
        workflow_runner=ContextFreeRunner.importing_once("contracts", "runtime"),
    ):
        with pytest.raises(WorkflowFailureError) as raised:
            await temporal.execute_workflow(Gambler.run, id=f"g/{uuid4()}", task_queue=queue)
    cause = raised.value.cause
    assert isinstance(cause, ApplicationError)
    assert "random.random" in str(cause)
