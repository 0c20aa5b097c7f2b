"""What the containers run besides the product: health checks, databases, namespace, schema."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from temporalio import activity
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from runtime.embedded.postgres import binaries, running_postgres
from runtime.embedded.postgres import database_url as embedded_url
from runtime.embedded.temporal import binary
from runtime.settings import Settings
from tests.support.ports import free_ports
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
RETENTION_SECONDS = 7 * 24 * 3600


async def run(*command: str | Path, **environment: str) -> tuple[int, str]:
    """Exit code and everything said, of a command run as in a container."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def check(*arguments: str, **environment: str) -> tuple[int, str]:
    """The health check of a container."""
    return await run(sys.executable, "docker/healthcheck.py", *arguments, **environment)


# ---- health checks ----


async def test_the_api_is_well_while_it_answers(settings: Settings) -> None:
    port = str(settings.api_port)
    dead, said = await check("api", CLOUDSWEEP_API_PORT=port)
    assert (dead, "does not answer" in said) == (1, True)
    assert settings.database_url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        cwd=ROOT,
        env={
            **os.environ,
            "CLOUDSWEEP_API_PORT": port,
            "CLOUDSWEEP_DATABASE_URL": settings.database_url.get_secret_value(),
            "CLOUDSWEEP_TEMPORAL_PORT": str(settings.temporal_port),
        },
    )
    try:

        async def is_well() -> bool:
            return (await check("api", CLOUDSWEEP_API_PORT=port))[0] == 0

        await until(is_well)
    finally:
        process.terminate()
        assert await process.wait() == 0


@activity.defn
async def nothing() -> None:
    """An activity, since a worker must have one."""


@pytest.fixture
async def reporting_worker(temporal_ports: list[int]) -> AsyncIterator[str]:
    """A worker of the queue `sync` that reports every second, as ours do every minute."""
    address = f"127.0.0.1:{temporal_ports[0]}"
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
    client = await Client.connect(address, runtime=runtime)
    async with Worker(client, task_queue="sync", activities=[nothing]):
        yield address


async def test_a_worker_is_well_when_it_serves_all_its_queues(reporting_worker: str) -> None:
    async def is_well() -> bool:
        return (await check("worker", "sync", TEMPORAL_ADDRESS=reporting_worker))[0] == 0

    await until(is_well)
    code, said = await check("worker", "sync", "compliance", TEMPORAL_ADDRESS=reporting_worker)
    assert code == 1
    assert said.strip() == "No worker of this host serves compliance"


async def test_a_worker_is_not_well_without_temporal() -> None:
    code, said = await check("worker", "sync", TEMPORAL_ADDRESS=f"127.0.0.1:{free_ports(1)[0]}")
    assert code == 1
    assert "Temporal does not answer" in said


async def test_a_queue_that_does_not_exist_is_refused() -> None:
    code, said = await check("worker", "complaince")
    assert code == 2
    assert "no such queue: complaince" in said


# ---- PostgreSQL ----


@pytest.fixture
async def made_cluster(tmp_path: Path) -> AsyncIterator[Path]:
    """A new PostgreSQL on which the image's start-up script has run.

    An embedded one has a role `cloudsweep` from the start: here the script's is named `product`.
    """
    script = tmp_path / "databases.sql"
    written = (DOCKER / "postgres" / "databases.sql").read_text()
    script.write_text(written.replace("cloudsweep", "product"))
    async with running_postgres(tmp_path):
        code, said = await run(
            *(binaries() / "psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"),
            *("--file", script, embedded_url(tmp_path, "postgres")),
            POSTGRES_CLOUDSWEEP_PASSWORD="it's one",
            POSTGRES_TEMPORAL_PASSWORD="another",
        )
        assert code == 0, said
        yield tmp_path


async def test_each_program_owns_its_databases_and_enters_no_other(made_cluster: Path) -> None:
    owned = {"product": ["product"], "temporal": ["temporal", "temporal_visibility"]}
    for role, databases in owned.items():
        for database in ("product", "temporal", "temporal_visibility"):
            url = embedded_url(made_cluster, database)
            if database in databases:
                connection = await asyncpg.connect(url, user=role)
                await connection.execute("CREATE TABLE mine (); CREATE SCHEMA ours")
                await connection.close()
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await asyncpg.connect(url, user=role)
    assert await _ask(
        made_cluster,
        "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'product'",
    )


async def _ask(data_dir: Path, statement: str) -> object:
    connection = await asyncpg.connect(embedded_url(data_dir, "postgres"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


# ---- Temporal ----


async def test_the_namespace_is_made_once_and_kept_a_week(
    temporal: Client, temporal_ports: list[int]
) -> None:
    name = "containers"
    for _ in range(2):
        code, said = await run(
            *("sh", DOCKER / "temporal" / "namespace.sh"),
            PATH=f"{binary().parent}:{os.environ['PATH']}",
            TEMPORAL_ADDRESS=f"127.0.0.1:{temporal_ports[0]}",
            TEMPORAL_NAMESPACE=name,
        )
        assert code == 0, said
    described = await temporal.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=name)
    )
    kept = described.config.workflow_execution_retention_ttl
    assert kept.ToSeconds() == RETENTION_SECONDS


async def test_the_schema_of_both_databases_is_set_up_and_brought_up_to_date(
    tmp_path: Path,
) -> None:
    # The real tool comes only in Temporal's image; this one writes down how it is called.
    tool, calls = tmp_path / "temporal-sql-tool", tmp_path / "calls"
    tool.write_text(f'#!/bin/sh\necho "$SQL_DATABASE $*" >> {calls}\n')
    tool.chmod(0o755)
    code, said = await run(
        *("sh", DOCKER / "temporal" / "schema.sh"), PATH=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert code == 0, said
    folder = "/etc/temporal/schema/postgresql/v12"
    assert calls.read_text().splitlines() == [
        "temporal setup-schema --version 0.0",
        f"temporal update-schema --schema-dir {folder}/temporal/versioned",
        "temporal_visibility setup-schema --version 0.0",
        f"temporal_visibility update-schema --schema-dir {folder}/visibility/versioned",
    ]
