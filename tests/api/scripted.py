"""A worker for the routes' tests: the real workflows, storage and engine; only the cloud and the
scanner are scripted, since no route may depend on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.engine_state import SHARD_KEY
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
from runtime.workflow_sandbox import ContextFreeRunner
from storage.database import Database
from storage.scans import scan_state
from worker import PASSED_THROUGH, registrations, running

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
        _, _, target = await self._start(task, "prowler")
        while not self._script.go_on.is_set():
            activity.heartbeat({SHARD_KEY: task.key})
            await asyncio.sleep(HEARTBEAT_SECONDS)
        return await self._report(target, Coverage(planned=1, run=1), 0, 0)


SCRIPTED = {
    "check_account": "scripted_check",
    "plan_compliance": "scripted_plan",
    "assess_shard": "scripted_assess",
}
"""Activities that the script plays, with the methods that play them."""


@asynccontextmanager
async def serving(
    client: Client,
    database: Database,
    settings: Settings,
    script: Script,
    queues: Collection[str] = tuple(task_queues.SLOTS),
) -> AsyncIterator[None]:
    """Workers of these queues, until the block ends: all that the product registers."""
    played = {
        ScanLifecycleActivities: ScriptedLifecycle(database, settings, client, script),
        ShardActivities: ScriptedShards(database, settings, script),
    }
    workers = [
        Worker(
            client,
            task_queue=queue,
            identity=f"scripted-{uuid4()}",
            workflows=registered.workflows,
            activities=[_played(each, played) for each in registered.activities],
            interceptors=[SafeFailures()],
            workflow_runner=ContextFreeRunner.importing_once(*PASSED_THROUGH),
            max_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE / 10,
            default_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE / 10,
        )
        for queue, registered in registrations(database, settings, client).items()
        if queue in queues
    ]
    async with running(workers):
        yield


def _played(method: Callable[..., Any], played: Mapping[type, object]) -> Callable[..., Any]:
    """The method of the scripted class where there is one."""
    instance, name = getattr(method, "__self__", None), method.__name__
    player = played.get(type(instance), instance)
    found: Callable[..., Any] = getattr(player, SCRIPTED.get(name, name))
    return found
