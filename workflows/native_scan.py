"""Scan targets from outside or inside: each tool on each target is a shard; merge, close."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.native_scans import NativeScanActivities
    from contracts.scans import ScanRequest, ScanSummary
    from runtime import policies, task_queues
    from workflows.sharded_scan import Phase, ShardedScan


@workflow.defn
class NativeScan(ShardedScan):
    """A tool that fails, or a target that may not be scanned, fails only its own shards."""

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)

    async def scan(self, request: ScanRequest) -> None:
        begun = await self._begin(request)
        plan = await workflow.execute_activity_method(
            NativeScanActivities.plan_native,
            request,
            task_queue=task_queues.NATIVE,  # there it is known which tools are installed
            summary="Plan which tool looks at which target",
            **policies.RECORD,
        )
        self._total = len(plan.shards)
        await self._run_shards(
            Phase("Tools", NativeScanActivities.run_tool, task_queues.NATIVE),
            plan.shards,
            in_flight=begun.shards_in_flight,
        )
