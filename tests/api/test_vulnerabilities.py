"""`/vulnerabilities`: lists, filters, one with its history, summary, sync."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import httpx
import pytest

from contracts.vocabulary import FindingStatus, Role
from contracts.vulnerabilities import AccountSync
from storage.database import Database
from storage.vulnerabilities import vulnerability_search
from storage.vulnerabilities.vulnerability_sync import sync_account
from tests.api.conftest import Caller, Team
from tests.api.scripted import Script
from tests.api.stored import make_account, observed, store_scan
from tests.support.waiting import until


async def sync(database: Database, team_id: UUID, account_id: UUID) -> None:
    """Sync an account, as a worker does."""
    request = AccountSync(team_id=team_id, account_id=account_id, full=False)
    async with database.transaction() as session:
        await sync_account(session, request, at=datetime.now(UTC))


@pytest.fixture
async def account(database: Database, team: Team) -> UUID:
    """An account with vulnerabilities of each severity but informational."""
    account = await make_account(database, team.id)
    await store_scan(
        database, team.id, account,
        [
            observed("s3_bucket_public_access", "assets"),
            observed("iam_user_mfa", "alice"),
            observed("iam_user_mfa", "bob"),
            observed("ec2_ebs_encryption", "vol-1"),
            observed("rds_instance_logging", "db", FindingStatus.PASS),
        ],
    )  # fmt: skip
    await sync(database, team.id, account)
    return account


async def test_vulnerabilities_are_listed_worst_first_in_pages(
    viewer: httpx.AsyncClient, account: UUID
) -> None:
    titles, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await viewer.get("vulnerabilities", params=query)).json()
        titles += [item["title"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert titles == [
        "S3 buckets are not public", "IAM users have MFA", "IAM users have MFA",
        "EBS volumes are encrypted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("severity=critical,high", 3),
        ("weakness=iam_user_mfa", 2),
        ("status=open", 4),
        ("status=closed,accepted", 0),
        ("q=ALICE", 1),
        ("q=vol", 1),
        ("q=arn:aws:iam:::bob", 1),
        ("q=are not pub", 1),
        ("q=_user_", 2),
        ("q=user alice", 0),
        ("q=%25", 0),
        ("owner=nobody", 0),
        ("sla=on_track,due_soon", 4),
        ("sla=breached", 0),
        ("severity=high&q=bob", 1),
    ],
)
async def test_filters_narrow_lists_and_summaries_alike(
    viewer: httpx.AsyncClient, account: UUID, query: str, count: int
) -> None:
    listed = (await viewer.get(f"vulnerabilities?{query}")).json()
    counted = (await viewer.get(f"vulnerabilities/summary?{query}")).json()
    assert len(listed["items"]) == counted["total"] == count
    assert sum(counted["severity"].values()) == count


async def test_words_that_most_resources_have_find_them_all_the_same(
    viewer: httpx.AsyncClient, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vulnerability_search, "FEW_RESOURCES", 0)
    for q, count in (("alice", 1), ("vol 1", 1), ("VOL", 1), ("encr", 1), ("nobody", 0)):
        listed = (await viewer.get(f"vulnerabilities?q={q}")).json()
        assert len(listed["items"]) == count, q


async def test_a_filter_that_does_not_exist_is_refused(viewer: httpx.AsyncClient) -> None:
    for query in ("status=gone", "sla=never", "account_id=x", "severty=high"):
        assert (await viewer.get(f"vulnerabilities?{query}")).status_code == 422


async def test_one_is_shown_with_its_findings_and_its_history(
    viewer: httpx.AsyncClient, database: Database, team: Team, account: UUID
) -> None:
    await store_scan(
        database, team.id, account,
        [observed("s3_bucket_public_access", "assets", FindingStatus.PASS)],
    )  # fmt: skip
    await sync(database, team.id, account)
    (item,) = (await viewer.get("vulnerabilities?q=assets")).json()["items"]
    found = (await viewer.get(f"vulnerabilities/{item['id']}")).json()
    assert {name: found[name] for name in item} == item
    assert (found["status"], found["account_uid"]) == ("closed", "123456789012")
    (occurrence,) = found["occurrences"]
    finding = (await viewer.get(f"findings/{occurrence['finding_id']}")).json()
    assert finding["resource"]["uid"] == found["resource_uid"]
    assert [event["transition"] for event in found["history"]] == ["opened", "closed"]
    assert found["history"][1]["before"] == {"status": "open", "open_occurrences": 1}


async def test_other_teams_see_nothing(
    call: Caller, viewer: httpx.AsyncClient, account: UUID, stranger: Team
) -> None:
    other = call(stranger.keys[Role.ADMIN])
    (item, *_) = (await viewer.get("vulnerabilities")).json()["items"]
    assert (await other.get("vulnerabilities")).json()["items"] == []
    assert (await other.get(f"vulnerabilities/{item['id']}")).status_code == 404
    assert (await other.get("vulnerabilities/summary")).json()["total"] == 0
    assert (await viewer.get(f"vulnerabilities/{uuid4()}")).status_code == 404


async def test_a_sync_is_started_by_operators_only(
    script: Script, viewer: httpx.AsyncClient, operator: httpx.AsyncClient,
    database: Database, team: Team,
) -> None:  # fmt: skip
    account = await make_account(database, team.id)
    await store_scan(database, team.id, account, [observed("iam_user_mfa", "alice")])
    assert (await viewer.post("vulnerabilities/sync", json={})).status_code == 403
    answer = await operator.post("vulnerabilities/sync", json={"full": True})
    assert answer.status_code == 202
    assert answer.json() == {"workflow_id": f"sync/{team.id}"}

    async def is_synced() -> bool:
        return bool((await viewer.get("vulnerabilities")).json()["items"])

    await until(is_synced)
