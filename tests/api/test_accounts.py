"""Accounts: what is accepted, what is refused and in which words, and whose they are."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from api import examples
from contracts.vocabulary import Role
from tests.api.conftest import Caller, Team

ACCOUNT = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}


async def test_an_account_is_created_shown_and_listed(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    made = await operator.post("accounts", json=ACCOUNT | {"regions": ["eu-west-1"]})
    assert made.status_code == 201
    account = made.json()
    assert made.headers["Location"] == f"/api/v1/accounts/{account['id']}"
    assert account["enabled"] is True
    assert account["uid"] is None
    assert (await viewer.get(f"accounts/{account['id']}")).json() == account
    listed = (await viewer.get("accounts")).json()
    assert listed == {"items": [account], "next_cursor": None}


@pytest.mark.parametrize("name", examples.ACCOUNTS)
async def test_the_documented_examples_are_accepted(operator: httpx.AsyncClient, name: str) -> None:
    body: Any = examples.ACCOUNTS[name]["value"]
    answer = await operator.post("accounts", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["credentials"]["kind"] == body["credentials"]["kind"]


async def test_a_taken_name_is_a_conflict(operator: httpx.AsyncClient) -> None:
    await operator.post("accounts", json=ACCOUNT)
    answer = await operator.post("accounts", json=ACCOUNT)
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"
    assert "production" in answer.json()["detail"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "at least 1"),
    ({"name": "two\nlines"}, "name", "control characters"),
    ({"name": "nul\x00"}, "name", "control characters"),
    ({"name": "x" * 101}, "name", "at most 100"),
    ({"provider": "awz"}, "provider", "Allowed: aws, azure, gcp, kubernetes"),
    ({"provider": "gcp", "credentials": {"kind": "profile", "profile": "x"}}, "credentials.kind",
     "Allowed: environment, file, impersonation"),
    ({"credentials": {"kind": "secret"}}, "credentials", "not allowed as `kind`"),
    ({"credentials": {}}, "credentials", "needs `kind`"),
    ({"credentials": {"kind": "role", "role_arn": "x"}}, "credentials.role_arn", "arn:aws:iam::"),
    ({"credentials": {"kind": "profile", "profile": "a b"}}, "credentials.profile", "Name a"),
    ({"credentials": {"kind": "file", "path": "relative"}}, "credentials.path", "absolute path"),
    ({"credentials": {"kind": "environment", "aws_secret_access_key": "shh"}},
     "credentials.aws_secret_access_key", "no such field"),
    ({"regions": []}, "regions", "at least 1"),
    ({"regions": ["eu-west-1", "EU"]}, "regions[1]", "eu-west-1"),
    ({"endpoint_url": "ftp://x"}, "endpoint_url", "https://host:port"),
    ({"endpoint_url": "https://user:password@host"}, "endpoint_url", "without user, password"),
    ({"provider": "azure", "endpoint_url": "https://x"}, "endpoint_url", "Only aws"),
    ({"uid": "12"}, "uid", "12 digits"),
    ({"colour": "red"}, "colour", "no such field"),
    ({"name": None}, "name", "string"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "words"), WRONG)
async def test_wrong_input_names_the_field_and_the_fix(
    operator: httpx.AsyncClient, change: dict[str, Any], field: str, words: str
) -> None:
    answer = await operator.post("accounts", json=ACCOUNT | change)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    messages = {error["field"]: error["message"] for error in problem["errors"]}
    assert words in messages.get(field, ""), messages
    assert "shh" not in answer.text
    assert (await operator.get("accounts")).json()["items"] == []


async def test_only_what_is_sent_changes(operator: httpx.AsyncClient) -> None:
    body = ACCOUNT | {"regions": ["eu-west-1"], "endpoint_url": "http://127.0.0.1:5000"}
    account = (await operator.post("accounts", json=body)).json()
    changed = await operator.patch(f"accounts/{account['id']}", json={"enabled": False})
    assert changed.status_code == 200
    assert changed.json()["enabled"] is False
    assert changed.json()["regions"] == ["eu-west-1"]
    cleared = await operator.patch(
        f"accounts/{account['id']}", json={"regions": None, "endpoint_url": None}
    )
    assert (cleared.json()["regions"], cleared.json()["endpoint_url"]) == (None, None)
    assert cleared.json()["name"] == "production"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"enabled": None}, "enabled"),
        ({"credentials": None}, "credentials"),
        ({"credentials": {"kind": "azure_cli"}}, "credentials.kind"),
        ({"provider": "gcp"}, "provider"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(
    operator: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    account = (await operator.post("accounts", json=ACCOUNT)).json()
    answer = await operator.patch(f"accounts/{account['id']}", json=change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await operator.get(f"accounts/{account['id']}")).json() == account


async def test_a_name_cannot_be_changed_to_one_that_is_taken(operator: httpx.AsyncClient) -> None:
    await operator.post("accounts", json=ACCOUNT)
    other = (await operator.post("accounts", json=ACCOUNT | {"name": "staging"})).json()
    answer = await operator.patch(f"accounts/{other['id']}", json={"name": "production"})
    assert answer.status_code == 409


async def test_a_removed_account_is_gone(
    operator: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    account = (await operator.post("accounts", json=ACCOUNT)).json()
    assert (await operator.delete(f"accounts/{account['id']}")).status_code == 403
    removed = await admin.delete(f"accounts/{account['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await admin.get(f"accounts/{account['id']}")).status_code == 404
    assert (await admin.delete(f"accounts/{account['id']}")).status_code == 404


async def test_another_teams_account_is_not_there(
    operator: httpx.AsyncClient, call: Caller, stranger: Team
) -> None:
    account = (await operator.post("accounts", json=ACCOUNT)).json()
    other = call(stranger.keys[Role.ADMIN])
    path = f"accounts/{account['id']}"
    for answer in (
        await other.get(path),
        await other.patch(path, json={"name": "mine"}),
        await other.delete(path),
        await other.post(f"{path}/check"),
        await other.post("scans", json={"account_id": account["id"]}),
    ):
        assert answer.status_code == 404, answer.text
    assert (await other.get("accounts")).json()["items"] == []
    assert (await operator.get(path)).json() == account


async def test_accounts_are_filtered_and_paged(
    operator: httpx.AsyncClient,
) -> None:
    for number in range(5):
        await operator.post("accounts", json=ACCOUNT | {"name": f"a{number}"})
    await operator.post("accounts", json=ACCOUNT | {"name": "cluster", "provider": "kubernetes"})
    found = (await operator.get("accounts?provider=kubernetes,gcp")).json()
    assert [account["name"] for account in found["items"]] == ["cluster"]
    assert (await operator.get("accounts?enabled=false")).json()["items"] == []
    names: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("accounts", params=parameters)).json()
        names += [account["name"] for account in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(names) == ["a0", "a1", "a2", "a3", "a4", "cluster"]


@pytest.mark.parametrize("identity", ["1", "not-a-uuid", "0" * 31])
async def test_a_malformed_id_is_refused(viewer: httpx.AsyncClient, identity: str) -> None:
    answer = await viewer.get(f"accounts/{identity}")
    assert answer.status_code == 422
    assert "is not a UUID" in answer.json()["errors"][0]["message"]


async def test_an_unknown_id_is_not_found(viewer: httpx.AsyncClient) -> None:
    assert (await viewer.get(f"accounts/{uuid4()}")).status_code == 404
