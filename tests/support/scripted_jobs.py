"""The steps of imports and jobs under their real names, answering what a recording needs.

Nothing is done here. What does it is tested with real servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from activities.sync_starts import sync_workflow_id
from contracts.jobs import NoParams
from contracts.retention import (
    RetentionDone,
    RetentionPage,
    RetentionRequest,
    RetentionStep,
    RetentionTeams,
)
from contracts.runs import (
    JobSummary,
    RunAdmission,
    RunAsked,
    RunClosed,
    RunDisplacement,
    RunEnd,
    RunInTheWay,
    RunPlan,
    RunRequest,
    SweepBatch,
    SweepDone,
    SweepRequest,
)
from contracts.scans import (
    MergeReport,
    ScanBegun,
    ScanCounts,
    ScanEnd,
    ScanRequest,
    ScanSummary,
    ShardBatch,
)
from contracts.sla import (
    DueDatesDone,
    DueDatesPlace,
    DueDatesRequest,
    DueDatesStep,
    SlaCheckRequest,
    SlaDone,
    SlaStep,
)
from contracts.vocabulary import RunOutcome, ScanStatus
from contracts.vulnerabilities import (
    AccountSync,
    NewSync,
    SyncAllRequest,
    SyncCounts,
    SyncPlan,
    SyncPlanning,
    SyncRequest,
    TeamsPlan,
    TeamsPlanning,
)
from runtime import policies, task_queues
from runtime.settings import Settings
from tests.support.waiting import until
from worker import Registration, build_workers, running
from workflows.data_sync_watchdog import DataSyncWatchdog
from workflows.due_dates import DueDates
from workflows.expiry_sweep import ExpirySweep
from workflows.import_merge import ImportMerge
from workflows.job_run import JobRun
from workflows.retention_cycle import RetentionCycle
from workflows.sla_check import SlaCheck
from workflows.vulnerability_sync import VulnerabilitySync
from workflows.vulnerability_sync_all import VulnerabilitySyncAll

WORKFLOWS = (ImportMerge, VulnerabilitySync, VulnerabilitySyncAll, SlaCheck, DueDates,
             ExpirySweep, DataSyncWatchdog, JobRun, RetentionCycle)  # fmt: skip

Handle = WorkflowHandle[Any, Any]


class ScriptedJobs:
    """Answers in order; the last one of a list is given again and again."""

    def __init__(self) -> None:
        self.busy = ["Another scan of this account is running."]
        self.teams = [uuid4(), uuid4(), uuid4()]
        self.accounts = [uuid4(), uuid4(), uuid4()]
        self.started = [policies.SWEEP_BATCH, 3]
        self.noticed = [policies.SLA_BATCH, 0]
        self.admissions: list[RunAdmission] = []
        self.said: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    @activity.defn
    async def take_account(self, request: ScanRequest) -> ScanBegun:
        self.said.append("take account")
        return ScanBegun(waits_for=self.busy.pop() if self.busy else None, account_name="scripted")

    @activity.defn
    async def merge_shards(self, batch: ShardBatch) -> MergeReport:
        return MergeReport()

    @activity.defn
    async def end_scan(self, end: ScanEnd) -> ScanSummary:
        return ScanSummary(
            status=end.outcome or ScanStatus.COMPLETED, counts=ScanCounts(), next_scan_id=uuid4()
        )

    @activity.defn
    async def plan_teams(self, planning: TeamsPlanning) -> TeamsPlan:
        return TeamsPlan(teams=self.teams)

    @activity.defn
    async def plan_accounts(self, planning: SyncPlanning) -> SyncPlan:
        return SyncPlan(accounts=self.accounts)

    @activity.defn
    async def sync_account(self, request: AccountSync) -> SyncCounts:
        self.said.append("sync account")
        while not self.go_on.is_set():
            activity.heartbeat()
            await asyncio.sleep(0.05)
        if request.account_id == self.accounts[-1]:
            raise ApplicationError("This account is broken.", non_retryable=True)
        return SyncCounts(created=1)

    @activity.defn
    async def check_sla(self, step: SlaStep) -> SlaDone:
        return SlaDone(counts={"breached": self.noticed.pop(0)})

    @activity.defn
    async def redate(self, step: DueDatesStep) -> DueDatesDone:
        place = None if step.after else DueDatesPlace(team_id=self.teams[0])
        return DueDatesDone(changed=2, after=place)

    @activity.defn
    async def start_due_items(self, batch: SweepBatch) -> SweepDone:
        return SweepDone(started=self.started.pop(0))

    @activity.defn
    async def list_teams(self, page: RetentionPage) -> RetentionTeams:
        return RetentionTeams(team_ids=self.teams if page.after is None else [])

    @activity.defn
    async def delete_old(self, step: RetentionStep) -> RetentionDone:
        deleted = {} if step.team_id == self.teams[0] else {"events": 3, "scans": 1}
        return RetentionDone(team="scripted", counts=deleted)

    @activity.defn
    async def admit_run(self, asked: RunAsked) -> RunAdmission:
        self.said.append("admit")
        return self.admissions.pop(0)

    @activity.defn
    async def displace_runs(self, displacement: RunDisplacement) -> None:
        self.said.append("displace")

    @activity.defn
    async def close_run(self, end: RunEnd) -> RunClosed:
        return RunClosed(outcome=end.outcome, next_workflow_id=f"run/{uuid4()}")

    async def watched(self) -> JobSummary:
        """What a step of the watchdog did."""
        return JobSummary(counts={"scan_lost": 1}, notes=["Given up until tomorrow."])


WATCHES = ("watch_scans", "watch_queues", "watch_store", "watch_totals", "watch_reconciler")


def _watch(script: ScriptedJobs, name: str) -> Callable[..., Any]:
    @activity.defn(name=name)
    async def watch() -> JobSummary:
        return await script.watched()

    return watch


@asynccontextmanager
async def working(client: Client, script: ScriptedJobs) -> AsyncIterator[None]:
    """Workers with the product's own options that follow the script."""
    table = {
        task_queues.SCANS: Registration(
            [JobRun], [script.admit_run, script.displace_runs, script.close_run]
        ),
        task_queues.SYNC: Registration(
            [ImportMerge, VulnerabilitySync, VulnerabilitySyncAll],
            [script.take_account, script.merge_shards, script.end_scan, script.plan_teams,
             script.plan_accounts, script.sync_account],
        ),
        task_queues.MAINTENANCE: Registration(
            [SlaCheck, DueDates, ExpirySweep, DataSyncWatchdog, RetentionCycle],
            [script.check_sla, script.redate, script.start_due_items, script.list_teams,
             script.delete_old,
             *(_watch(script, name) for name in WATCHES)],
        ),
    }  # fmt: skip
    async with running(build_workers(client, table, Settings(), tuple(table))):
        yield


