"""The SLA check on a real Temporal: in steps, until nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client

from activities import engine_starts
from activities.sla_checks import SlaActivities
from contracts.sla import SlaCheckRequest, SlaDays, SlaPolicy
from runtime import policies, task_queues
from runtime.settings import Settings
from storage.database import Database
from storage.vulnerabilities.sla_checks import save_policy
from tests.storage.lab import make_lab, observed
from tests.storage.vulnerability_lab import accept, listed, sync
from tests.support.namespaces import new_namespace
from worker import Registration, build_workers, running
from workflows.due_dates import DueDates
from workflows.sla_check import SlaCheck


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


@asynccontextmanager
async def working(client: Client, database: Database, settings: Settings) -> AsyncIterator[None]:
    """A worker of the queue `maintenance`."""
    steps = SlaActivities(database)
    registered = Registration([SlaCheck, DueDates], [steps.check_sla, steps.redate])
    table = {task_queues.MAINTENANCE: registered}
    async with running(build_workers(client, table, settings, [task_queues.MAINTENANCE])):
        yield


async def check(client: Client) -> dict[str, int]:
    """What a check did."""
    summary = await client.execute_workflow(
        SlaCheck.run,
        SlaCheckRequest(),
        id=f"sla/{uuid4()}",
        task_queue=task_queues.MAINTENANCE,
    )
    return {kind: count for kind, count in summary.counts.items() if count}


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
    async with working(client, database, settings):
        assert await check(client) == {"acceptance_expired": 1, "breached": 7}
        assert await check(client) == {}


async def test_a_new_policy_changes_due_dates_in_steps_and_a_later_one_starts_anew(
    temporal: Client, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "SLA_BATCH", 3)
    lab, other = await make_lab(database), await make_lab(database)
    for each in (lab, other):
        each.clock.now = datetime.now(UTC)
        await each.scan([observed(f"r{n}") for n in range(8)])
        await sync(each)
    theirs = [each.due_at for each in await listed(other)]
    client = await new_namespace(temporal, "sla")
    dates = f"due-dates/{lab.team_id}"
    assert DueDates.__name__ == engine_starts.DUE_DATES

    async def save(days: int) -> None:
        policy = SlaPolicy(days=SlaDays(high=days))
        async with database.transaction() as session:
            await save_policy(session, lab.team_id, policy, who="alice", at=lab.clock.now)

    async def start() -> None:
        await engine_starts.start_due_dates(client, lab.team_id, rpc_timeout=timedelta(seconds=10))

    await save(14)
    await start()  # nobody works yet
    await save(2)
    await start()
    async with working(client, database, settings):
        summary = await client.get_workflow_handle_for(DueDates.run, dates).result()
        assert summary.counts == {"redated": 8}
        for each in await listed(lab):
            assert each.due_at == each.first_detected_at + timedelta(days=2)
        assert [each.due_at for each in await listed(other)] == theirs
        assert await check(client) == {"upcoming": 8}  # they are right already

        await save(20)  # and Temporal could not be told
        assert (await check(client))["redated"] == 8
    for each in await listed(lab):
        assert each.due_at == each.first_detected_at + timedelta(days=20)
