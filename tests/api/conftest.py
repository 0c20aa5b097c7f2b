"""The real app on a real database and a real Temporal, and callers with keys of each role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from api.app import create_app
from contracts.keys import NewKey
from contracts.vocabulary import Role
from runtime.embedded.postgres import database_url as embedded_url
from runtime.settings import Settings
from storage.database import Database
from storage.keys import create_key, create_team
from tests.api.scripted import Script, serving
from tests.support.namespaces import new_namespace
from tests.support.ports import free_ports

Caller = Callable[..., httpx.AsyncClient]


@dataclass(frozen=True)
class Team:
    """A team and a key of each role."""

    id: UUID
    keys: dict[Role, str]


async def make_team(database: Database) -> Team:
    """A team of this test's own, with a key of each role."""
    now = datetime.now(UTC)
    async with database.transaction() as session:
        team_id = await create_team(session, f"team-{uuid4()}")
        keys = {
            role: (
                await create_key(session, team_id, NewKey(name=role.value, role=role), at=now)
            ).key
            for role in Role
        }
    return Team(team_id, keys)


def open_client(app: FastAPI, key: str | None) -> httpx.AsyncClient:
    """A client of the app that sends this key."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="http://api/api/v1",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=60,
    )


@pytest.fixture(scope="session")
async def shared_database_url(postgres: Path, migrated_template: str) -> AsyncIterator[str]:
    """One database for all of these tests: what they write is kept apart by its team."""
    name = f"api_{uuid4().hex}"
    connection = await asyncpg.connect(embedded_url(postgres))
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
    yield embedded_url(postgres, name)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


@pytest.fixture
def settings(tmp_path: Path, shared_database_url: str, temporal_ports: list[int]) -> Settings:
    """Settings of these tests: the shared database, the run's Temporal, a free port."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=shared_database_url,
        temporal_port=temporal_ports[0],
        temporal_ui_url="http://127.0.0.1:8233",
        api_port=free_ports(1)[0],
        log_level="warning",
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The test's database, to arrange what no call of the API does."""
    opened = Database.open(settings.require_database_url(), pool_size=5)
    yield opened
    await opened.close()


@pytest.fixture
async def app(settings: Settings, namespace: Client) -> AsyncIterator[FastAPI]:
    """The app, started."""
    made = create_app(settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def team(database: Database) -> Team:
    """The team that the callers belong to."""
    return await make_team(database)


@pytest.fixture
async def stranger(database: Database) -> Team:
    """Another team, whose rows nobody else may see."""
    return await make_team(database)


@pytest.fixture
async def call(app: FastAPI) -> AsyncIterator[Caller]:
    """Opens clients by key; they are closed with the test."""
    async with AsyncExitStack() as stack:
        opened: list[httpx.AsyncClient] = []

        def make(key: str | None) -> httpx.AsyncClient:
            client = open_client(app, key)
            opened.append(client)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def anonymous(call: Caller) -> httpx.AsyncClient:
    """A caller without a key."""
    return call(None)


@pytest.fixture
def viewer(call: Caller, team: Team) -> httpx.AsyncClient:
    """A caller who may read."""
    return call(team.keys[Role.VIEWER])


@pytest.fixture
def operator(call: Caller, team: Team) -> httpx.AsyncClient:
    """A caller who may also run scans."""
    return call(team.keys[Role.OPERATOR])


@pytest.fixture
def admin(call: Caller, team: Team) -> httpx.AsyncClient:
    """A caller who may do everything."""
    return call(team.keys[Role.ADMIN])


@pytest.fixture(scope="session")
async def worked_namespace(temporal: Client) -> Client:
    """A client of a namespace of these tests' own, where workers may poll."""
    return await new_namespace(temporal, "api")


@pytest.fixture(scope="session")
async def idle_namespace(temporal: Client) -> Client:
    """A client of a namespace where no worker ever polled."""
    return await new_namespace(temporal, "api")


@pytest.fixture
def namespace(idle_namespace: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The namespace the app uses: without workers, unless the test asks for `script`."""
    return _use(idle_namespace, monkeypatch)


@pytest.fixture
async def script(
    namespace: Client,
    worked_namespace: Client,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
    settings: Settings,
) -> AsyncIterator[Script]:
    """Workers that follow this script; ask for it before the app is used."""
    _use(worked_namespace, monkeypatch)
    followed = Script()
    async with serving(worked_namespace, database, settings, followed):
        yield followed


def _use(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", client.namespace)
    return client
