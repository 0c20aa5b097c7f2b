"""Steps of a few milliseconds, taken in the worker that runs the workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from runtime import policies, task_queues

Owner = TypeVar("Owner")
Given = TypeVar("Given")
Answer = TypeVar("Answer")


async def promptly(
    step: Callable[[Owner, Given], Awaitable[Answer]],
    argument: Given,
    *,
    summary: str,
    task_queue: str = task_queues.SCANS,
    policy: policies.ActivityPolicy = policies.RECORD,
) -> Answer:
    """Run an activity of the worker that runs the workflow, without a round trip of the server.

    Once only, since each retry of a local activity costs history. Where that fails, as any other
    activity of this queue: retried for as long as a database may be away.
    """
    try:
        return await workflow.execute_local_activity_method(
            step, argument, summary=summary, **policies.PROMPT
        )
    except FailureError as error:  # as it was raised: only a timeout comes as an ActivityError
        if is_cancelled_exception(error):
            raise
        if not isinstance(error, ActivityError) and not workflow.patched("prompt-retry"):
            raise
    return await workflow.execute_activity_method(
        step, argument, task_queue=task_queue, summary=summary, **policy
    )


async def to_the_end(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Finish what may not be left half done; a cancel that comes meanwhile goes on afterwards."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task  # a workflow is cancelled once at most, and an eviction cancels this, too
        raise
