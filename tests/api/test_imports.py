"""Imports over HTTP: merged as a scan is, or refused by line with nothing of them left."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from contracts.vocabulary import FindingStatus, Role
from storage.database import Database
from storage.scans import imports
from tests.api.conftest import Caller, Team
from tests.api.scripted import Script
from tests.api.stored import make_account, observed, store_scan
from tests.api.test_scans import is_, until

PASS = FindingStatus.PASS
Scan = dict[str, Any]
Import = Callable[..., Awaitable[Scan]]
FINDINGS = [
    observed("s3_bucket_public_access", "assets"),
    observed("s3_bucket_public_access", "logs", PASS),
    observed("s3_bucket_public_access", "tape", FindingStatus.NOT_ASSESSED),
    observed("iam_user_mfa", "alice"),
    observed("iam_user_mfa", "alice")._replace(detail="Her second key."),
    observed("ec2_ebs_encryption", "vol-1", region="us-east-1"),
    observed("ec2_ebs_encryption", "vol-2", region="us-east-1"),
]


@pytest.fixture
async def account(database: Database, team: Team) -> UUID:
    """An account of which nothing is known."""
    return await make_account(database, team.id)


@pytest.fixture
async def records(database: Database, stranger: Team, call: Caller) -> list[Any]:
    """These findings as another installation of ours exports them."""
    elsewhere = await make_account(database, stranger.id)
    await store_scan(database, stranger.id, elsewhere, FINDINGS)
    answer = await call(stranger.keys[Role.VIEWER]).get("findings/export?format=ocsf")
    return [json.loads(line) for line in answer.text.splitlines()]


def lines(records: list[Any]) -> bytes:
    """One record a line."""
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


@pytest.fixture
def imported(script: Script, operator: httpx.AsyncClient, account: UUID) -> Import:
    """Imports a file and waits until it is merged."""

    async def send(content: bytes, status: int = 202, /, **options: Any) -> Scan:
        parameters = {"account_id": str(account), **options.pop("params", {})}
        answer = await operator.post("imports", params=parameters, content=content, **options)
        assert answer.status_code == status, answer.text
        scan: Scan = answer.json()
        async with asyncio.timeout(60):
            while scan["status"] in ("pending", "running"):
                await asyncio.sleep(0.05)
                scan = (await operator.get(f"scans/{scan['id']}")).json()
        return scan

    return send


STAGED = text("""
    SELECT count(*)
    FROM finding_staging AS staged
        JOIN scan_task ON scan_task.id = staged.task_id JOIN scan ON scan.id = scan_task.scan_id
    WHERE scan.account_id = :account_id
