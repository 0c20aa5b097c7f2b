"""Native tools that look at a cluster: planned where they are installed, run on the whole of it."""

from __future__ import annotations

import os
import socket
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from temporalio import activity

from activities.failures import as_application_error
from activities.native_scans import NativeScanActivities, Said
from activities.staged_shards import last_try
from contracts.errors import ScopeInvalid, TargetUnreachable
from contracts.native import NORMAL, POLICIES, Cluster, NativeTool, Node
from contracts.scans import PhasePlan, Problem, ScanOptions, ScanRequest, ShardReport, ShardTask
from contracts.vocabulary import TaskKind
from scanners.kubernetes import kubeconfig, kubernetes
from scanners.native import native_plan
from scanners.native.native_adapters import ADAPTERS
from scanners.native.native_tools import CLUSTER_TOOLS, OF_ITS_OWN_MACHINE
from scanners.processes.process import private_directory
from storage import accounts
from storage.scans import scan_state

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
        return await self._planned(request, self._plan_tools)

    async def _plan_tools(self, scan: scan_state.ScanRecord) -> list[scan_state.PlannedShard]:
        tools, notes = _wanted(scan.options)
        shards = [
            scan_state.PlannedShard(
                kind=TaskKind.NATIVE,
                key=f"{KEY}{tool}",
                title=f"{tool}: the cluster",
                batch=0,
                plan={"policy": NORMAL.name},
            )
            for tool in tools
        ]
        async with self._database.transaction() as session:
            await scan_state.write_plan(session, scan.id, shards, notes=notes)
        return shards

    @activity.defn
    async def run_cluster_tool(self, task: ShardTask) -> ShardReport:
        """Run a tool on the cluster with a kubeconfig of its own, and stage what it says.

        The kubeconfig holds the one context of the account. It is removed with its directory.
        """
        tool = NativeTool(task.key.removeprefix(KEY))
        shard, account, where = await self._start(task, tool)
        access = kubeconfig.read_access(account.credentials, account_uid=account.uid)
        policy = POLICIES[shard.plan["policy"]]
        if tool in OF_ITS_OWN_MACHINE:
            try:
                node = Node(await _own_node(access))
            except TargetUnreachable as error:
                raise as_application_error(error, final=last_try()) from None
            job = native_plan.Job(ADAPTERS[tool], node, policy)
            return await self._assess(task, where, [job], Said("node", account.provider))
        async with self._database.transaction() as session:  # the home of what is found in images
            await accounts.native_account(session, account.team_id, at=datetime.now(UTC))
        with private_directory() as directory:
            cluster = Cluster(access.cluster, kubeconfig.write_alone(access, directory))
            job = native_plan.Job(ADAPTERS[tool], cluster, policy)
            said = Said("cluster", account.provider)
            return await self._assess(task, where, [job], said, covers_account=True)


async def _own_node(access: kubeconfig.ClusterAccess) -> str:
    """The node of the cluster that this worker runs on; ScopeInvalid when it is none of it."""
    own = (os.environ.get("NODE_NAME") or socket.gethostname()).lower()
    kinds = [kind for group in kubernetes.GROUPS.values() for kind in group if kind.type == "node"]
    problem: Problem | None = None
    async with aclosing(kubernetes.read_kinds(access, kinds)) as messages:
        async for message in messages:
            if isinstance(message, kubernetes.KindRead):
                problem = message.problem
            elif any(node.name == own for node in message):
                return own
    why = f" Its nodes could not be listed: {problem.message}" if problem else ""
    raise ScopeInvalid(
        f"This worker runs on {own}, which is no node of the cluster {access.cluster}.{why}",
        field="tools",
        fix="Let a worker of the queue `native` run on a node, with NODE_NAME as the cluster calls "
        "it where that is not the name of the host; or leave the tool out.",
    )


def _wanted(options: ScanOptions) -> tuple[list[NativeTool], list[str]]:
    """The tools of a scan, and notes about those that would look at the cluster were they here."""
    if options.tools is not None:
        return [tool for tool in CLUSTER_TOOLS if tool in options.tools], []
    if options.services or options.checks or options.frameworks:
        return [], []  # it is limited to checks of Prowler's
    usual = [tool for tool in CLUSTER_TOOLS if tool not in OF_ITS_OWN_MACHINE]
    here = {tool: native_plan.is_installed(tool) for tool in usual}
    missing = [tool for tool, is_here in here.items() if not is_here]
    return (
        [tool for tool, is_here in here.items() if is_here],
        [NOT_INSTALLED.format(tool=tool) for tool in missing],
    )
