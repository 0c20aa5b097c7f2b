"""The servers and the worker of `benchmarks.scheduler`, and the CPU that each of them uses."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psutil
from temporalio.client import Client, ScheduleActionStartWorkflow

from activities import temporal_schedules
from benchmarks.scheduler_worker import NOTHING
from contracts.schedules import JobTarget, NewSchedule, StoredSchedule, Target, Trigger
from runtime import search_attributes, task_queues, temporal
from runtime.embedded.children import ChildSpec, running
from runtime.embedded.postgres import running_postgres
from runtime.embedded.temporal import running_temporal
from runtime.settings import Settings
from storage.bootstrap import bootstrap
from storage.database import Database
from storage.schedules import schedules

ROOT = Path(__file__).parent.parent
AT_ONCE = 16
"""Schedules that are made at a time."""
PARTS = ("server", "worker", "database")


class Stack(NamedTuple):
    """Servers and a worker, as seen from here."""

    database: Database
    client: Client
    url: str
    data_dir: Path
    key: str
    team_id: UUID

    async def add(self, name: str, trigger: Trigger, target: Target) -> StoredSchedule:
        """The row, committed; then Temporal's schedule, with the row locked: as the API does."""
        new = NewSchedule(name=name, trigger=trigger, target=target)
        async with self.database.transaction() as session:
            made = await schedules.create_schedule(session, self.team_id, new, at=datetime.now(UTC))
        assert made is not None
        async with self.database.transaction() as session:
            locked = await schedules.get_schedule(session, self.team_id, made.id, lock=True)
            assert await temporal_schedules.put(self.client, locked, self.team_id)
        return locked

    async def add_plain(self, name: str, trigger: Trigger) -> None:
        """What anybody would write who has only Temporal: the same times, started directly."""
        new = NewSchedule(name=name, trigger=trigger, target=JobTarget(job=NOTHING.name))
        now = datetime.now(UTC)
        async with self.database.transaction() as session:
            row = await schedules.create_schedule(session, self.team_id, new, at=now)
            assert row is not None
            await schedules.delete_schedule(session, row)
        ours = temporal_schedules.as_temporal(row)
        action = ScheduleActionStartWorkflow(
            "Nothing", {}, id=name, task_queue=task_queues.SCANS, static_summary=name
        )
        await self.client.create_schedule(name, dataclasses.replace(ours, action=action))


@asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    """Embedded servers and one worker process, gone on exit."""
    with tempfile.TemporaryDirectory(prefix="scheduler-") as name:
        folder = Path(name)
        port, ui_port = free_port(), free_port()
        async with (
            running_postgres(folder / "postgres") as url,
            running_temporal(
                folder / "temporal",
                port=port,
                ui_port=ui_port,
                search_attributes=search_attributes.TYPES,
            ),
        ):
            os.environ["CLOUDSWEEP_TEMPORAL_PORT"] = str(port)
            key = await bootstrap(url, folder / "admin.key", replace_lost=True)
            worker = ChildSpec(
                name="worker",
                command=[sys.executable, "-m", "benchmarks.scheduler_worker"],
                environment={
                    **os.environ,
                    "CLOUDSWEEP_DATABASE_URL": url,
                    "PYTHONPATH": str(ROOT),
                    # Compiled once, as an installation is, and not once a workflow.
                    "PYTHONDONTWRITEBYTECODE": "",
                    "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
                },
            )
            database = Database.open(url, pool_size=AT_ONCE)
            try:
                async with running(worker, owner=folder, logs=folder / "logs"):
                    client = await temporal.connect(Settings(temporal_port=port))
                    async with database.transaction() as session:
                        team_id = await schedules.installation(session)
                    assert key
                    yield Stack(database, client, url, folder, key, team_id)
            finally:
                await database.close()


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu() -> Counter[str]:
    """CPU seconds so far of what was started here, by the name of the program."""
    used: Counter[str] = Counter()
    names = {"temporal": "server", "postgres": "database"}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            times = child.cpu_times()
            used[names.get(child.name(), "worker")] += times.user + times.system  # type: ignore[assignment]
    return used


def since(before: Counter[str]) -> Counter[str]:
    """CPU seconds used after this reading."""
    used = cpu()
    used.subtract(before)
    return used
