"""One list of assets: look at the approved networks, then join them with inventory and targets."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.asset_discovery import AssetDiscoveryActivities
    from contracts.scans import ScanRequest, ScanSummary
    from runtime import policies, task_queues
    from workflows.sharded_scan import Phase, ShardedScan


@workflow.defn
class HybridAssetDiscovery(ShardedScan):
    """A range that fails fails only itself: what answered there before is taken to be there."""

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)

    async def scan(self, request: ScanRequest) -> None:
        begun = await self._begin(request)
        plan = await workflow.execute_activity_method(
            AssetDiscoveryActivities.plan_ranges,
            request,
            task_queue=task_queues.NATIVE,
            summary="Plan which ranges are looked at",
            **policies.RECORD,
        )
        self._total = len(plan.shards)
        await self._run_shards(
            Phase("Network", AssetDiscoveryActivities.look_at_range, task_queues.NATIVE),
            plan.shards,
            in_flight=begun.shards_in_flight,
        )
        self._enter("Joining inventory, network and targets")
        await workflow.execute_activity_method(
            AssetDiscoveryActivities.join_assets,
            request,
            task_queue=task_queues.DISCOVERY,
            summary="Join inventory, network and targets into assets",
            **policies.MERGE,
        )
