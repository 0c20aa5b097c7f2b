"""`python -m api` as a process: serves, drains, and ends cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from temporalio.client import Client

from contracts.vocabulary import Role
from runtime.settings import Settings
from tests.api.conftest import Team

ACCOUNT = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}


@asynccontextmanager
async def api_process(
    settings: Settings, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The API in a process of its own, once it answers; killed if the test did not end it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        env={
            **os.environ,
            "CLOUDSWEEP_DATABASE_URL": settings.require_database_url(),
            "CLOUDSWEEP_API_PORT": str(settings.api_port),
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while process.returncode is None:
                try:
                    await client.get(f"http://127.0.0.1:{settings.api_port}/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_a_stream_end_and_exits_cleanly(
    settings: Settings, team: Team, namespace: Client, number: signal.Signals
) -> None:
    async with (
        api_process(settings) as process,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.api_port}/api/v1/",
            headers={"Authorization": f"Bearer {team.keys[Role.OPERATOR]}"},
            timeout=60,
        ) as caller,
    ):
        account = (await caller.post("accounts", json=ACCOUNT)).json()
        scan = (await caller.post("scans", json={"account_id": account["id"]})).json()
        async with caller.stream("GET", f"scans/{scan['id']}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: scan"
            process.send_signal(number)
            rest = [line async for line in lines]
        assert rest[0].startswith("data: ")
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_a_port_that_is_taken_is_said_plainly(settings: Settings) -> None:
    async with api_process(settings), api_process(settings) as second:
        async with asyncio.timeout(60):
            _, errors = await second.communicate()
        assert second.returncode not in (0, None)
        assert "address already in use" in errors.decode()
        assert "Traceback" not in errors.decode()


async def test_without_a_database_it_says_what_to_set() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().count("\n") == 1
    assert "CLOUDSWEEP_DATABASE_URL" in errors.decode()


async def test_it_starts_and_reads_while_temporal_is_down(settings: Settings, team: Team) -> None:
    async with (
        api_process(settings, TEMPORAL_ADDRESS="127.0.0.1:1"),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.api_port}",
            headers={"Authorization": f"Bearer {team.keys[Role.VIEWER]}"},
            timeout=60,
        ) as caller,
    ):
        assert (await caller.get("/api/v1/findings")).status_code == 200
        assert (await caller.get("/api/v1/scans")).status_code == 200
        ready = await caller.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        states = {each["name"]: each["state"] for each in ready.json()["dependencies"]}
        assert (states["temporal"], states["workers"]) == ("down", "unknown")