async def import_merge(client: Client, script: ScriptedJobs) -> Handle:
    """It waits for its account, is woken, merges, and wakes a scan that does not run."""
    scan = ScanRequest(scan_id=uuid4())
    handle = await _start(client, ImportMerge, scan, f"scan/{scan.scan_id}", task_queues.SYNC)
    await until(lambda: not script.busy)
    await handle.signal("account_free")
    return handle


async def vulnerability_sync(client: Client, script: ScriptedJobs) -> Handle:
    """Three accounts, one of which fails; asked to look again, it does."""
    script.go_on.clear()
    handle = await _start_sync(client, script.teams[0])
    await until(lambda: "sync account" in script.said)
    await handle.signal("look_again", NewSync(full=True))
    script.go_on.set()
    return handle


async def vulnerability_sync_all(client: Client, script: ScriptedJobs) -> Handle:
    """Three teams, the sync of one of which runs already."""
    script.go_on.clear()
    running = await _start_sync(client, script.teams[0])
    await until(lambda: "sync account" in script.said)
    handle = await _start(
        client, VulnerabilitySyncAll, SyncAllRequest(), f"job/{uuid4()}", task_queues.SYNC
    )

    async def has_joined() -> bool:
        return any(
            event.HasField("workflow_execution_signaled_event_attributes")
            for event in (await running.fetch_history()).events
        )

    await until(has_joined)
    script.go_on.set()
    return handle


