"""Scan one cloud account: begin, discover, assess in staggered shards, merge, close."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.scan_lifecycle import ScanLifecycleActivities
    from activities.shards import ShardActivities
    from contracts.scans import ScanPlanning, ScanRequest, ScanSummary
    from runtime import policies, task_queues
    from workflows.prompt import promptly
    from workflows.sharded_scan import Phase, ShardedScan

PLANNING_FIRST = Priority(priority_key=1)
"""Planning takes a second on a queue where shards take minutes: it goes ahead of them."""


@workflow.defn
class CloudScan(ShardedScan):
    """Inventory first, then the checks; a failing shard fails only itself."""

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)

    async def scan(self, request: ScanRequest) -> None:
        begun = await self._begin(request)
        planning = ScanPlanning(
            scan_id=self._scan_id, regions=begun.regions, home_region=begun.home_region
        )
        discovery, compliance = await asyncio.gather(
            promptly(
                ScanLifecycleActivities.plan_discovery, planning, summary="Plan the inventory"
            ),
            workflow.execute_activity_method(
                ScanLifecycleActivities.plan_compliance,
                planning,
                task_queue=task_queues.COMPLIANCE,
                summary="Plan the compliance shards",
                priority=PLANNING_FIRST,
                **policies.RECORD,
            ),
        )
        self._total = len(discovery.shards) + len(compliance.shards)
        await self._run_shards(
            Phase("Discovery", ShardActivities.discover_shard, task_queues.DISCOVERY),
            discovery.shards,
            in_flight=policies.DISCOVERY_IN_FLIGHT,
        )
        await self._run_shards(
            Phase("Compliance", ShardActivities.assess_shard, task_queues.COMPLIANCE),
            compliance.shards,
            in_flight=begun.shards_in_flight,
            stagger_seconds=begun.stagger_seconds,
        )
