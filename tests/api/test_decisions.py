"""`/vulnerabilities/{id}/decisions` and `/mute-rules`: who may decide what, and what it does."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from api.examples import DECISIONS, MUTE_RULES
from contracts.vocabulary import Role
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account, observed, store_scan
from tests.api.test_vulnerabilities import sync

ACCEPT = DECISIONS["accept"]["value"]


@pytest.fixture
async def account(database: Database, team: Team) -> UUID:
    """An account with two vulnerabilities."""
    account = await make_account(database, team.id)
    await store_scan(
        database, team.id, account,
        [observed("s3_bucket_public_access", "assets"), observed("iam_user_mfa", "alice")],
    )  # fmt: skip
    await sync(database, team.id, account)
    return account


async def worst(caller: httpx.AsyncClient) -> str:
    """The path of the worst vulnerability."""
    page = (await caller.get("vulnerabilities?limit=1")).json()
    return f"vulnerabilities/{page['items'][0]['id']}"


@pytest.mark.parametrize("name", DECISIONS)
async def test_every_example_is_accepted_where_it_may_be(
    operator: httpx.AsyncClient, account: UUID, name: str
) -> None:
    path = await worst(operator)
    if name == "reopen":
        await operator.post(f"{path}/decisions", json=ACCEPT)
    answer = await operator.post(f"{path}/decisions", json=DECISIONS[name]["value"])
    assert answer.status_code == 200, answer.text
    event = answer.json()["history"][-1]
    assert event["who"] == "operator"
    assert answer.json() == (await operator.get(path)).json()


async def test_an_accepted_risk_leaves_counts_and_stays_visible(
    operator: httpx.AsyncClient, account: UUID
) -> None:
    path = await worst(operator)
    decided = (await operator.post(f"{path}/decisions", json=ACCEPT)).json()
    assert (decided["status"], decided["accepted_until"]) == ("accepted", "2099-06-30T12:00:00Z")
    assert (await operator.get("findings/summary?state=open")).json()["total"] == 1
    (finding,) = (await operator.get("findings?state=accepted")).json()["items"]
    assert finding["resource"]["name"] == "assets"
    history = (await operator.get(f"findings/{finding['id']}")).json()["history"]
    assert history[-1]["after"] == {"state": "accepted"}
    again = await operator.post(f"{path}/decisions", json={"action": "in_progress"})
    assert again.status_code == 409
    assert again.json()["fix"] == "Reopen it first."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "accept", "reason": "No expiry."}, "until"),
        ({"action": "accept", "until": "2099-01-01T00:00:00Z"}, "reason"),
        ({"action": "accept", "reason": "x", "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"action": "accept", "reason": "x", "until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"action": "accept", "reason": "x", "until": "2099-01-01T00:00:00"}, "until"),
        ({"action": "false_positive"}, "reason"),
        ({"action": "comment", "comment": ""}, "comment"),
        ({"action": "assign"}, "owner"),
        ({"action": "mute"}, "body"),
        ({"action": "reopen", "until": "2099-01-01T00:00:00Z"}, "until"),
        ({}, "body"),
    ],
)
async def test_a_decision_that_says_too_little_is_refused(
    operator: httpx.AsyncClient, account: UUID, body: dict[str, str], field: str
) -> None:
    answer = await operator.post(f"{await worst(operator)}/decisions", json=body)
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]


async def test_viewers_and_strangers_decide_nothing(
    viewer: httpx.AsyncClient, call: Caller, stranger: Team, account: UUID
) -> None:
    path = await worst(viewer)
    other = call(stranger.keys[Role.ADMIN])
    assert (await viewer.post(f"{path}/decisions", json=ACCEPT)).status_code == 403
    assert (await other.post(f"{path}/decisions", json=ACCEPT)).status_code == 404
    assert (await viewer.post("mute-rules", json={"region": "x", "reason": "y"})).status_code == 403


@pytest.mark.parametrize("name", MUTE_RULES)
async def test_every_example_of_a_mute_rule_is_accepted(
    operator: httpx.AsyncClient, name: str
) -> None:
    body = MUTE_RULES[name]["value"]
    answer = await operator.post("mute-rules", json=body)
    assert answer.status_code == 201, answer.text
    rule = answer.json()
    assert {field: rule[field] for field in body} == body
    assert (rule["created_by"], rule["enabled"]) == ("operator", True)
    assert (await operator.get(f"mute-rules/{rule['id']}")).json() == rule
    assert (await operator.get("mute-rules")).json()["items"] == [rule]


async def test_a_mute_rule_is_previewed_applied_and_taken_back(
    operator: httpx.AsyncClient, call: Caller, stranger: Team,
    database: Database, team: Team, account: UUID,
) -> None:  # fmt: skip
    criteria = {"check_id": "iam_user_mfa", "account_id": str(account)}
    shown = (await operator.post("mute-rules/preview", json=criteria)).json()
    assert shown == {"total": 1, "severity": {"high": 1}, "accounts": 1}
    made = await operator.post("mute-rules", json={**criteria, "reason": "SSO does that."})
    rule = made.headers["Location"].removeprefix("/api/v1/")
    await sync(database, team.id, account)
    assert (await operator.get("findings/summary")).json()["state"] == {"open": 1, "muted": 1}
    other = call(stranger.keys[Role.ADMIN])
    assert (await other.get(rule)).status_code == 404
    assert (await other.delete(rule)).status_code == 404
    assert (await other.post("mute-rules/preview", json=criteria)).status_code == 404
    assert (await operator.delete(rule)).status_code == 204
    assert (await operator.get(rule)).status_code == 404
    await sync(database, team.id, account)
    assert (await operator.get("findings/summary")).json()["state"] == {"open": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "Everything."},
        {"region": "x"},
        {"region": "x", "reason": "y", "until": "2020-01-01T00:00:00Z"},
        {"tag": "env", "reason": "y"},
        {"region": "", "reason": "y"},
    ],
)
async def test_a_mute_rule_that_says_too_little_is_refused(
    operator: httpx.AsyncClient, body: dict[str, str]
) -> None:
    assert (await operator.post("mute-rules", json=body)).status_code == 422


async def test_a_mute_rule_of_no_account_is_refused(operator: httpx.AsyncClient) -> None:
    body = {"account_id": str(uuid4()), "reason": "y"}
    assert (await operator.post("mute-rules", json=body)).status_code == 404