async def sla_check(client: Client, script: ScriptedJobs) -> Handle:
    """Two steps."""
    job = SlaCheckRequest()
    return await _start(client, SlaCheck, job, f"job/{uuid4()}", task_queues.MAINTENANCE)


async def due_dates(client: Client, script: ScriptedJobs) -> Handle:
    """Two steps."""
    job = DueDatesRequest()
    return await _start(client, DueDates, job, f"job/{uuid4()}", task_queues.MAINTENANCE)


async def expiry_sweep(client: Client, script: ScriptedJobs) -> Handle:
    """Two steps."""
    job = SweepRequest()
    return await _start(client, ExpirySweep, job, f"job/{uuid4()}", task_queues.MAINTENANCE)


async def data_sync_watchdog(client: Client, script: ScriptedJobs) -> Handle:
    """One cycle."""
    job = NoParams()
    return await _start(client, DataSyncWatchdog, job, f"job/{uuid4()}", task_queues.MAINTENANCE)


async def retention_cycle(client: Client, script: ScriptedJobs) -> Handle:
    """Three teams, one of which has nothing to delete."""
    job = RetentionRequest()
    return await _start(client, RetentionCycle, job, f"job/{uuid4()}", task_queues.MAINTENANCE)


async def job_run(client: Client, script: ScriptedJobs) -> Handle:
    """It waits for its turn, displaces another, does its work, and wakes one that does not run."""
    waits = RunAdmission(outcome=RunOutcome.QUEUED, words="Another run has not ended.")
    script.admissions = [
        waits,
        waits.model_copy(update={"in_the_way": [RunInTheWay(workflow_id=f"run/{uuid4()}")]}),
        _admitted(ExpirySweep.__name__, inline=False),
    ]
    handle = await _start_run(client)
    await until(lambda: "admit" in script.said)
    await handle.signal("your_turn")
    return handle


async def job_run_inline(client: Client, script: ScriptedJobs) -> Handle:
    """It does its work itself."""
    where = f"{DataSyncWatchdog.__module__}:{DataSyncWatchdog.__name__}"
    script.admissions = [_admitted(where, inline=True)]
    return await _start_run(client)


def _admitted(workflow: str, *, inline: bool) -> RunAdmission:
    plan = RunPlan(
        workflow=workflow,
        workflow_id=f"job/{uuid4()}",
        task_queue=task_queues.MAINTENANCE,
        argument={},
        timeout_seconds=3600,
        summary="A job",
        inline=inline,
    )
    return RunAdmission(outcome=RunOutcome.RUNNING, plan=plan)


async def _start_run(client: Client) -> Handle:
    run_id = uuid4()
    request = RunRequest(run_id=run_id, team_id=uuid4(), job="recorded")
    return await _start(client, JobRun, request, f"run/{run_id}", task_queues.SCANS)


RECORDINGS = {
    each.__name__: each
    for each in (
        import_merge,
        vulnerability_sync,
        vulnerability_sync_all,
        sla_check,
        due_dates,
        expiry_sweep,
        data_sync_watchdog,
        retention_cycle,
        job_run,
        job_run_inline,
    )
}
"""What is recorded of each, by the name of its history."""


async def _start(
    client: Client, workflow: type, request: Any, workflow_id: str, queue: str
) -> Handle:
    return await client.start_workflow(workflow.__name__, request, id=workflow_id, task_queue=queue)


async def _start_sync(client: Client, team_id: UUID) -> Handle:
    request = SyncRequest(team_id=team_id)
    return await _start(
        client, VulnerabilitySync, request, sync_workflow_id(team_id), task_queues.SYNC
    )
