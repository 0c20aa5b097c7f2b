"""Imports by a process of its own: bounded memory, and an upload whose sender goes away."""

from __future__ import annotations

import asyncio

import httpx
from temporalio.client import Client

from benchmarks.import_file import array, read_file
from contracts.vocabulary import Role
from runtime.settings import Settings
from storage.database import Database
from tests.api.conftest import Team
from tests.api.stored import make_account
from tests.api.test_imports import staged
from tests.api.test_server import api_process

MEGABYTE = 1_000_000


async def test_a_file_of_10_megabytes_grows_the_api_by_less_than_120(
    settings: Settings, database: Database, team: Team, namespace: Client
) -> None:
    account = await make_account(database, team.id)
    async with api_process(settings) as process:
        read = await read_file(
            f"http://127.0.0.1:{settings.api_port}", team.keys[Role.OPERATOR], account,
            process.pid, 10 * MEGABYTE,
        )  # fmt: skip
    assert read.scan["status"] == "pending"
    assert read.scan["notes"][0].startswith("Imported from a file of 950 findings, ")
    assert read.memory_peak - read.memory_before < 120 * MEGABYTE


async def test_an_upload_that_breaks_off_ends_failed_and_leaves_nothing_staged(
    settings: Settings, database: Database, team: Team, namespace: Client
) -> None:
    account = await make_account(database, team.id)
    url = f"http://127.0.0.1:{settings.api_port}/api/v1"
    headers = {"Authorization": f"Bearer {team.keys[Role.OPERATOR]}"}
    async with api_process(settings), httpx.AsyncClient(headers=headers) as caller:
        _, writer = await asyncio.open_connection("127.0.0.1", settings.api_port)
        writer.write(
            f"POST /api/v1/imports?account_id={account} HTTP/1.1\r\nHost: api\r\n"
            f"Authorization: {headers['Authorization']}\r\n"
            f"Content-Length: {90 * MEGABYTE}\r\n\r\n".encode()
        )
        async for chunk in array(30 * MEGABYTE):
            writer.write(chunk)
            await writer.drain()
        writer.close()
        async with asyncio.timeout(60):
            while True:
                (scan,) = (await caller.get(f"{url}/scans?kind=import")).json()["items"]
                if scan["status"] == "failed":
                    break
                await asyncio.sleep(0.05)
    assert scan["error"]["message"] == "The upload broke off before the end of the file."
    assert await staged(database, account) == 0
