"""`/retention`: policies, previews and legal holds of a team."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities.retention import RetentionActivities
from contracts.retention import DEFAULT_DAYS, RetentionStep
from contracts.vocabulary import FindingStatus, Role
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account, observed, store_scan

KINDS = ["events", "resolved_findings", "scans", "runs", "gone_resources"]
HOLD = {"name": "case 4711", "reason": "The court asked.", "severity": ["critical"]}


async def days(caller: httpx.AsyncClient) -> dict[str, int | None]:
    """Kept for so many days, by kind."""
    items = (await caller.get("retention")).json()["items"]
    return {item["kind"]: item["keep_days"] for item in items}


async def preview(caller: httpx.AsyncClient, body: Any = None) -> dict[str, dict[str, Any]]:
    """What would be deleted, by kind."""
    answer = await caller.post("retention/preview", json=body)
    assert answer.status_code == 200, answer.text
    return {each["kind"]: each for each in answer.json()["kinds"]}


async def test_policies_have_defaults_and_are_changed_by_admins(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, admin: httpx.AsyncClient,
    call: Caller, stranger: Team,
) -> None:  # fmt: skip
    assert await days(viewer) == dict(DEFAULT_DAYS)
    assert list(await days(viewer)) == KINDS
    assert (await operator.put("retention/events", json={"keep_days": 9})).status_code == 403
    changed = (await admin.put("retention/events", json={"keep_days": 9})).json()
    assert (changed["keep_days"], changed["updated_by"], changed["is_default"]) == (
        *(9, "admin", False),
    )
    assert (await admin.put("retention/runs", json={"keep_days": None})).status_code == 200
    assert await days(viewer) == {**DEFAULT_DAYS, "events": 9, "runs": None}
    assert await days(call(stranger.keys[Role.VIEWER])) == dict(DEFAULT_DAYS)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("events", {"keep_days": 0}, "at least 1"),
        ("events", {"keep_days": 36_501}, "at most 36500"),
        ("events", {"keep_days": "soon"}, "not a whole number"),
        ("events", {"keep_days": 1.5}, "not a whole number"),
        ("events", {}, "required"),
        ("events", {"keep_days": 5, "days": 5}, "no such field"),
        ("scan", {"keep_days": 5}, "Allowed: events, resolved_findings"),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused_with_its_field(
    admin: httpx.AsyncClient, path: str, body: dict[str, object], words: str
) -> None:
    answer = await admin.put(f"retention/{path}", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] in ("keep_days", "days", "kind")
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x"}, "required"),
        ({"name": "x", "reason": "y"}, "Name at least one of kinds, account_id"),
        (
            {**HOLD, "kinds": ["runs"]},
            "Of runs there is no severity to name. They have account_id, job.",
        ),
        ({**HOLD, "kinds": []}, "at least 1 value"),
        ({**HOLD, "kinds": ["run"]}, "Allowed: events"),
        ({**HOLD, "job": "sla_check"}, "No kind of row has all of job, severity"),
        ({**HOLD, "severity": ["urgent"]}, "Allowed: informational, low"),
        ({**HOLD, "tag": "env"}, "key:value"),
        ({**HOLD, "until": "2099-01-01T00:00:00Z"}, "no such field"),
        ({**HOLD, "reason": "two\nlines"}, "no control characters"),
    ],
)
async def test_a_hold_that_makes_no_sense_is_refused(
    admin: httpx.AsyncClient, body: dict[str, object], words: str
) -> None:
    answer = await admin.post("retention/holds", json=body)
    assert answer.status_code == 422
    assert words.lower() in answer.text.lower()
    assert (await admin.get("retention/holds")).json()["items"] == []


async def test_a_preview_takes_other_policies_or_none(viewer: httpx.AsyncClient) -> None:
    stored = await preview(viewer)
    assert list(stored) == KINDS
    assert {each["deletes"] for each in stored.values()} == {0}
    other = await preview(viewer, {"keep_days": {"events": None, "scans": 7}})
    assert (other["events"]["before"], other["scans"]["keep_days"]) == (None, 7)
    assert (await preview(viewer, {}))["scans"]["keep_days"] == 180
    for wrong in ({"keep_days": {"scan": 7}}, {"keep_days": {"scans": 0}}, {"scans": 7}, [7]):
        refused = await viewer.post("retention/preview", json=wrong)
        assert refused.status_code == 422, wrong


async def test_holds_are_made_read_and_lifted(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, admin: httpx.AsyncClient,
    call: Caller, stranger: Team,
) -> None:  # fmt: skip
    assert (await operator.post("retention/holds", json=HOLD)).status_code == 403
    made = await admin.post("retention/holds", json=HOLD)
    assert made.status_code == 201
    path = made.headers["Location"].removeprefix("/api/v1/")
    assert (await viewer.get(path)).json() == made.json()
    assert (made.json()["created_by"], made.json()["lifted_at"]) == ("admin", None)
    again = await admin.post("retention/holds", json=HOLD)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    other = call(stranger.keys[Role.ADMIN])
    assert (await other.get(path)).status_code == 404
    assert (await other.delete(path)).status_code == 404
    assert (await other.get("retention/holds")).json()["items"] == []
    assert (await operator.delete(path)).status_code == 403
    for _ in range(2):
        assert (await admin.delete(path)).status_code == 204
    lifted = (await viewer.get("retention/holds?lifted=true")).json()["items"]
    assert [(each["name"], each["lifted_by"]) for each in lifted] == [("case 4711", "admin")]
    assert (await viewer.get("retention/holds")).json()["items"] == []
    assert (await admin.post("retention/holds", json=HOLD)).status_code == 201
    assert (await admin.delete(f"retention/holds/{uuid4()}")).status_code == 404
    missing = await admin.post(
        "retention/holds", json={"name": "y", "reason": "z", "account_id": str(uuid4())}
    )
    assert missing.status_code == 404


async def test_a_cycle_deletes_what_the_preview_said_and_a_hold_keeps_the_rest(
    admin: httpx.AsyncClient, database: Database, team: Team
) -> None:
    account = await make_account(database, team.id)
    checks = ("s3_bucket_public_access", "iam_user_mfa")
    for status in (FindingStatus.FAIL, FindingStatus.PASS):
        rows = [observed(check, "thing", status) for check in checks]
        await store_scan(database, team.id, account, rows)
    hold = (await admin.post("retention/holds", json=HOLD)).json()
    for kind in KINDS:
        assert (await admin.put(f"retention/{kind}", json={"keep_days": 30})).status_code == 200
    step = RetentionStep(
        cycle=uuid4(), team_id=team.id, at=datetime.now(UTC) + timedelta(days=31), limit=10
    )
    activities = RetentionActivities(database, None)
    done = await ActivityEnvironment().run(activities.delete_old, step)
    assert done.counts == {"resolved_findings": 1, "scans": 1}
    shown = {item["kind"]: item for item in (await admin.get("retention")).json()["items"]}
    assert shown["resolved_findings"]["last_deleted"] == 1
    assert shown["events"]["last_deleted_at"] is None
    left = (await admin.get("findings")).json()["items"]
    assert [each["check_id"] for each in left] == ["s3_bucket_public_access"]
    refused = await admin.delete(f"accounts/{account}")
    assert (refused.status_code, "case 4711" in refused.json()["detail"]) == (409, True)
    await admin.delete(f"retention/holds/{hold['id']}")
    assert (await admin.delete(f"accounts/{account}")).status_code == 204
