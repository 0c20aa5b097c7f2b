"""Resources and checks over HTTP."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from contracts.observations import ObservedResource
from contracts.vocabulary import Role
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.stored import TITLES, make_account, store_scan


def resource(name: str, kind: str, region: str = "eu-west-1", **tags: str) -> ObservedResource:
    """One row of the inventory."""
    return ObservedResource(
        uid=f"arn:aws:::{name}", type=kind, name=name, region=region, tags=tags,
        attributes={"size": 3},
    )  # fmt: skip


@pytest.fixture
async def stored(database: Database, team: Team, stranger: Team) -> str:
    """Resources of one account, and of another team's; returns the account's id."""
    account = await make_account(database, team.id)
    await store_scan(
        database,
        team.id,
        account,
        resources=[
            resource("assets", "s3_bucket", env="prod", team="web"),
            resource("logs", "s3_bucket", env="test"),
            resource("vol-1", "ebs_volume", "us-east-1", env="prod"),
        ],
    )
    theirs = await make_account(database, stranger.id)
    await store_scan(database, stranger.id, theirs, resources=[resource("secret", "s3_bucket")])
    return str(account)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"assets", "logs", "vol-1"}),
        ("type=s3_bucket", {"assets", "logs"}),
        ("type=s3_bucket,ebs_volume&region=us-east-1", {"vol-1"}),
        ("tag=env:prod", {"assets", "vol-1"}),
        ("tag=env:prod,team:web", {"assets"}),
        ("tag=env:prod&tag=team:web", {"assets"}),
        ("tag=env:", set()),
        ("q=assets", {"assets"}),
        ("q=%25", None),
        ("account_id={account}", {"assets", "logs", "vol-1"}),
        ("account_id={nobody}", set()),
    ],
)
async def test_resources_are_filtered(
    viewer: httpx.AsyncClient, stored: str, query: str, expected: set[str] | None
) -> None:
    answer = await viewer.get(f"resources?{query.format(account=stored, nobody=uuid4())}")
    assert answer.status_code == 200, answer.text
    if expected is not None:
        assert {item["name"] for item in answer.json()["items"]} == expected


async def test_a_resource_is_shown_and_only_to_its_team(
    viewer: httpx.AsyncClient, call: Caller, stranger: Team, stored: str
) -> None:
    (listed,) = (await viewer.get("resources?q=assets")).json()["items"]
    shown = (await viewer.get(f"resources/{listed['id']}")).json()
    assert shown == listed
    assert shown["tags"] == {"env": "prod", "team": "web"}
    assert shown["attributes"] == {"size": 3}
    other = call(stranger.keys[Role.ADMIN])
    assert (await other.get(f"resources/{listed['id']}")).status_code == 404
    assert [item["name"] for item in (await other.get("resources")).json()["items"]] == ["secret"]


@pytest.mark.parametrize("tag", ["env", ":prod", ""])
async def test_a_tag_that_is_no_pair_is_refused(viewer: httpx.AsyncClient, tag: str) -> None:
    answer = await viewer.get("resources", params={"tag": tag})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "tag"


async def test_checks_are_listed_filtered_and_shown(viewer: httpx.AsyncClient, stored: str) -> None:
    listed = (await viewer.get("checks?provider=aws&source=prowler&limit=500")).json()["items"]
    assert set(TITLES) <= {check["check_id"] for check in listed}
    found = (await viewer.get("checks?service=iam&severity=high&framework=CIS-5.0&q=mfa")).json()
    assert [check["check_id"] for check in found["items"]] == ["iam_user_mfa"]
    shown = (await viewer.get("checks/iam_user_mfa")).json()
    assert shown == found["items"][0]
    assert (await viewer.get("checks/nothing_like_it")).status_code == 404
    assert (await viewer.get("checks/a%00b")).status_code == 422


async def test_checks_are_paged(viewer: httpx.AsyncClient, stored: str) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "1", "provider": "aws"} | ({"cursor": cursor} if cursor else {})
        page = (await viewer.get("checks", params=parameters)).json()
        seen += [check["check_id"] for check in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert set(TITLES) <= set(seen)
