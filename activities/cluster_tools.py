"""Native tools that look at a cluster: planned where they are installed, run on the whole of it."""

from __future__ import annotations

from typing import Final

from temporalio import activity

from activities.native_scans import NativeScanActivities, Said
from activities.staged_shards import phase_plan
from contracts.native import NORMAL, POLICIES, Cluster, NativeTool
from contracts.scans import PhasePlan, ScanOptions, ScanRequest, ShardReport, ShardTask
from contracts.vocabulary import TaskKind
from scanners import kubeconfig, native_plan
from scanners.native_adapters import ADAPTERS
from scanners.native_tools import CLUSTER_TOOLS
from scanners.process import private_directory
from storage import scan_state

KEY: Final = "tools/"
NOT_INSTALLED: Final = (
    "{tool} did not look at the cluster: it is not installed on the workers of the queue `native`. "
    "`cloudsweep scanners list` there tells how to have it."
)


class ClusterToolActivities(NativeScanActivities):
    """As native scans, with the account's own cluster as the one target."""

    @activity.defn
    async def plan_cluster_tools(self, request: ScanRequest) -> PhasePlan:
        """One shard for each tool that was asked for, or that is installed; else a note."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, request.scan_id)
            undone = await scan_state.undone_shards(session, scan.id, kind=TaskKind.NATIVE)
            if undone is None:
                tools, notes = _wanted(scan.options)
                undone = [
                    scan_state.PlannedShard(
                        kind=TaskKind.NATIVE,
                        key=f"{KEY}{tool}",
                        title=f"{tool}: the cluster",
                        batch=0,
                        plan={"policy": NORMAL.name},
                    )
                    for tool in tools
                ]
                await scan_state.write_plan(session, scan.id, undone, notes=notes)
        return phase_plan(undone)

    @activity.defn
    async def run_cluster_tool(self, task: ShardTask) -> ShardReport:
        """Run a tool on the cluster with a kubeconfig of its own, and stage what it says.

        The kubeconfig holds the one context of the account. It is removed with its directory.
        """
        tool = NativeTool(task.key.removeprefix(KEY))
        shard, account, where = await self._start(task, tool)
        access = kubeconfig.read_access(account.credentials, account_uid=account.uid)
        with private_directory() as directory:
            cluster = Cluster(access.cluster, kubeconfig.write_alone(access, directory))
            job = native_plan.Job(ADAPTERS[tool], cluster, POLICIES[shard.plan["policy"]])
            said = Said("cluster", account.provider)
            return await self._assess(task, where, [job], said, covers_account=True)


def _wanted(options: ScanOptions) -> tuple[list[NativeTool], list[str]]:
    """The tools of a scan, and notes about those that would look at the cluster were they here."""
    if options.tools is not None:
        return [tool for tool in CLUSTER_TOOLS if tool in options.tools], []
    if options.services or options.checks or options.frameworks:
        return [], []  # it is limited to checks of Prowler's
    here = {tool: native_plan.is_installed(tool) for tool in CLUSTER_TOOLS}
    missing = [tool for tool, is_here in here.items() if not is_here]
    return (
        [tool for tool, is_here in here.items() if is_here],
        [NOT_INSTALLED.format(tool=tool) for tool in missing],
    )
