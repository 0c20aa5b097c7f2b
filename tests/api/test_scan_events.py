"""Server-sent events: what changes, until it ends."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.routes import scan_events
from api.state import STREAMS
from tests.api.scripted import Script


async def read(caller: httpx.AsyncClient, scan_id: str, **headers: str) -> list[tuple[str, Any]]:
    """All (event, data) of a stream, once it has ended."""
    answer = await caller.get(f"scans/{scan_id}/events", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found = []
    for block in answer.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.fixture
async def scan(operator: httpx.AsyncClient) -> dict[str, Any]:
    """A scan that was started."""
    body = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}
    account = (await operator.post("accounts", json=body)).json()
    made: dict[str, Any] = (await operator.post("scans", json={"account_id": account["id"]})).json()
    return made


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests need not wait a second for each look."""
    monkeypatch.setattr(scan_events, "LOOK_EVERY_SECONDS", 0.05)


async def test_a_stream_tells_every_change_and_ends_with_the_scan(
    script: Script, viewer: httpx.AsyncClient, scan: dict[str, Any]
) -> None:
    reading = asyncio.create_task(read(viewer, scan["id"]))
    await asyncio.sleep(0.5)
    script.go_on.set()
    async with asyncio.timeout(60):
        events = await reading
    kinds = [kind for kind, _ in events]
    assert kinds[:-1] == ["scan"] * (len(events) - 1)
    assert kinds[-1] == "end"
    states = [data["status"] for _, data in events]
    assert states[-1] == "completed"
    assert "running" in states
    assert all(one != other for one, other in pairwise(events))
    assert events[-1][1] == (await viewer.get(f"scans/{scan['id']}")).json()


async def test_a_stream_of_an_ended_scan_is_one_event_whatever_was_seen_before(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, scan: dict[str, Any]
) -> None:
    await operator.post(f"scans/{scan['id']}/cancel")
    for headers in ({}, {"Last-Event-ID": "4711"}, {"Last-Event-ID": "'; --"}):
        (event,) = await read(viewer, scan["id"], **headers)
        assert (event[0], event[1]["status"]) == ("end", "cancelled")


async def test_a_stream_has_a_bounded_life(
    viewer: httpx.AsyncClient, scan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_events, "LIFETIME_SECONDS", 0.2)
    async with asyncio.timeout(60):
        events = await read(viewer, scan["id"])
    assert [kind for kind, _ in events] == ["scan"]


async def test_a_server_follows_no_more_scans_than_it_can(
    app: FastAPI, viewer: httpx.AsyncClient, scan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_events, "LIFETIME_SECONDS", 0.2)
    streams = app.state.services.streams
    for _ in range(STREAMS):
        await streams.acquire()
    refused = await viewer.get(f"scans/{scan['id']}/events")
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    streams.release()
    for _ in range(3):  # each gives its place back
        assert await read(viewer, scan["id"])


async def test_a_stream_ends_when_the_process_is_told_to_stop(
    app: FastAPI, viewer: httpx.AsyncClient, scan: dict[str, Any]
) -> None:
    reading = asyncio.create_task(read(viewer, scan["id"]))
    await asyncio.sleep(0.2)
    app.state.services.stopping.set()
    async with asyncio.timeout(60):
        assert [kind for kind, _ in await reading] == ["scan"]
