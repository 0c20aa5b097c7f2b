"""Merging the shards of one scan as they end: one activity at a time, for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.shards import ShardActivities
    from contracts.scans import MergeReport, ScanError, ShardBatch
    from runtime import policies, task_queues
    from workflows.failures import scan_error
    from workflows.prompt import promptly


class Merging:
    """Shards that end within a moment, or while a merge is under way, go into the next together.

    Long shards are thus merged as they end. Many short ones, whose cost is the steps that Temporal
    stores, take a handful of merges instead of one each. The last shards of a scan, where they
    staged little, are merged in the same step in which the scan ends: no other waits for that.
    """

    def __init__(
        self, scan_id: UUID, others_run: Callable[[], bool], unfinished: Callable[[], int]
    ) -> None:
        self._scan_id = scan_id
        self._others_run = others_run
        self._unfinished = unfinished
        self._turn = asyncio.Lock()
        self._waiting: dict[str, int] = {}
        self._failed: dict[str, ScanError] = {}

    async def merge(self, key: str, rows: int) -> ScanError | None:
        """Merge a shard that staged so many rows: None, or why this one could not be merged."""
        self._waiting[key] = rows
        async with self._turn:
            if key in self._waiting:  # else the one before has merged it together with its own
                await self._gather()
                await self._merge_waiting()
        return self._failed.pop(key, None)

    async def _gather(self) -> None:
        """Wait a moment for shards that end, too, but not when none runs any more."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: not self._others_run(),
                timeout=policies.MERGE_GATHERS,
                timeout_summary="Gather shards to merge",
            )

    async def _merge_waiting(self) -> None:
        keys = list(self._waiting)[: policies.MERGED_AT_ONCE]
        rows = sum(self._waiting.pop(key) for key in keys)
        try:
            report = await self._merge_batch(ShardBatch(scan_id=self._scan_id, keys=keys), rows)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self._failed |= dict.fromkeys(keys, scan_error(error))
        else:
            self._failed |= {failed.key: failed.error for failed in report.failed}

    async def _merge_batch(self, batch: ShardBatch, rows: int) -> MergeReport:
        keys = batch.keys
        summary = f"Merge {keys[0]}" if len(keys) == 1 else f"Merge {len(keys)} shards"
        is_last = len(keys) == self._unfinished()
        is_small = len(keys) <= policies.PROMPT_MERGE_SHARDS and rows <= policies.PROMPT_MERGE_ROWS
        if is_last and is_small and workflow.patched("prompt-merge"):
            return await promptly(
                ShardActivities.merge_shards,
                batch,
                summary=summary,
                task_queue=task_queues.SYNC,
                policy=policies.MERGE,
            )
        return await workflow.execute_activity_method(
            ShardActivities.merge_shards,
            batch,
            task_queue=task_queues.SYNC,
            summary=summary,
            **policies.MERGE,
        )
