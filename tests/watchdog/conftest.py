"""The watchdog at work on a database and in a namespace of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import Client

from activities import engine_starts, scan_watch, schedule_watch
from contracts.consistency import Repair
from contracts.jobs import NoParams
from contracts.runs import JobSummary
from contracts.scans import NewScan, Scan, ScanTrigger
from contracts.vocabulary import ScanKind, ScanStatus
from runtime import task_queues
from runtime.settings import Settings
from storage.database import Database
from storage.scans import scans
from storage.watchdog import repairs
from tests.api.scripted import Script, serving
from tests.api.stored import make_account
from tests.storage.lab import Lab, make_lab
from tests.storage.vulnerability_lab import sync
from tests.support.namespaces import new_namespace
from tests.support.waiting import until
from workflows.data_sync_watchdog import DataSyncWatchdog

OTHERS = tuple(queue for queue in task_queues.SLOTS if queue != task_queues.MAINTENANCE)


class SyncedLab(Lab):
    """An account whose scans are followed by a sync, as those of a healthy installation are."""

    async def end(self, scan_id: UUID) -> None:
        """End a scan and sync what it found."""
        await super().end(scan_id)
        await sync(self)


async def synced_lab(database: Database, team_id: UUID | None = None) -> SyncedLab:
    """An account of its own, in a team of its own unless one is given."""
    return SyncedLab(**vars(await make_lab(database, team_id)))


@dataclass
class Watched:
    """An installation that is watched, with a team and an account."""

    database: Database
    client: Client
    settings: Settings
    store: Lab
    script: Script = field(default_factory=lambda: Script(shards=2))

    @property
    def team_id(self) -> UUID:
        """The team."""
        return self.store.team_id

    @property
    def account_id(self) -> UUID:
        """Its account."""
        return self.store.account_id

    @asynccontextmanager
    async def working(self, *queues: str) -> AsyncIterator[None]:
        """Workers of these queues besides the watchdog's, by default of all."""
        async with serving(
            self.client, self.database, self.settings, self.script, queues or OTHERS
        ):
            yield

    async def cycle(self) -> JobSummary:
        """Run the watchdog once; only what it did is counted."""
        done = await self.client.execute_workflow(
            DataSyncWatchdog.run,
            NoParams(),
            id=f"watchdog/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )
        return done.model_copy(update={"counts": {name: n for name, n in done.counts.items() if n}})

    async def another_account(self) -> UUID:
        """One more account of the team."""
        return await make_account(self.database, self.team_id, f"account {uuid4()}")

    async def queue(self, account_id: UUID | None = None, *, minutes_ago: float = 0) -> UUID:
        """A scan's row, as a process leaves it that dies before it starts the workflow."""
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session,
                self.team_id,
                NewScan(account_id=account_id or self.account_id, discovery=False),
                trigger=ScanTrigger(),
                idempotency_key=None,
                at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
            )
        return scan.id

    async def start(self, account_id: UUID | None = None) -> UUID:
        """A scan, started as the API starts it."""
        scan_id = await self.queue(account_id)
        await engine_starts.start_scan(
            self.client,
            scan_id,
            kind=ScanKind.CLOUD,
            team_id=self.team_id,
            account_id=account_id or self.account_id,
            account_name="production",
        )
        return scan_id

    async def scan(self, scan_id: UUID) -> Scan:
        """A scan as people see it."""
        async with self.database.transaction() as session:
            return await scans.get_scan(session, self.team_id, scan_id)

    async def until_scan(self, scan_id: UUID, *statuses: ScanStatus) -> Scan:
        """The scan once it has one of these statuses."""

        async def has() -> bool:
            return (await self.scan(scan_id)).status in statuses

        await until(has)
        return await self.scan(scan_id)

    async def until_shards_run(self, scan_id: UUID) -> None:
        """Return once every shard of the scan runs."""

        async def runs() -> bool:
            rows = await self.sql(
                "SELECT 1 FROM scan_task WHERE scan_id = :id AND status = 'running'", id=scan_id
            )
            return len(rows) == self.script.shards

        await until(runs)

    async def terminate(self, scan_id: UUID) -> None:
        """End a scan's workflow without letting it record anything."""
        await self.client.get_workflow_handle(f"scan/{scan_id}").terminate("by a test")

    async def repairs(self) -> list[Repair]:
        """The team's repairs, newest first."""
        async with self.database.transaction() as session:
            return await repairs.newest(session, self.team_id, at=datetime.now(UTC), limit=100)

    async def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement of the test's own."""
        async with self.database.transaction() as session:
            result = await session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
async def watched(
    temporal: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    """With a worker of the watchdog's queue only; what is a minute old need not be waited for."""
    client = await new_namespace(temporal, "watchdog")
    async with watching(client, database_url, monkeypatch) as made:
        yield made


@asynccontextmanager
async def watching(
    client: Client, database_url: str, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Watched]:
    """An installation with a worker of the watchdog's queue."""
    for module in (scan_watch, schedule_watch):
        monkeypatch.setattr(module, "SECOND_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(scan_watch, "YOUNG", timedelta(seconds=0.1))
    made = Settings(database_url=database_url, log_level="warning", **settings)
    database = Database.open(database_url, pool_size=10)
    watched = Watched(database, client, made, await synced_lab(database))
    try:
        async with watched.working(task_queues.MAINTENANCE):
            yield watched
    finally:
        await database.close()
