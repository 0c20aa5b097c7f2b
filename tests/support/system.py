"""The whole product on this machine, driven over its HTTP API as a user would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from runtime.embedded.stack import Stack, embedded_stack
from runtime.settings import Settings
from tests.support.ports import free_ports

Row = dict[str, Any]
ENDED = {"completed", "completed_with_errors", "failed", "cancelled"}


class Client:
    """The API of a stack, as its admin."""

    def __init__(self, api_url: str, key: str) -> None:
        self.client = httpx.AsyncClient(
            base_url=f"{api_url}/api/v1/", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def get(self, path: str, **parameters: Any) -> Row:
        """GET one document; an error answer fails the test with its words."""
        response = await self.client.get(path, params=parameters)
        assert response.is_success, response.text
        return dict(response.json())

    async def post(self, path: str, body: Row | None = None) -> Row:
        """POST a document; an error answer fails the test with its words."""
        response = await self.client.post(path, json=body)
        assert response.is_success, response.text
        return dict(response.json())

    async def add_account(self, name: str, endpoint: str, credentials: Row, **more: Any) -> str:
        """A new account behind an AWS-compatible endpoint: its id."""
        account = await self.post(
            "accounts",
            {
                "name": name,
                "provider": "aws",
                "credentials": credentials,
                "endpoint_url": endpoint,
                **more,
            },
        )
        return str(account["id"])

    async def start(self, account_id: str, **options: Any) -> str:
        """Start a scan: its id."""
        scan = await self.post("scans", {"account_id": account_id, "discovery": False, **options})
        return str(scan["id"])

    async def until(self, scan_id: str, *statuses: str, seconds: float = 600) -> Row:
        """The scan once it has one of these statuses; by default once it has ended."""
        wanted = set(statuses) or ENDED
        deadline = time.monotonic() + seconds
        while True:
            try:
                scan = await self.get(f"scans/{scan_id}")
            except (httpx.TransportError, AssertionError):  # the API or its database was killed
                scan = {"status": "unknown"}
            if scan["status"] in wanted:
                return scan
            assert time.monotonic() < deadline, f"still not {wanted}: {scan}"
            await asyncio.sleep(0.2)

    async def scan(self, account_id: str, **options: Any) -> Row:
        """Start a scan and wait for its end."""
        return await self.until(await self.start(account_id, **options))

    async def all(self, path: str, **parameters: Any) -> list[Row]:
        """Every row of a list, page after page."""
        rows: list[Row] = []
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = await self.get(path, limit=500, **parameters, **more)
            rows += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return rows

    async def verdicts(self, account_id: str) -> dict[tuple[str, str, str, str], tuple[str, str]]:
        """(check, region, resource, detail) -> (status, state) of every finding of an account."""
        return {
            (row["check_id"], row["region"], row["resource"]["uid"], row["detail"]): (
                row["status"],
                row["state"],
            )
            for row in await self.all("findings", account_id=account_id)
        }


class System(Client):
    """A running stack, its processes, and a client with its admin key."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.api_url, stack.key_file.read_text().strip())
        self.stack = stack

    def kill(self, name: str) -> int:
        """kill -9 one process of the stack: its id."""
        pid = self.stack.pids[name]
        psutil.Process(pid).kill()
        return pid

    def scanners(self) -> list[psutil.Process]:
        """The Prowler processes that run below the workers."""
        return [
            child
            for name, pid in self.stack.pids.items()
            if name.startswith("worker")
            for child in _children(pid)
            if any("prowler_runner" in part for part in _command(child))
        ]

    async def until_scanning(self, seconds: float = 60) -> list[psutil.Process]:
        """The Prowler processes, once there are some."""
        deadline = time.monotonic() + seconds
        while not (found := self.scanners()):
            assert time.monotonic() < deadline, "no scanner was started"
            await asyncio.sleep(0.1)
        return found


def _children(pid: int) -> Iterable[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@asynccontextmanager
async def running_system(data_dir: Path, **settings: Any) -> AsyncIterator[System]:
    """A stack of its own on free ports; gone on exit."""
    api, temporal, ui = free_ports(3)
    async with embedded_stack(
        Settings(
            data_dir=data_dir,
            api_port=api,
            temporal_port=temporal,
            temporal_ui_port=ui,
            stagger_seconds=0.1,
            **settings,
        )
    ) as stack:
        system = System(stack)
        try:
            yield system
        finally:
            await system.close()
