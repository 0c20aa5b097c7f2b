"""Keys and roles: who gets in, and how far."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from api.auth import OPEN_PATHS
from contracts.vocabulary import Role
from storage.database import Database
from storage.keys import list_keys
from tests.api.conftest import Caller, Team

WRONG_KEYS = [
    "",
    "Bearer",
    "Bearer ",
    "Basic YTpi",
    "Bearer csk_unknown",
    "Bearer ünicode",
    "csk_x",
]


def every_call(app: FastAPI) -> list[tuple[str, str, str]]:
    """(method, path with ids filled in, needed role) of every documented call that needs a key."""
    document = app.openapi()
    calls = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path in OPEN_PATHS:
                continue
            (role,) = operation["security"][0]["key"]
            filled = path.replace("{check_id}", "x")
            for name in ("account", "scan", "finding", "resource", "key"):
                filled = filled.replace(f"{{{name}_id}}", str(uuid4()))
            calls.append((method.upper(), filled, role))
    return calls


async def test_every_call_but_the_open_ones_needs_a_key(
    app: FastAPI, anonymous: httpx.AsyncClient
) -> None:
    calls = every_call(app)
    assert len(calls) > 20
    for method, path, _ in calls:
        answer = await anonymous.request(method, f"http://api{path}", content=b"{broken")
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["fix"]


@pytest.mark.parametrize("header", WRONG_KEYS)
async def test_a_malformed_or_unknown_key_is_refused(call: Caller, header: str) -> None:
    answer = await call(None).get("accounts", headers=[(b"authorization", header.encode())])
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert "csk_unknown" not in answer.text


async def test_an_address_that_does_not_exist_tells_strangers_nothing(
    anonymous: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    assert (await anonymous.get("nothing")).status_code == 401
    answer = await viewer.get("nothing")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["healthz", "readyz", "openapi.json", "docs", "redoc", "docs/assets/swagger-ui.css"]
)
async def test_the_open_paths_answer_without_a_key(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(f"http://api/{path}")).status_code == 200


@pytest.mark.parametrize(
    "path", ["docs/assets/../../../etc/passwd", "docs/assets/%2e%2e/%2e%2e/pyproject.toml"]
)
async def test_the_open_assets_lead_nowhere_else(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(f"http://api/{path}")).status_code in (401, 404)


async def test_each_role_may_do_what_it_needs_and_no_more(
    app: FastAPI, call: Caller, team: Team
) -> None:
    ranks = list(Role)
    for method, path, needed in every_call(app):
        for role in Role:
            if path.endswith(("/check", "/events")) or path == "/metrics":
                continue
            answer = await call(team.keys[role]).request(method, f"http://api{path}", json={})
            is_allowed = ranks.index(role) >= ranks.index(Role(needed))
            assert (answer.status_code != 403) == is_allowed, (method, path, role, answer.text)
            if not is_allowed:
                assert needed in answer.json()["detail"]


async def test_a_viewer_learns_of_the_role_before_the_input(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.post("scans", json={"nonsense": 1})
    assert answer.status_code == 403
    assert "operator" in answer.json()["detail"]


async def test_a_revoked_key_stops_at_once(admin: httpx.AsyncClient, call: Caller) -> None:
    made = (await admin.post("keys", json={"name": "short-lived"})).json()
    holder = call(made["key"])
    assert (await holder.get("accounts")).status_code == 200
    assert (await admin.delete(f"keys/{made['id']}")).status_code == 200
    assert (await holder.get("accounts")).status_code == 401


async def test_a_key_remembers_when_it_was_used(
    viewer: httpx.AsyncClient, team: Team, database: Database
) -> None:
    before = datetime.now(UTC)
    await viewer.get("accounts")
    async with database.transaction() as session:
        keys = (await list_keys(session, team.id, limit=10)).items
    (used,) = [key for key in keys if key.role is Role.VIEWER]
    assert used.last_used_at is not None
    assert used.last_used_at >= before


async def test_no_secret_comes_back_in_an_error(viewer: httpx.AsyncClient, team: Team) -> None:
    for path in ("nothing", "accounts?x=1", f"accounts/{uuid4()}", "keys"):
        text = (await viewer.get(path)).text
        assert team.keys[Role.VIEWER] not in text
        assert "Traceback" not in json.dumps(text)
