"""The inventory of a Kubernetes cluster: planned in groups of kinds, each read in one shard."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from temporalio import activity

from activities.failures import as_application_error
from activities.progress import ShardProgress
from activities.staged_shards import StagedShards, last_try, phase_plan
from contracts.errors import TargetUnreachable
from contracts.observations import CoveredCheck
from contracts.scans import Coverage, PhasePlan, Problem, ScanPlanning, ShardReport, ShardTask
from contracts.vocabulary import TaskKind
from scanners.kubernetes import kubernetes
from storage import accounts
from storage.merge import staging
from storage.scans import scan_state

KUBERNETES: Final = "kubernetes"


class KubernetesActivities(StagedShards):
    """Idempotent: a retry first deletes the rows that an earlier attempt staged."""

    @activity.defn
    async def plan_kinds(self, planning: ScanPlanning) -> PhasePlan:
        """One shard per group of kinds; notes what the kubeconfig leaves unchecked."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, planning.scan_id)
            if not scan.options.discovery:
                return PhasePlan()
            undone = await scan_state.undone_shards(session, scan.id, kind=TaskKind.DISCOVERY)
            if undone is None:
                account = await accounts.load_account(session, scan.account_id)
                access = kubernetes.read_access(account.credentials, account_uid=account.uid)
                undone = [
                    scan_state.PlannedShard(
                        kind=TaskKind.DISCOVERY,
                        key=f"discovery/{group}",
                        title=f"Inventory: {group} ({len(kinds)} kinds)",
                        batch=0,
                        plan={"group": group},
                    )
                    for group, kinds in kubernetes.GROUPS.items()
                ]
                await scan_state.write_plan(session, scan.id, undone, notes=access.notes)
        return phase_plan(undone)

    @activity.defn
    async def list_kinds(self, task: ShardTask) -> ShardReport:
        """List one group of kinds and stage the resources they hold.

        What was listed to its end is covered: of those kinds, what is not there any more is gone.
        """
        shard, account, target = await self._start(task, KUBERNETES)
        kinds = kubernetes.GROUPS[shard.plan["group"]]
        access = kubernetes.read_access(account.credentials, account_uid=account.uid)
        problems: list[Problem] = []
        covered: list[CoveredCheck] = []
        try:
            async with (
                ShardProgress(self._database, task, total=len(kinds)) as progress,
                aclosing(kubernetes.read_kinds(access, kinds)) as messages,
            ):
                async for message in messages:
                    if not isinstance(message, kubernetes.KindRead):
                        progress.rows += await self._stage(target, message)
                        continue
                    progress.done += 1
                    await progress.write()
                    if message.problem is None:
                        covered.append(CoveredCheck(message.kind.type, ""))
                    else:
                        problems.append(message.problem)
        except TargetUnreachable as error:
            raise as_application_error(error, final=last_try()) from None
        coverage = Coverage(
            planned=len(kinds),
            run=len(covered),
            not_assessed=len(kinds) - len(covered),
            problems=problems,
        )
        self._retry_if_cut_off(coverage)
        async with self._database.copying() as connection:
            staged = await staging.stage_coverage(connection, target, covered)
        return await self._report(target, coverage, progress.rows, staged)
