"""Schedules while Temporal is away or silent: nothing is half done."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from temporalio.client import Client

from api.app import create_app
from contracts.vocabulary import Role
from runtime.settings import Settings
from tests.api.conftest import Team, open_client
from tests.api.scheduled import (
    add_account,
    add_schedule,
    held,
    scan_of,
    without_temporal,
)
from tests.support.relay import relay_to


async def test_while_temporal_is_away_nothing_is_created_or_changed(
    settings: Settings,
    operator: httpx.AsyncClient,
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
    namespace: Client,
) -> None:
    account = await add_account(operator)
    schedule = await add_schedule(operator, scan_of(account))
    path = f"schedules/{schedule['id']}"
    async with without_temporal(settings, team.keys[Role.ADMIN], monkeypatch) as caller:
        answer = await caller.post("schedules", json=scan_of(account, name="new"))
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
        assert answer.json()["detail"] == "Temporal cannot be reached, so nothing was created."
        assert int(answer.headers["Retry-After"]) > 0
        for method, url, body in (
            ("PATCH", path, {"name": "changed"}), ("POST", f"{path}/pause", {"note": "x"}),
        ):  # fmt: skip
            answer = await caller.request(method, url, json=body)
            assert answer.status_code == 503, url
            assert answer.json()["detail"] == "Temporal cannot be reached, so nothing was changed."
        assert (await caller.post(f"{path}/trigger")).status_code == 503
        run = {"params": {"account_id": account["id"]}}
        assert (await caller.post("jobs/account_check/runs", json=run)).status_code == 503
        assert (await caller.get("schedules")).json()["items"] == [schedule]
        assert (await caller.post("schedules/preview", json=scan_of(account))).status_code == 200
        # Its row counts: what Temporal still holds the reconciler removes.
        assert (await caller.delete(path)).status_code == 204
        assert (await caller.get("schedules")).json()["items"] == []
    assert (await held(namespace, schedule)).id == f"schedule/{schedule['id']}"


async def test_a_row_is_taken_back_when_temporal_falls_silent_in_between(
    settings: Settings,
    team: Team,
    operator: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    namespace: Client,
) -> None:
    account = await add_account(operator)
    port = int(namespace.service_client.config.target_host.rpartition(":")[2])
    async with relay_to(port) as relay:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{relay.port}")
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            open_client(app, team.keys[Role.OPERATOR]) as caller,
        ):
            kept = await add_schedule(caller, scan_of(account, name="kept"))
            relay.freeze()
            new, change = await asyncio.gather(
                caller.post("schedules", json=scan_of(account, name="new")),
                caller.patch(f"schedules/{kept['id']}", json={"name": "changed"}),
            )
            assert new.json()["detail"] == "Temporal cannot be reached, so nothing was created."
            assert change.json()["detail"] == "Temporal cannot be reached, so nothing was changed."
            relay.thaw()
            assert (await caller.get("schedules")).json()["items"] == [kept]
            assert (await caller.post("schedules", json=scan_of(account, name="new"))).is_success
