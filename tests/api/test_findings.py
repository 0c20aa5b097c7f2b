"""Findings over HTTP: filtered, paged, counted and shown; and only one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from contracts.vocabulary import FindingStatus, Role, Severity
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account, observed, store_scan

PASS, MANUAL = FindingStatus.PASS, FindingStatus.MANUAL


@dataclass(frozen=True)
class Stored:
    """What is in the store: two accounts, one of them scanned twice."""

    production: UUID
    staging: UUID
    scans: tuple[UUID, UUID, UUID]


@pytest.fixture
async def stored(database: Database, team: Team, stranger: Team) -> Stored:
    """Findings of two accounts, and of another team's."""
    production = await make_account(database, team.id)
    staging = await make_account(database, team.id, "staging")
    first = await store_scan(
        database,
        team.id,
        production,
        [
            observed("s3_bucket_public_access", "assets"),
            observed("s3_bucket_public_access", "logs", PASS),
            observed("iam_user_mfa", "alice"),
            observed("iam_user_mfa", "bob", MANUAL),
            observed("ec2_ebs_encryption", "vol-1", region="us-east-1"),
        ],
    )
    second = await store_scan(
        database,
        team.id,
        production,
        [
            observed("s3_bucket_public_access", "assets", PASS),
            observed("s3_bucket_public_access", "logs", PASS),
        ],
    )
    third = await store_scan(database, team.id, staging, [observed("rds_instance_logging", "db")])
    theirs = await make_account(database, stranger.id)
    await store_scan(database, stranger.id, theirs, [observed("iam_user_mfa", "mallory")])
    return Stored(production, staging, (first, second, third))


def names(page: dict[str, Any]) -> list[str]:
    """The resources of a page's findings, in its order."""
    return [item["resource"]["name"] for item in page["items"]]


async def test_findings_are_listed_worst_first_as_the_contract_has_them(
    viewer: httpx.AsyncClient, stored: Stored
) -> None:
    page = (await viewer.get("findings")).json()
    assert set(names(page)) == {"assets", "logs", "alice", "bob", "vol-1", "db"}
    ranks = [list(Severity).index(Severity(item["severity"])) for item in page["items"]]
    assert ranks == sorted(ranks, reverse=True)
    (alice,) = [item for item in page["items"] if item["resource"]["name"] == "alice"]
    assert alice["first_seen_at"].endswith("Z")
    assert alice == {
        "id": alice["id"], "source": "prowler", "provider": "aws",
        "account_id": str(stored.production), "account_uid": "123456789012",
        "region": "eu-west-1", "service": "iam", "check_id": "iam_user_mfa",
        "title": "IAM users have MFA", "severity": "high", "status": "fail", "state": "open",
        "resource": {"uid": "arn:aws:iam:::alice", "name": "alice", "type": "thing"},
        "detail": "alice was looked at.", "first_seen_at": alice["first_seen_at"],
        "last_seen_at": alice["last_seen_at"], "resolved_at": None,
        "first_scan_id": str(stored.scans[0]), "last_scan_id": str(stored.scans[0]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("severity=critical,low", {"assets", "logs", "db"}),
        ("severity=critical&severity=low", {"assets", "logs", "db"}),
        ("status=fail", {"alice", "vol-1", "db"}),
        ("status=fail,manual&severity=high", {"alice", "bob"}),
        ("state=resolved", {"assets", "logs"}),
        ("service=iam,ec2", {"alice", "bob", "vol-1"}),
        ("region=us-east-1", {"vol-1"}),
        ("source=prowler&check_id=iam_user_mfa", {"alice", "bob"}),
        ("source=trivy", set()),
        ("resource_uid=arn:aws:iam:::alice,arn:aws:rds:::db", {"alice", "db"}),
        ("q=MFA", {"alice", "bob"}),
        ("q=alice", {"alice"}),
        ("q=%25", set()),
        ("q=%27%3B--", set()),
        ("first_seen_after=2020-01-01T00:00:00Z&service=rds", {"db"}),
        ("first_seen_after=2999-01-01T00:00:00%2B02:00", set()),
        ("account_id={staging}", {"db"}),
        ("account_id={production},{staging}&severity=low,high", {"alice", "bob", "db"}),
        ("scan_id={third}", {"db"}),
        ("account_id={nobody}", set()),
    ],
)
async def test_every_filter_selects_what_it_says(
    viewer: httpx.AsyncClient, stored: Stored, query: str, expected: set[str]
) -> None:
    ids = {
        "production": stored.production,
        "staging": stored.staging,
        "third": stored.scans[2],
        "nobody": uuid4(),
    }
    page = await viewer.get(f"findings?{query.format_map(ids)}")
    assert page.status_code == 200, page.text
    assert set(names(page.json())) == expected
    summary = await viewer.get(f"findings/summary?{query.format_map(ids)}")
    assert summary.status_code == 200, summary.text
    counted = summary.json()
    assert counted["total"] == len(expected)
    for group in ("severity", "status", "state", "service", "region"):
        assert sum(counted[group].values()) == len(expected), group


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("severity=hgih,low", "severity", "`hgih` is not allowed. Allowed: informational, low"),
        ("severity=high,,low", "severity", "A value is empty"),
        ("severity=", "severity", "A value is empty"),
        ("status=failed", "status", "Allowed: pass, fail, manual, not_assessed"),
        ("state=closed", "state", "Allowed: open, resolved, muted, accepted"),
        ("account_id=1,2", "account_id", "is not a UUID"),
        ("scan_id=x", "scan_id", "is not a UUID"),
        ("q=", "q", "at least 1"),
        ("q=a%00b", "q", "Control characters"),
        ("service=%00", "service", "Control characters"),
        ("resource_uid=a%0ab", "resource_uid", "Control characters"),
        ("first_seen_after=yesterday", "first_seen_after", "2026-01-31T00:00:00Z"),
        ("first_seen_after=2026-01-31T00:00:00", "first_seen_after", "time zone is missing"),
        ("first_seen_after=2026-01-31T00:00:00+02:00", "first_seen_after", "%2B"),
        ("service=" + ",".join(f"s{n}" for n in range(101)), "service", "At most 100"),
    ],
)
@pytest.mark.parametrize("path", ["findings", "findings/summary"])
async def test_a_filter_that_cannot_be_is_refused_with_what_can(
    viewer: httpx.AsyncClient, path: str, query: str, field: str, words: str
) -> None:
    answer = await viewer.get(f"{path}?{query}")
    assert answer.status_code == 422, answer.text
    errors = [(error["field"], error["message"]) for error in answer.json()["errors"]]
    assert {name for name, _ in errors} == {field}
    assert any(words in message for _, message in errors), errors


