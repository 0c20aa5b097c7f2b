"""A job for tests of the scheduler: a real workflow that lasts and ends as its parameters say."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from contracts.base import Contract
    from contracts.runs import JobSummary


class Pretend(Contract):
    """How long the job lasts, and how it ends."""

    seconds: float = 0.0
    fails: bool = False


@workflow.defn
class PretendJob:
    """Stands in for a job: it does nothing, for as long as it is told or until it is let go."""

    def __init__(self) -> None:
        self._let_go = False

    @workflow.run
    async def run(self, params: Pretend) -> JobSummary:
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: self._let_go, timeout=params.seconds)
        if params.fails:
            raise ApplicationError("It was told to fail.", non_retryable=True)
        return JobSummary(counts={"done": 1})

    @workflow.signal
    def let_go(self) -> None:
        """End now."""
        self._let_go = True
