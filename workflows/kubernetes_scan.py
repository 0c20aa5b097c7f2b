"""Scan a Kubernetes cluster: list what it holds, run the checks, then the tools; or list only."""

from __future__ import annotations

from typing import ClassVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.cluster_tools import ClusterToolActivities
    from activities.kubernetes_shards import KubernetesActivities
    from contracts.scans import ScanRequest, ScanSummary
    from runtime import policies, task_queues
    from workflows.cloud_scan import CloudScan, Inventory, planning_of
    from workflows.prompt import promptly
    from workflows.sharded_scan import Phase

KINDS = Inventory(
    KubernetesActivities.plan_kinds,
    Phase("Discovery", KubernetesActivities.list_kinds, task_queues.DISCOVERY),
)
TOOLS = Phase("Tools", ClusterToolActivities.run_cluster_tool, task_queues.NATIVE)


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

    async def scan(self, request: ScanRequest) -> None:
        await super().scan(request)
        if not workflow.patched("cluster-tools"):
            return
        plan = await workflow.execute_activity_method(
            ClusterToolActivities.plan_cluster_tools,
            request,
            task_queue=task_queues.NATIVE,  # there it is known which tools are installed
            summary="Plan which tools look at the cluster",
            **policies.RECORD,
        )
        self._total += len(plan.shards)
        # One after the other: each asks the API server for the whole cluster.
        await self._run_shards(TOOLS, plan.shards, in_flight=1)


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
