"""A worker for the routes' tests: the real workflows, storage and engine; only the cloud and the
scanner are scripted, since no route may depend on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.failures import SafeFailures
from activities.scan_lifecycle import ScanLifecycleActivities
from activities.shards import ShardActivities
from contracts.accounts import Account, AccountCheck, AccountRef, CloudIdentity
from contracts.errors import CredentialsRejected
from contracts.scans import (
    Coverage,
    PhasePlan,
    ScanPlanning,
    Shard,
    ShardReport,
    ShardTask,
)
from contracts.vocabulary import TaskKind
from runtime import policies, task_queues
from runtime.settings import Settings
from storage import scan_state
from storage.database import Database
from worker import PASSED_THROUGH
from workflows.account_check import AccountCheck as AccountCheckWorkflow
from workflows.cloud_scan import CloudScan

HEARTBEAT_SECONDS = 0.05


@dataclass
class Script:
    """What the scripted cloud and scanner do; tests change it while scans run."""

    shards: int = 2
    credentials_are_accepted: bool = True
    check_may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Shards end once this is set."""

    def __post_init__(self) -> None:
        self.check_may_answer.set()


class ScriptedLifecycle(ScanLifecycleActivities):
    """Begins and ends scans for real; knows who we are without asking a cloud."""

    def __init__(
        self, database: Database, settings: Settings, client: Client, script: Script
    ) -> None:
        super().__init__(database, settings, client)
        self._script = script

    async def _learn_identity(self, account: Account) -> CloudIdentity:
        if not self._script.credentials_are_accepted:
            raise CredentialsRejected("The role may not be assumed.", fix="Mend its trust policy.")
        return CloudIdentity(
            account_uid="123456789012", principal="arn:aws:iam::123456789012:role/audit",
            regions=["eu-west-1", "us-east-1"],
        )  # fmt: skip

    @activity.defn(name="check_account")
    async def scripted_check(self, request: AccountRef) -> AccountCheck:
        """As the real one, or silent."""
        await self._script.check_may_answer.wait()
        return await ScanLifecycleActivities.check_account(self, request)

    @activity.defn(name="plan_compliance")
    async def scripted_plan(self, planning: ScanPlanning) -> PhasePlan:
        """As many shards as the script says."""
        async with self._database.transaction() as session:
            undone = await scan_state.undone_shards(
                session, planning.scan_id, kind=TaskKind.COMPLIANCE
            )
            if undone is None:
                undone = [
                    scan_state.PlannedShard(
                        kind=TaskKind.COMPLIANCE,
                        key=f"compliance/{number}",
                        title=f"Shard {number}",
                        batch=0,
                        plan={},
                    )
                    for number in range(self._script.shards)
                ]
                await scan_state.write_plan(session, planning.scan_id, undone, notes=[])
        shards = [
            Shard(kind=each.kind, key=each.key, title=each.title, batch=each.batch)
            for each in undone
        ]
        return PhasePlan(shards=shards)


class ScriptedShards(ShardActivities):
    """Shards that run until the script lets them end, and find nothing."""

    def __init__(self, database: Database, settings: Settings, script: Script) -> None:
        super().__init__(database, settings)
        self._script = script

    @activity.defn(name="assess_shard")
    async def scripted_assess(self, task: ShardTask) -> ShardReport:
        """Wait for the script, hearing of a cancel through heartbeats."""
        await self._start(task, "prowler")
        while not self._script.go_on.is_set():
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)
        return await self._report(task, Coverage(planned=1, run=1), 0, 0)


@asynccontextmanager
async def serving(
    client: Client, database: Database, settings: Settings, script: Script
) -> AsyncIterator[None]:
    """Workers of every queue, until the block ends."""
    lifecycle = ScriptedLifecycle(database, settings, client, script)
    shards = ScriptedShards(database, settings, script)
    table: dict[str, list[Callable[..., Any]]] = {
        task_queues.SCANS: [
            lifecycle.begin_scan,
            lifecycle.scripted_check,
            lifecycle.plan_discovery,
            lifecycle.record_failed_shard,
            lifecycle.record_paused,
            lifecycle.end_scan,
        ],
        task_queues.COMPLIANCE: [lifecycle.scripted_plan, shards.scripted_assess],
        task_queues.SYNC: [shards.merge_shards],
    }
    async with AsyncExitStack() as workers:
        for queue, activities in table.items():
            worker = Worker(
                client,
                task_queue=queue,
                identity=f"scripted-{uuid4()}",
                workflows=[CloudScan, AccountCheckWorkflow] if queue == task_queues.SCANS else [],
                activities=activities,
                interceptors=[SafeFailures()],
                workflow_runner=SandboxedWorkflowRunner(
                    SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
                ),
                max_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE / 10,
                default_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE / 10,
            )
            await workers.enter_async_context(worker)
        yield
