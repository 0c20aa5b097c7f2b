"""`/sla` and `/notices`: the policy of a team, and what people were told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from contracts.vocabulary import Role
from storage.database import Database
from storage.vulnerabilities.sla_checks import check_step
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account, observed, store_scan
from tests.api.test_vulnerabilities import sync

DEFAULT = {"critical": 7, "high": 30, "medium": 90, "low": 120, "informational": None}


async def test_the_policy_has_defaults_and_is_replaced_by_admins(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, admin: httpx.AsyncClient,
    call: Caller, stranger: Team,
) -> None:  # fmt: skip
    default = {"days": DEFAULT, "restart_on_reopen": True}
    assert (await viewer.get("sla")).json() == default
    new = {"days": {"critical": 3, "low": None}, "restart_on_reopen": False}
    assert (await operator.put("sla", json=new)).status_code == 403
    saved = await admin.put("sla", json=new)
    assert saved.json() == {
        "days": {**DEFAULT, "critical": 3, "low": None}, "restart_on_reopen": False,
    }  # fmt: skip
    assert (await viewer.get("sla")).json() == saved.json()
    assert (await call(stranger.keys[Role.VIEWER]).get("sla")).json() == default


@pytest.mark.parametrize(
    "body",
    [
        {"days": {"critical": 0}},
        {"days": {"critical": 3651}},
        {"days": {"urgent": 3}},
        {"days": {"critical": "soon"}},
        {"restart": True},
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused(
    admin: httpx.AsyncClient, body: dict[str, object]
) -> None:
    assert (await admin.put("sla", json=body)).status_code == 422


async def test_notices_are_listed_newest_first_and_by_kind(
    viewer: httpx.AsyncClient, database: Database, team: Team, call: Caller, stranger: Team
) -> None:
    account = await make_account(database, team.id)
    await store_scan(
        database, team.id, account,
        [observed("s3_bucket_public_access", "assets"), observed("iam_user_mfa", "alice")],
    )  # fmt: skip
    await sync(database, team.id, account)
    now = datetime.now(UTC)
    for days in (5, 8, 31):
        async with database.transaction() as session:
            await check_step(session, at=now + timedelta(days=days), limit=1000)
    page = (await viewer.get("notices?limit=2")).json()
    rest = (await viewer.get("notices", params={"cursor": page["next_cursor"]})).json()
    told = [(each["kind"], each["severity"]) for each in page["items"] + rest["items"]]
    assert told == [("breached", "high"), ("breached", "critical"), ("upcoming", "critical")]
    soon = (await viewer.get("notices?kind=upcoming")).json()["items"]
    assert [each["title"] for each in soon] == ["S3 buckets are not public"]
    assert (await call(stranger.keys[Role.ADMIN]).get("notices")).json()["items"] == []
    assert (await viewer.get("notices?kind=late")).status_code == 422
