"""Scan one cloud account: begin, discover, assess in staggered shards, merge, close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, NamedTuple

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.scan_lifecycle import ScanLifecycleActivities
    from activities.shards import ShardActivities
    from contracts.scans import PhasePlan, ScanBegun, ScanPlanning, ScanRequest, ScanSummary
    from runtime import policies, task_queues
    from workflows.prompt import promptly
    from workflows.sharded_scan import Phase, ShardedScan

PLANNING_FIRST = Priority(priority_key=1)
"""Planning takes a second on a queue where shards take minutes: it goes ahead of them."""


class Inventory(NamedTuple):
    """How an inventory is planned, and read shard by shard."""

    plan: Callable[[Any, ScanPlanning], Awaitable[PhasePlan]]
    phase: Phase


@workflow.defn
class CloudScan(ShardedScan):
    """Inventory first, then the checks; a failing shard fails only itself."""

    inventory: ClassVar = Inventory(
        ScanLifecycleActivities.plan_discovery,
        Phase("Discovery", ShardActivities.discover_shard, task_queues.DISCOVERY),
    )

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)

    async def scan(self, request: ScanRequest) -> None:
        begun = await self._begin(request)
        planning = planning_of(request, begun)
        discovery, compliance = await asyncio.gather(
            promptly(self.inventory.plan, planning, summary="Plan the inventory"),
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
        await self._discover(discovery)
        await self._run_shards(
            Phase("Compliance", ShardActivities.assess_shard, task_queues.COMPLIANCE),
            compliance.shards,
            in_flight=begun.shards_in_flight,
            stagger_seconds=begun.stagger_seconds,
        )

    async def _discover(self, plan: PhasePlan) -> None:
        await self._run_shards(
            self.inventory.phase, plan.shards, in_flight=policies.DISCOVERY_IN_FLIGHT
        )


def planning_of(request: ScanRequest, begun: ScanBegun) -> ScanPlanning:
    """What planning a phase of the scan that has begun needs to know."""
    return ScanPlanning(
        scan_id=request.scan_id, regions=begun.regions, home_region=begun.home_region
    )
