"""The steps of a scan under their real names, doing what a test says: for the order of things.

Nothing is scanned or stored here. What scans and stores is tested with real scanners and servers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from temporalio import activity
from temporalio.client import Client

from activities.failures import safe_words
from contracts.assets import AssetCounts
from contracts.cascades import CascadesStarted
from contracts.errors import CloudsweepError, PermanentError
from contracts.scans import (
    MergeReport,
    PhasePlan,
    ScanBegun,
    ScanCounts,
    ScanEnd,
    ScanPaused,
    ScanPlanning,
    ScanRequest,
    ScanSummary,
    Shard,
    ShardBatch,
    ShardFailed,
    ShardReport,
    ShardTask,
)
from contracts.vocabulary import ScanStatus, TaskKind
from runtime import task_queues
from runtime.settings import Settings
from worker import Registration, build_workers, running
from workflows.cloud_scan import CloudScan
from workflows.hybrid_discovery import HybridAssetDiscovery
from workflows.kubernetes_scan import KubernetesDiscovery, KubernetesScan
from workflows.native_scan import NativeScan


class ScriptedScan:
    """One scan's script; `said` holds in order what the workflow asked for."""

    def __init__(self, discovery: int = 1, compliance: int = 3, *, in_flight: int = 2) -> None:
        self.discovery = discovery
        self.compliance = compliance
        self.in_flight = in_flight
        self.busy: list[str] = []
        self.fails: dict[str, list[CloudsweepError]] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.next_scan: UUID | None = None
        self.may_cascade = False
        self.said: list[str] = []
        self.running: set[str] = set()
        self.most_running = 0
        self.merges: list[list[str]] = []
        self.ends: list[ScanEnd] = []
        self.failed: list[ShardFailed] = []

    def count(self) -> Counter[str]:
        """How often each step was asked for."""
        return Counter(self.said)

    async def _do(self, step: str) -> None:
        self.said.append(step)
        if self.fails.get(step):
            raise self.fails[step].pop(0)
        if step in self.held:
            while not self.held[step].is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)

    @activity.defn
    async def begin_scan(self, request: ScanRequest) -> ScanBegun:
        await self._do("begin")
        if self.busy:
            return ScanBegun(waits_for=self.busy.pop(0))
        return ScanBegun(
            account_name="scripted", regions=["eu-west-1"], shards_in_flight=self.in_flight
        )

    @activity.defn
    async def plan_discovery(self, planning: ScanPlanning) -> PhasePlan:
        await self._do("plan discovery")
        return _plan(TaskKind.DISCOVERY, self.discovery)

    @activity.defn
    async def plan_kinds(self, planning: ScanPlanning) -> PhasePlan:
        return await self.plan_discovery(planning)

    @activity.defn
    async def plan_compliance(self, planning: ScanPlanning) -> PhasePlan:
        await self._do("plan compliance")
        return _plan(TaskKind.COMPLIANCE, self.compliance)

    @activity.defn
    async def plan_native(self, request: ScanRequest) -> PhasePlan:
        await self._do("plan native")
        return _plan(TaskKind.NATIVE, self.compliance)

    @activity.defn
    async def plan_ranges(self, request: ScanRequest) -> PhasePlan:
        await self._do("plan ranges")
        return _plan(TaskKind.NATIVE, self.compliance)

    @activity.defn
    async def plan_cluster_tools(self, request: ScanRequest) -> PhasePlan:
        await self._do("plan tools")
        return _plan(TaskKind.NATIVE, 1)

    async def _run(self, task: ShardTask) -> ShardReport:
        self.running.add(task.key)
        self.most_running = max(self.most_running, len(self.running))
        try:
            await self._do(f"run {task.key}")
        finally:
            self.running.discard(task.key)
        return ShardReport(key=task.key, rows=0, planned=1, run=1, not_assessed=0)

    @activity.defn
    async def discover_shard(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def list_kinds(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def assess_shard(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def run_tool(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def look_at_range(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def join_assets(self, request: ScanRequest) -> AssetCounts:
        await self._do("join")
        return AssetCounts(new=3)

    @activity.defn
    async def run_cluster_tool(self, task: ShardTask) -> ShardReport:
        return await self._run(task)

    @activity.defn
    async def merge_shards(self, batch: ShardBatch) -> MergeReport:
        failed = []
        self.merges.append(batch.keys)
        for key in batch.keys:
            try:
                await self._do(f"merge {key}")
            except PermanentError as error:
                words = safe_words(error)
                failed.append(ShardFailed(scan_id=batch.scan_id, key=key, error=words))
        return MergeReport(failed=failed)

    @activity.defn
    async def record_failed_shard(self, failed: ShardFailed) -> None:
        self.failed.append(failed)
        await self._do(f"failed {failed.key}")

    @activity.defn
    async def record_paused(self, paused: ScanPaused) -> None:
        await self._do("paused" if paused.paused else "goes on")

    @activity.defn
    async def end_scan(self, end: ScanEnd) -> ScanSummary:
        await self._do("end")
        self.ends.append(end)
        return ScanSummary(
            status=end.outcome or ScanStatus.COMPLETED,
            counts=ScanCounts(),
            next_scan_id=self.next_scan,
            may_cascade=self.may_cascade,
        )

    @activity.defn
    async def start_cascades(self, request: ScanRequest) -> CascadesStarted:
        await self._do("cascades")
        return CascadesStarted()


@asynccontextmanager
async def working(
    client: Client, script: ScriptedScan, *, slots: int | None = None
) -> AsyncIterator[None]:
    """Workers with the product's own options that follow the script."""
    table = {
        task_queues.SCANS: Registration(
            [CloudScan, KubernetesScan, KubernetesDiscovery, NativeScan, HybridAssetDiscovery],
            [
                script.begin_scan,
                script.plan_discovery,
                script.plan_kinds,
                script.record_failed_shard,
                script.record_paused,
                script.merge_shards,
                script.end_scan,
                script.start_cascades,
            ],
        ),
        task_queues.DISCOVERY: Registration(
            [], [script.discover_shard, script.list_kinds, script.join_assets]
        ),
        task_queues.COMPLIANCE: Registration([], [script.plan_compliance, script.assess_shard]),
        task_queues.NATIVE: Registration(
            [],
            [
                script.plan_native,
                script.run_tool,
                script.plan_cluster_tools,
                script.run_cluster_tool,
                script.plan_ranges,
                script.look_at_range,
            ],
        ),
        task_queues.SYNC: Registration([], [script.merge_shards]),
    }
    settings = Settings(compliance_slots=8)
    async with running(build_workers(client, table, settings, tuple(table), slots)):
        yield


def _plan(kind: TaskKind, count: int) -> PhasePlan:
    return PhasePlan(
        shards=[
            Shard(kind=kind, key=f"{kind}/{number}", title=f"{kind.capitalize()} {number}")
            for number in range(count)
        ]
    )
