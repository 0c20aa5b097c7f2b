"""Scan a Kubernetes cluster: list what it holds, then run the checks; or list only."""

from __future__ import annotations

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.kubernetes_shards import KubernetesActivities
    from contracts.scans import ScanRequest, ScanSummary
    from runtime import task_queues
    from workflows.cloud_scan import CloudScan, Inventory, planning_of
    from workflows.prompt import promptly
    from workflows.sharded_scan import Phase

KINDS = Inventory(
    KubernetesActivities.plan_kinds,
    Phase("Discovery", KubernetesActivities.list_kinds, task_queues.DISCOVERY),
)


@workflow.defn
class KubernetesScan(CloudScan):
    """As a cloud scan, with the inventory from the cluster's own API server."""

    inventory: ClassVar = KINDS

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)


@workflow.defn
class KubernetesDiscovery(CloudScan):
    """The inventory alone: needs neither Prowler nor a worker of its queue."""

    inventory: ClassVar = KINDS

    @workflow.init
    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: ScanRequest) -> ScanSummary:
        return await self.recorded(request)

    async def scan(self, request: ScanRequest) -> None:
        begun = await self._begin(request)
        plan = await promptly(
            self.inventory.plan, planning_of(request, begun), summary="Plan the inventory"
        )
        self._total = len(plan.shards)
        await self._discover(plan)
