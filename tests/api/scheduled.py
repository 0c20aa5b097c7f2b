"""Bodies of schedules and what the routes' tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client, ScheduleDescription

from api.app import create_app
from runtime.settings import Settings
from tests.api.conftest import open_client
from tests.support.ports import free_ports

Row = dict[str, Any]

NIGHTLY: Row = {"type": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}
NOBODY = "01930000-0000-7000-8000-000000000000"


async def add_account(caller: httpx.AsyncClient, name: str = "production") -> Row:
    """An account of the caller's team."""
    body = {"name": name, "provider": "aws", "credentials": {"kind": "environment"}}
    account: Row = (await caller.post("accounts", json=body)).json()
    return account


def scan_of(account: Row, **more: Any) -> Row:
    """A schedule that scans an account every night."""
    target = {"kind": "cloud_scan", "account_id": account["id"]}
    return {"name": "nightly", "target": target, "trigger": NIGHTLY} | more


async def add_schedule(caller: httpx.AsyncClient, body: Row) -> Row:
    """Create a schedule and return it."""
    answer = await caller.post("schedules", json=body)
    assert answer.status_code == 201, answer.text
    schedule: Row = answer.json()
    return schedule


async def held(client: Client, schedule: Row) -> ScheduleDescription:
    """What Temporal holds of a schedule."""
    return await client.get_schedule_handle(f"schedule/{schedule['id']}").describe()


async def until(caller: httpx.AsyncClient, path: str, holds: Callable[[Row], bool]) -> Row:
    """The document once this holds; the time limit is only so that a broken test ends."""
    async with asyncio.timeout(60):
        while True:
            seen: Row = (await caller.get(path)).json()
            if holds(seen):
                return seen
            await asyncio.sleep(0.05)


def errors_of(answer: httpx.Response) -> dict[str, str]:
    """Field -> message of a refusal."""
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@asynccontextmanager
async def without_temporal(
    settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of an app whose Temporal does not answer."""
    (nobody,) = free_ports(1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{nobody}")
    app = create_app(settings)
    async with app.router.lifespan_context(app), open_client(app, key) as caller:
        yield caller