""")


async def staged(database: Database, account_id: UUID) -> int:
    """Findings of the account that wait to be merged."""
    async with database.transaction() as session:
        return (await session.execute(STAGED, {"account_id": account_id})).scalar_one()


def found(scan: Scan) -> tuple[int, int, int, int]:
    """New, changed, resolved, unchanged."""
    numbers = scan["counts"]["findings"]
    return numbers["new"], numbers["changed"], numbers["resolved"], numbers["unchanged"]


async def test_a_file_is_merged_as_a_scan_of_the_account(
    imported: Import, operator: httpx.AsyncClient, records: list[Any]
) -> None:
    scan = await imported(lines(records))
    assert (scan["kind"], scan["status"], scan["trigger"]["kind"]) == (
        "import", "completed", "manual",
    )  # fmt: skip
    assert found(scan) == (7, 0, 0, 0)
    assert "resolves nothing" in scan["notes"][0]
    (alice, _) = (await operator.get("findings", params={"q": "alice"})).json()["items"]
    assert (alice["first_scan_id"], alice["title"]) == (scan["id"], "IAM users have MFA")
    assert [scan["id"]] == [
        each["id"] for each in (await operator.get("scans?kind=import")).json()["items"]
    ]


async def test_what_our_own_scan_found_is_unchanged_by_its_export(
    imported: Import, operator: httpx.AsyncClient, database: Database, team: Team, account: UUID
) -> None:
    await store_scan(database, team.id, account, [*FINDINGS, observed("iam_user_mfa", "gone")])
    await store_scan(database, team.id, account, FINDINGS)  # one is gone: resolved, still listed
    before = (await operator.get("findings")).json()
    assert "gone" in {item["resource"]["name"] for item in before["items"]}
    exported = (await operator.get("findings/export?format=ocsf")).content
    for content, options in (
        (exported, {}),
        (exported, {"params": {"complete": True}}),
        (json.dumps([json.loads(each) for each in exported.splitlines()], indent=4).encode(), {}),
    ):
        scan = await imported(content, **options)
        assert found(scan) == (0, 0, 0, 7)
        assert "1 more were left out" in scan["notes"][0]
    after = (await operator.get("findings")).json()
    seen = {"last_seen_at", "last_scan_id"}  # a complete import has seen them again
    assert [{k: v for k, v in item.items() if k not in seen} for item in after["items"]] == [
        {k: v for k, v in item.items() if k not in seen} for item in before["items"]
    ]


async def test_only_a_complete_import_resolves_and_only_what_its_checks_and_regions_lack(
    imported: Import, operator: httpx.AsyncClient, records: list[Any]
) -> None:
    await imported(lines(records))
    fewer = [
        record
        for record in records
        if record["resources"][0]["name"] != "vol-2"
        and record["metadata"]["event_code"] != "iam_user_mfa"
    ]
    assert found(await imported(lines(fewer))) == (0, 0, 0, 4)
    scan = await imported(lines(fewer), params={"complete": True})
    assert found(scan) == (0, 0, 1, 4)
    resolved = (await operator.get("findings?status=fail&state=resolved")).json()["items"]
    assert [item["resource"]["name"] for item in resolved] == ["vol-2"]


async def test_the_file_may_be_packed_an_array_or_in_a_form(
    imported: Import, records: list[Any]
) -> None:
    array = json.dumps(records, indent=2).encode()
    forms: list[tuple[bytes, dict[str, Any]]] = [
        (gzip.compress(array), {}),
        (gzip.compress(array), {"headers": {"Content-Encoding": "gzip"}}),
    ]
    for content, options in forms:
        scan = await imported(content, params={"again": True}, **options)
        assert sum(found(scan)) == 7
    form = httpx.Request(
        "POST", "http://x", files={"file": ("report.ocsf.json.gz", gzip.compress(array))}
    )
    headers = {"Content-Type": form.headers["Content-Type"]}
    scan = await imported(form.read(), headers=headers, params={"again": True})
    assert found(scan) == (0, 0, 0, 7)


async def test_the_same_file_again_is_the_import_before_unless_it_is_wanted_again(
    imported: Import,
    operator: httpx.AsyncClient,
    records: list[Any],
    database: Database,
    account: UUID,
) -> None:
    first = await imported(lines(records))
    assert (await imported(lines(records), 200))["id"] == first["id"]
    assert (await imported(gzip.compress(lines(records)), 200))["id"] == first["id"]
    wanted = await imported(lines(records), params={"again": True})
    assert wanted["id"] != first["id"]
    other = await imported(lines(records), params={"complete": True})  # it does something else
    assert other["id"] not in (first["id"], wanted["id"])
    assert len((await operator.get("scans?kind=import")).json()["items"]) == 3
    assert await staged(database, account) == 0


def without(records: list[Any], index: int, *path: Any) -> list[Any]:
    """The records, one of them without this field."""
    changed = json.loads(json.dumps(records))
    place = changed[index]
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return list(changed)


def of_account(records: list[Any], index: int, uid: str) -> list[Any]:
    """The records, one of them of another account."""
    changed = json.loads(json.dumps(records))
    changed[index]["cloud"]["account"]["uid"] = uid
    return list(changed)


async def test_a_wrong_file_is_refused_by_line_and_loses_nothing(
    imported: Import,
    operator: httpx.AsyncClient,
    records: list[Any],
    database: Database,
    account: UUID,
) -> None:
    await imported(lines(records[:2]))
    before = (await operator.get("findings")).json()
    whole = lines(records)
    array = json.dumps(records, indent=2).encode()
    cases: list[tuple[bytes, str, str]] = [
        (b"", "report_malformed", "The file is empty."),
        (b"no json", "report_malformed", "Line 1: the file is neither"),
        (whole[:-40], "report_malformed", "cut off in line 7, after 6 whole findings"),
        (array[:-40], "report_malformed", "The file is cut off in line"),
        (gzip.compress(whole)[:-40], "report_malformed", "The file is cut off: its gzip"),
        (whole + b'{"a" 1}\n', "report_malformed", "Line 8, column 6: it is no JSON"),
        (lines(without(records, 4, "severity")), "report_malformed",
         "Line 5: `severity` is missing."),
        (lines(without(records, 2, "resources", 0, "uid")), "report_malformed",
         "Line 3: `resources[0].uid` is missing."),
        (json.dumps(without(records, 1, "metadata")).encode(), "report_malformed",
         "Finding 2 (line 1): `metadata` is missing."),
        (lines([{**records[0], "class_uid": 2001}]), "report_malformed",
         "Line 1: it is of class 2001, not 2004."),
        (lines([{**records[0], "severity": "Unknown"}]), "report_malformed",
         "Line 1: `severity` is `Unknown`, not one of"),
        (lines(of_account(records, 3, "999999999999")), "wrong_account",
         "Line 4: it is of the aws account 999999999999; production is the aws account "
         "123456789012."),
    ]  # fmt: skip
    for content, code, words in cases:
        answer = await operator.post(
            "imports", params={"account_id": str(account)}, content=content
        )
        assert answer.status_code == 422, answer.text
        problem = answer.json()
        assert (problem["code"], words in problem["detail"]) == (code, True), problem
        scan = (await operator.get(f"scans/{problem['scan_id']}")).json()
        assert scan["status"] == "failed"
        assert (scan["error"]["code"], scan["error"]["message"]) == (code, problem["detail"])
    assert (await operator.get("findings")).json() == before
    assert await staged(database, account) == 0
    # A file that failed was not imported: put right, it is new.
    assert found(await imported(whole)) == (5, 0, 0, 2)


async def test_an_import_whose_file_is_still_read_cannot_be_resumed(
    operator: httpx.AsyncClient, database: Database, team: Team, account: UUID
) -> None:
    async with database.transaction() as session:
        left = await imports.create_import(
            session, team.id, account, is_complete=False, at=datetime.now(UTC)
        )
    assert (await operator.get(f"scans/{left}")).json()["waiting_for"] == imports.READING
    assert (await operator.post(f"scans/{left}/resume")).status_code == 409


async def test_an_import_waits_for_its_turn_among_the_scans_of_the_account(
    imported: Import,
    script: Script,
    operator: httpx.AsyncClient,
    records: list[Any],
    account: UUID,
) -> None:
    parameters = {"account_id": str(account)}
    running = (await operator.post("scans", json=parameters)).json()
    await until(operator, running, is_("running"))
    answer = await operator.post("imports", params=parameters, content=lines(records))
    waiting = answer.json()
    await until(operator, waiting, lambda scan: running["id"] in (scan["waiting_for"] or ""))
    assert (await operator.post(f"scans/{waiting['id']}/pause")).status_code == 409
    script.go_on.set()
    await until(operator, waiting, is_("completed"))


async def test_an_import_that_temporal_did_not_hear_of_is_started_by_a_resume(
    operator: httpx.AsyncClient, records: list[Any], account: UUID, namespace: Client
) -> None:
    """Nobody polls here: it stays queued, may be cancelled, and its file is not kept."""
    scan = (
        await operator.post("imports", params={"account_id": str(account)}, content=lines(records))
    ).json()
    assert scan["status"] == "pending"
    assert (await operator.post(f"scans/{scan['id']}/resume")).status_code == 202
    assert (await operator.post(f"scans/{scan['id']}/cancel")).json()["status"] == "cancelled"
    assert (await operator.post(f"scans/{scan['id']}/resume")).status_code == 409


async def test_checks_that_nobody_knew_get_their_text_from_the_file_and_known_ones_keep_theirs(
    imported: Import, operator: httpx.AsyncClient, records: list[Any]
) -> None:
    own = json.loads(json.dumps(records[:2]))
    own[0]["metadata"]["event_code"] = "zoo_fence_closed"
    own[0]["finding_info"]["title"] = "The fence is closed"
    own[1]["finding_info"]["title"] = "Another title"
    await imported(lines(own))
    text_of = (await operator.get("checks/zoo_fence_closed")).json()
    assert (text_of["title"], text_of["service"]) == ("The fence is closed", "zoo")
    assert text_of["frameworks"] == {"CIS-5.0": ["1.1"]}
    known = (await operator.get(f"checks/{own[1]['metadata']['event_code']}")).json()
    assert known["title"] != "Another title"


async def test_who_may_not_import_is_refused(
    viewer: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    call: Caller,
    stranger: Team,
    account: UUID,
) -> None:
    parameters = {"account_id": str(account)}
    assert (await viewer.post("imports", params=parameters)).status_code == 403
    theirs = call(stranger.keys[Role.OPERATOR])
    assert (await theirs.post("imports", params=parameters)).status_code == 404
    assert (await operator.post("imports")).status_code == 422
    body = {"name": "new", "provider": "aws", "credentials": {"kind": "environment"}}
    unknown = (await operator.post("accounts", json=body)).json()
    answer = await operator.post("imports", params={"account_id": unknown["id"]}, content=b"[]")
    assert answer.status_code == 409
    assert "no uid yet" in answer.json()["detail"]