async def test_pages_hold_every_finding_once(viewer: httpx.AsyncClient, stored: Stored) -> None:
    whole = (await viewer.get("findings")).json()["items"]
    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await viewer.get("findings", params=parameters)).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole


async def test_a_finding_is_shown_with_its_check_and_its_history(
    viewer: httpx.AsyncClient, stored: Stored
) -> None:
    (assets,) = (await viewer.get("findings?q=assets")).json()["items"]
    shown = (await viewer.get(f"findings/{assets['id']}")).json()
    assert {name: shown[name] for name in assets} == assets
    assert shown["check"]["remediation"] == "What to do."
    assert shown["check"]["frameworks"] == {"CIS-5.0": ["1.1"]}
    assert [event["transition"] for event in shown["history"]] == ["opened", "resolved"]
    assert [event["scan_id"] for event in shown["history"]] == [
        str(scan) for scan in stored.scans[:2]
    ]
    assert shown["state"] == "resolved"
    assert shown["resolved_at"] is not None


async def test_another_teams_finding_is_not_there(
    viewer: httpx.AsyncClient, call: Caller, stranger: Team, stored: Stored
) -> None:
    other = call(stranger.keys[Role.ADMIN])
    (theirs,) = (await other.get("findings")).json()["items"]
    assert theirs["resource"]["name"] == "mallory"
    assert (await viewer.get(f"findings/{theirs['id']}")).status_code == 404
    for query in (f"account_id={theirs['account_id']}", f"scan_id={theirs['first_scan_id']}"):
        assert (await viewer.get(f"findings?{query}")).json()["items"] == []
        assert (await viewer.get(f"findings/summary?{query}")).json()["total"] == 0
    assert (await other.get("findings/summary")).json()["total"] == 1


async def test_a_finding_that_does_not_exist_is_not_found(viewer: httpx.AsyncClient) -> None:
    assert (await viewer.get(f"findings/{uuid4()}")).status_code == 404
    assert (await viewer.get("findings/summary2")).status_code == 422
