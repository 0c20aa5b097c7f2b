"""How a running shard shows that it lives: heartbeats to Temporal, progress to its row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Final, Self

from temporalio import activity

from activities.engine_state import SHARD_KEY
from contracts.scans import ShardTask
from storage.database import Database
from storage.scans import scan_state

HEARTBEAT_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 2.0


class ShardProgress:
    """While entered, heartbeats every second, since cancellation arrives through nothing else."""

    def __init__(self, database: Database, task: ShardTask, *, total: int = 0) -> None:
        self._database = database
        self._task = task
        self._written = monotonic()
        self.done = 0
        self.total = total
        self.rows = 0

    async def __aenter__(self) -> Self:
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating

    async def _beat(self) -> None:
        while True:
            said = {"done": self.done, "total": self.total, "rows": self.rows}
            activity.heartbeat({SHARD_KEY: self._task.key, **said})
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def write(self) -> None:
        """Write the numbers to the shard's row, at most every two seconds."""
        if monotonic() - self._written < WRITE_SECONDS:
            return
        self._written = monotonic()
        async with self._database.transaction() as session:
            await scan_state.record_task_progress(
                session,
                self._task.scan_id,
                self._task.key,
                progress=100 * self.done / self.total if self.total else 0,
                rows=self.rows,
            )


@asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """While entered, the activity heartbeats every second and so hears of a cancel.

    One that runs within a workflow's own step does neither: the SDK knows of no such heartbeats.
    """
    if activity.info().is_local:
        yield
        return

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
