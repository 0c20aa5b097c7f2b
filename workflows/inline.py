"""A short job, done within the run's own workflow: a second one would cost more than its work."""

from __future__ import annotations

import asyncio
from typing import Any, get_type_hints

from temporalio import workflow
from temporalio.exceptions import TimeoutError as TimedOut
from temporalio.exceptions import TimeoutType

with workflow.unsafe.imports_passed_through():
    from contracts.runs import RunPlan
    from workflows.catalogue import load


async def work_inline(plan: RunPlan) -> Any:
    """What the plan's workflow returns, in the form in which a child's result would arrive.

    Raises Temporal's `TimeoutError` when it takes longer than the plan allows.
    """
    with workflow.unsafe.imports_passed_through():
        definition = load(plan.workflow)
    converter = workflow.payload_converter()
    request = next(iter(get_type_hints(definition.run).values()))
    (argument,) = converter.from_payloads(converter.to_payloads([plan.argument]), [request])
    try:
        result = await asyncio.wait_for(definition().run(argument), plan.timeout_seconds)
    except TimeoutError:
        words = f"The job took longer than {plan.timeout_seconds:g} s."
        raise TimedOut(words, type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[]) from None
    (summary,) = converter.from_payloads(converter.to_payloads([result]))
    return summary
