"""Merge the findings of an imported file, which are staged: take the account, merge, record."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.scan_lifecycle import ScanLifecycleActivities
    from activities.shards import ShardActivities
    from contracts.scans import ScanEnd, ScanError, ScanRequest, ScanSummary, ShardBatch
    from contracts.vocabulary import ScanStatus
    from runtime import policies, task_queues
    from workflows.account_turn import AccountTurn, wake_next
    from workflows.failures import scan_error
    from workflows.prompt import promptly, to_the_end

KEYS = ["import"]
STAGING_LOST = "staging_lost"
LOST = ScanError(
    code=STAGING_LOST,
    message="What was read of the file is gone, as after a crash of PostgreSQL.",
    fix="Import the file again.",
)


@workflow.defn
class ImportMerge:
    """The same merge as that of a scan, in its turn among the scans of the account."""

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        self._turn = AccountTurn()

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        try:
            error = await self._merge(request)
        except (FailureError, asyncio.CancelledError) as failure:  # never a bug or an eviction
            cancelled = is_cancelled_exception(failure)
            await self._end(
                ScanEnd(
                    scan_id=request.scan_id,
                    outcome=ScanStatus.CANCELLED if cancelled else ScanStatus.FAILED,
                    error=None if cancelled else scan_error(failure),
                )
            )
            raise
        outcome = None if error is None else ScanStatus.FAILED
        return await self._end(ScanEnd(scan_id=request.scan_id, outcome=outcome, error=error))

    async def _merge(self, request: ScanRequest) -> ScanError | None:
        await self._take_account(request)
        workflow.set_current_details("Merging")
        report = await workflow.execute_activity_method(
            ShardActivities.merge_shards,
            ShardBatch(scan_id=request.scan_id, keys=KEYS),
            task_queue=task_queues.SYNC,
            summary="Merge what was read",
            **policies.MERGE,
        )
        for failed in report.failed:
            return LOST if failed.error.code == STAGING_LOST else failed.error
        return None

    async def _take_account(self, request: ScanRequest) -> None:
        """While another scan has the account, wait to be woken and look again."""
        while True:
            begun = await promptly(
                ScanLifecycleActivities.take_account, request, summary="Take the account"
            )
            if begun.waits_for is None:
                return
            workflow.set_current_details(begun.waits_for)
            await self._turn.wait(request)

    async def _end(self, end: ScanEnd) -> ScanSummary:
        """Record the end, then wake the scan that waits for this account, also when cancelled."""
        return await to_the_end(self._record_end(end))

    async def _record_end(self, end: ScanEnd) -> ScanSummary:
        summary = await promptly(
            ScanLifecycleActivities.end_scan, end, summary="Record how the import ended"
        )
        workflow.set_current_details(f"Ended: {summary.status}")
        await wake_next(summary)
        return summary

    @workflow.signal
    def account_free(self) -> None:
        """The scan that had this account has ended."""
        self._turn.come()
