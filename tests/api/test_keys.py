"""Keys: made once, shown once, revoked for good."""

from __future__ import annotations

import httpx

from contracts.vocabulary import Role
from tests.api.conftest import Caller, Team


async def test_a_new_key_works_and_its_secret_is_shown_once(
    admin: httpx.AsyncClient, call: Caller
) -> None:
    answer = await admin.post("keys", json={"name": "ci", "role": "operator"})
    assert answer.status_code == 201
    key = answer.json()
    assert key["key"].startswith(key["prefix"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await call(key["key"]).get("accounts")).status_code == 200
    listed = await admin.get("keys")
    assert key["key"] not in listed.text
    (shown,) = [item for item in listed.json()["items"] if item["id"] == key["id"]]
    assert (shown["name"], shown["role"]) == ("ci", "operator")


async def test_only_admins_see_keys(operator: httpx.AsyncClient, viewer: httpx.AsyncClient) -> None:
    for caller in (operator, viewer):
        assert (await caller.get("keys")).status_code == 403
        assert (await caller.post("keys", json={"name": "x"})).status_code == 403


async def test_the_last_admin_key_cannot_be_revoked(admin: httpx.AsyncClient) -> None:
    keys = (await admin.get("keys")).json()["items"]
    (own,) = [key for key in keys if key["role"] == "admin"]
    answer = await admin.delete(f"keys/{own['id']}")
    assert answer.status_code == 409
    assert "last admin key" in answer.json()["detail"]
    other = (await admin.post("keys", json={"name": "second", "role": "admin"})).json()
    assert (await admin.delete(f"keys/{other['id']}")).json()["revoked_at"] is not None
    assert (await admin.get("keys")).status_code == 200


async def test_another_teams_key_is_not_there(
    admin: httpx.AsyncClient, call: Caller, stranger: Team
) -> None:
    key = (await admin.post("keys", json={"name": "ours"})).json()
    other = call(stranger.keys[Role.ADMIN])
    assert (await other.delete(f"keys/{key['id']}")).status_code == 404
    assert len((await other.get("keys")).json()["items"]) == len(Role)


async def test_a_role_that_does_not_exist_is_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("keys", json={"name": "x", "role": "root"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "role"
    assert "Allowed: viewer, operator, admin" in error["message"]
