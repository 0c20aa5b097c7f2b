"""Real servers for the tests, each started once and gone at the end of the run."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from runtime import search_attributes
from runtime.embedded.postgres import database_url as embedded_url
from runtime.embedded.postgres import running_postgres
from runtime.embedded.temporal import running_temporal
from runtime.settings import Settings, get_settings
from runtime.temporal import connect
from tests.support.ports import free_ports

RUN_MARK = "CLOUDSWEEP_TEST_RUN"
TEMPLATE = "migrated"
LEFT_BY_WORKERS: list[str] = []
LONG = (
    "storage/test_vulnerability_model.py",
    "system/test_crashes.py",
    "schedules/test_outages.py",
)
"""Files that take longest, the longest first."""


def pytest_configure(config: pytest.Config) -> None:
    """Forget what the developer's shell says: no test may reach a real account or server."""
    for name in list(os.environ):
        if name.startswith(("CLOUDSWEEP_", "TEMPORAL_", "AWS_", "AZURE_", "GOOGLE_", "PG")):
            del os.environ[name]
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables are cut to it
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ[RUN_MARK] = uuid.uuid4().hex
    get_settings.cache_clear()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that leaves a process behind fails the run; the process is ended all the same."""
    left = LEFT_BY_WORKERS
    if not session.config.getoption("numprocesses", None):  # else its workers have looked
        left = _end_what_is_left()
    # A worker of pytest-xdist has no exit status of its own: its main process tells it.
    if (to_main := getattr(session.config, "workeroutput", None)) is not None:
        to_main["left"] = left
    elif left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write("\nProcesses left behind by tests:\n  " + "\n  ".join(left) + "\n")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note what tests of this worker left behind."""
    LEFT_BY_WORKERS.extend(getattr(node, "workeroutput", {}).get("left", []))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that no worker is left alone with one at the end."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(f"{item.path.parent.name}/{item.path.name}", len(LONG)))


def _end_what_is_left() -> list[str]:
    """End living processes that were started by tests of this process; say which those were."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get(RUN_MARK) == os.environ[RUN_MARK]
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
                process.kill()
    return left


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The data directory of an embedded PostgreSQL that runs until the end of the run."""
    data_dir = tmp_path_factory.mktemp("postgres")
    async with running_postgres(data_dir):
        yield data_dir


@pytest.fixture(scope="session")
async def migrated_template(postgres: Path) -> str:
    """The name of a database with every migration applied, to make others from."""
    await _execute(postgres, f'CREATE DATABASE "{TEMPLATE}"')
    await _bootstrap(embedded_url(postgres, TEMPLATE), postgres)
    return TEMPLATE


@pytest.fixture
async def database_url(postgres: Path, migrated_template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database of this test's own."""
    name = f"test_{uuid.uuid4().hex}"
    await _execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
    yield embedded_url(postgres, name)
    await _execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
async def temporal_ports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[int]]:
    """The gRPC and Web UI port of an embedded Temporal that runs until the end of the run."""
    ports = free_ports(2)
    async with running_temporal(
        tmp_path_factory.mktemp("temporal"),
        port=ports[0],
        ui_port=ports[1],
        search_attributes=search_attributes.TYPES,
    ):
        yield ports


@pytest.fixture(scope="session")
async def temporal(temporal_ports: list[int]) -> Client:
    """A client of that server, as the product makes it."""
    return await connect(Settings(temporal_port=temporal_ports[0]))


@pytest.fixture
def settings(tmp_path: Path, database_url: str, temporal_ports: list[int]) -> Settings:
    """Settings of this test's own: its database, the run's Temporal, a free API port."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        temporal_port=temporal_ports[0],
        temporal_ui_port=temporal_ports[1],
        api_port=free_ports(1)[0],
        log_level="warning",
    )


async def _execute(data_dir: Path, statement: str) -> None:
    connection = await asyncpg.connect(embedded_url(data_dir))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _bootstrap(url: str, data_dir: Path) -> None:
    """Migrate as `cloudsweep up` does: by the same command, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storage.bootstrap"),
        env={**os.environ, "CLOUDSWEEP_DATABASE_URL": url, "CLOUDSWEEP_DATA_DIR": str(data_dir)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"Migrations failed:\n{output.decode()}")
