"""One namespace, one database and one worker for the tests of schedules; each has its own team."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from temporalio.client import Client

from runtime.embedded.postgres import database_url as embedded_url
from runtime.settings import Settings
from storage.keys import create_team
from tests.support.namespaces import new_namespace
from tests.support.scheduler import SchedulerLab, scheduler_lab


@pytest.fixture(scope="session")
async def shared_lab(
    temporal: Client, postgres: Path, migrated_template: str
) -> AsyncIterator[SchedulerLab]:
    """The scheduler at work, on a database and in a namespace of these tests."""
    name = f"schedules_{uuid4().hex}"
    connection = await asyncpg.connect(embedded_url(postgres))
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
    url = embedded_url(postgres, name)
    client = await new_namespace(temporal, "schedules")
    settings = Settings(database_url=url, log_level="warning")
    async with scheduler_lab(url, client, settings) as made, made.working():
        yield made
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


@pytest.fixture
async def lab(shared_lab: SchedulerLab) -> SchedulerLab:
    """The same, for a team of this test's own."""
    async with shared_lab.database.transaction() as session:
        return shared_lab.for_team(await create_team(session, f"team-{uuid4()}"))
