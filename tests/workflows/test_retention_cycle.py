"""A cycle on a real Temporal: every team, and one that fails stops no other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError

from activities.retention import RetentionActivities
from contracts.retention import RetentionRequest
from contracts.runs import JobSummary
from runtime import policies, task_queues
from runtime.settings import Settings
from storage.database import Database
from tests.storage.lab import Lab, make_lab, observed, places
from tests.support.namespaces import new_namespace
from worker import Registration, build_workers, running
from workflows.failures import scan_error
from workflows.retention_cycle import RetentionCycle


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


async def old(database: Database) -> Lab:
    """A team with three findings that are gone for long, and the scan before."""
    lab = await make_lab(database)
    lab.clock.now = datetime.now(UTC) - timedelta(days=500)
    await lab.scan([observed(f"r{n}") for n in range(3)])
    await lab.scan([], places([observed()]))
    return lab


async def test_a_cycle_deletes_of_every_team_and_tells_which_failed(
    temporal: Client,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(policies, "RETENTION_PAGE", 2)
    monkeypatch.setattr(policies, "RETENTION_BATCH", 2)
    teams = [await old(database) for _ in range(3)]
    broken = teams[1].team_id
    (tmp_path / str(broken)).touch()  # where its directory should be
    activities = RetentionActivities(database, tmp_path)
    run = [activities.list_teams, activities.delete_old]
    table = {task_queues.MAINTENANCE: Registration([RetentionCycle], run)}
    client = await new_namespace(temporal, "retention")
    workers = build_workers(client, table, settings, [task_queues.MAINTENANCE])

    async def cycle() -> JobSummary:
        return await client.execute_workflow(
            RetentionCycle.run,
            RetentionRequest(),
            id=f"retention/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )

    async with running(workers):
        with pytest.raises(WorkflowFailureError) as failed:
            await cycle()
        (tmp_path / str(broken)).unlink()
        second, third = await cycle(), await cycle()
    error = scan_error(failed.value)
    assert error.code == "archive_unavailable"
    assert "CLOUDSWEEP_ARCHIVE_DIRECTORY" in (error.fix or "")
    for words in ("1 of ", f"Team {broken}: The archive ", "3 resolved findings"):
        assert words in error.message
    assert second.counts == {"resolved_findings": 3, "scans": 1}
    assert len(second.notes) == 1
    assert second.notes[0].endswith(": 3 resolved findings, 1 scans")
    assert third == JobSummary()
    assert await teams[0].sql("SELECT count(*) FROM finding") == [(0,)]
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 9
