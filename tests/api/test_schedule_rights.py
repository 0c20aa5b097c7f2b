"""Who may see, change and run which schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import httpx
from fastapi import FastAPI

from contracts.keys import NewKey
from contracts.schedules import JobTarget, NewSchedule
from contracts.vocabulary import Role
from storage.database import Database
from storage.keys import create_key
from storage.schedules import schedules
from tests.api.conftest import Caller, Team
from tests.api.scheduled import (
    NIGHTLY,
    add_account,
    add_schedule,
    errors_of,
    scan_of,
)


async def test_another_teams_schedule_is_not_there(
    operator: httpx.AsyncClient, call: Caller, stranger: Team
) -> None:
    account = await add_account(operator)
    schedule = await add_schedule(operator, scan_of(account))
    other = call(stranger.keys[Role.ADMIN])
    path = f"schedules/{schedule['id']}"
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    for method, url, body in (
        ("GET", path, None), ("GET", f"{path}/runs", None), ("PATCH", path, {"name": "mine"}),
        ("DELETE", path, None), ("POST", f"{path}/pause", {}), ("POST", f"{path}/resume", {}),
        ("POST", f"{path}/trigger", {}), ("POST", f"{path}/backfill", span),
    ):  # fmt: skip
        answer = await other.request(method, url, json=body)
        assert answer.status_code == 404, url
    assert (await other.get("schedules")).json()["items"] == []
    assert (await other.get(f"schedules?account_id={account['id']}")).json()["items"] == []
    errors = errors_of(await other.post("schedules", json=scan_of(account)))
    assert "no such account in this team" in errors["target.account_id"]
    assert (await operator.get(path)).json() == schedule


async def test_each_call_has_its_role(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    body = scan_of(await add_account(operator))
    schedule = await add_schedule(operator, body)
    path = f"schedules/{schedule['id']}"
    assert (await viewer.post("schedules/preview", json=body)).status_code == 200
    for method, url in (
        ("POST", "schedules"), ("PATCH", path), ("POST", f"{path}/pause"),
        ("POST", f"{path}/resume"), ("POST", f"{path}/trigger"), ("POST", f"{path}/backfill"),
        ("DELETE", path), ("POST", "jobs/account_check/runs"), ("POST", "tracked-items"),
    ):  # fmt: skip
        assert (await viewer.request(method, url, json={})).status_code == 403, url
    assert (await operator.delete(path)).status_code == 403
    assert (await admin.delete(path)).status_code == 204


async def test_jobs_of_the_installation_are_for_its_admins(
    admin: httpx.AsyncClient, call: Caller, database: Database
) -> None:
    target = {"kind": "job", "job": "expiry_sweep"}
    body = {"name": f"sweep {uuid4()}", "target": target, "trigger": NIGHTLY, "paused": True}
    refused = await admin.post("schedules", json=body)
    assert refused.status_code == 403
    assert "whole installation" in refused.json()["detail"]
    assert (await admin.post("jobs/schedule_reconciler/runs")).status_code == 403

    async with database.transaction() as session:
        first = await schedules.installation(session)
        keys = {
            role: await create_key(
                session, first, NewKey(name=role.value, role=role), at=datetime.now(UTC)
            )
            for role in (Role.OPERATOR, Role.ADMIN)
        }
    own_operator, own_admin = call(keys[Role.OPERATOR].key), call(keys[Role.ADMIN].key)
    assert (await own_operator.post("schedules", json=body)).status_code == 403
    schedule = await add_schedule(own_admin, body)
    path = f"schedules/{schedule['id']}"
    for action in ("pause", "resume", "trigger"):
        assert (await own_operator.post(f"{path}/{action}")).status_code == 403
    assert (await own_operator.patch(path, json={"name": "x"})).status_code == 403
    assert (await own_operator.get(path)).status_code == 200
    assert (await own_admin.delete(path)).status_code == 204


async def test_a_default_schedule_is_changed_but_neither_deleted_nor_given_another_job(
    call: Caller, database: Database, app: FastAPI
) -> None:
    new = NewSchedule.model_validate(
        {"name": "expiry_sweep", "target": JobTarget(job="expiry_sweep"), "trigger": NIGHTLY,
         "paused": True}
    )  # fmt: skip
    now = datetime.now(UTC)
    async with database.transaction() as session:
        first = await schedules.installation(session)
        await schedules.create_schedule(session, first, new, at=now, default_of="expiry_sweep")
        kept = await schedules.default_schedule(session, first, "expiry_sweep")
        key = await create_key(session, first, NewKey(name="own", role=Role.ADMIN), at=now)
    assert kept is not None
    caller, path = call(key.key), f"schedules/{kept.id}"
    assert (await caller.get(path)).json()["is_default"] is True
    refused = await caller.delete(path)
    assert refused.status_code == 409
    assert "default schedule" in refused.json()["detail"]
    other = {"target": {"kind": "job", "job": "schedule_reconciler"}}
    assert "cannot change" in errors_of(await caller.patch(path, json=other))["target.job"]
    changed = await caller.patch(path, json={"overlap": "queue"})
    assert (changed.status_code, changed.json()["overlap"]) == (200, "queue")
