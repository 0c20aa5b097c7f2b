"""The SLA check on a real Temporal: in steps, until nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client

from activities.sla_checks import SlaActivities
from contracts.sla import SlaCheckRequest
from runtime import policies, task_queues
from runtime.settings import Settings
from storage.database import Database
from tests.storage.lab import make_lab, observed
from tests.storage.vulnerability_lab import accept, listed, sync
from tests.support.namespaces import new_namespace
from worker import Registration, build_workers
from workflows.sla_check import SlaCheck


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


async def test_a_check_works_through_everything_and_then_finds_nothing(
    temporal: Client, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "SLA_BATCH", 3)
    lab = await make_lab(database)
    lab.clock.now = datetime.now(UTC) - timedelta(days=400)
    await lab.scan([observed(f"r{n}") for n in range(8)])
    await sync(lab)
    await accept(lab, (await listed(lab))[0].id, days=100)
    client = await new_namespace(temporal, "sla")
    table = {task_queues.MAINTENANCE: Registration([SlaCheck], [SlaActivities(database).check_sla])}
    (worker,) = build_workers(client, table, settings, [task_queues.MAINTENANCE])

    async def check() -> dict[str, int]:
        summary = await client.execute_workflow(
            SlaCheck.run,
            SlaCheckRequest(),
            id=f"sla/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )
        return {kind: count for kind, count in summary.counts.items() if count}

    async with worker:
        assert await check() == {"acceptance_expired": 1, "breached": 7}
        assert await check() == {}
