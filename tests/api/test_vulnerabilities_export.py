"""Exports of vulnerabilities: each once, under the filters of the list, in bounded memory."""

from __future__ import annotations

import csv
import gc
import io
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from api import exports, vulnerability_export
from contracts.errors import DatabaseUnavailable
from contracts.vocabulary import ExportFormat, FindingStatus, Role
from contracts.vulnerabilities import Vulnerability, VulnerabilityFilter
from storage.database import Database
from storage.vulnerabilities import vulnerability_export as evidence
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account, observed, store_scan
from tests.api.test_vulnerabilities import sync

MANY = 2_000


@pytest.fixture
async def account(database: Database, team: Team) -> UUID:
    """Vulnerabilities of three severities; one has two occurrences, one is closed."""
    account = await make_account(database, team.id)
    for status in (FindingStatus.FAIL, FindingStatus.PASS):
        await store_scan(
            database, team.id, account,
            [
                *(observed("s3_bucket_public_access", f"bucket-{n}") for n in range(4)),
                observed("s3_bucket_public_access", "bucket-0", region="us-east-1"),
                observed("iam_user_mfa", "alice"),
                observed("iam_user_mfa", "bob", status),
                observed("ec2_ebs_encryption", "vol-1"),
            ],
        )  # fmt: skip
        await sync(database, team.id, account)
    return account


async def insert(
    database: Database, team_id: UUID, account_id: UUID, weakness: str, title: str, count: int = 1
) -> None:
    """Vulnerabilities without occurrences."""
    async with database.transaction() as session:
        await session.execute(
            text("""
                INSERT INTO vulnerability
                    (id, team_id, account_id, first_detected_at, clock_started_at, updated_at,
                     severity, open_occurrences, total_occurrences, status, weakness,
                     resource_uid, title)
                SELECT gen_random_uuid(), :team_id, :account_id, now(), now(), now(),
                       'low', 0, 0, 'open', :weakness, 'thing-' || n, :title
                FROM generate_series(1, :count) AS n
            """),
            {"team_id": team_id, "account_id": account_id, "weakness": weakness, "title": title,
             "count": count},
        )  # fmt: skip


async def export(caller: httpx.AsyncClient, format: str, query: str = "") -> httpx.Response:
    answer = await caller.get(f"vulnerabilities/export?format={format}&{query}".rstrip("&"))
    assert answer.status_code == 200, answer.text
    return answer


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_each_format_has_the_same_as_the_list_in_its_order(
    viewer: httpx.AsyncClient, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 3)
    listed = (await viewer.get("vulnerabilities", params={"limit": 100})).json()["items"]
    assert len(listed) == 7
    lines = await export(viewer, "ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == listed
    rows = await export(viewer, "csv")
    assert rows_of(rows) == [
        {name: "" if value is None else str(value) for name, value in item.items()}
        for item in listed
    ]
    records = [json.loads(line) for line in (await export(viewer, "ocsf")).text.splitlines()]
    assert [record["finding_info"]["uid"] for record in records] == [item["id"] for item in listed]
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert rows.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="vulnerabilities-' in rows.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "query",
    ["severity=critical", "status=closed", "q=bucket-3", "weakness=iam_user_mfa", "owner=nobody",
     "sla=on_track&severity=high"],
)  # fmt: skip
async def test_the_filters_are_those_of_the_list(
    viewer: httpx.AsyncClient, account: UUID, query: str
) -> None:
    listed = (await viewer.get(f"vulnerabilities?{query}")).json()["items"]
    ids = [item["id"] for item in listed]
    assert bool(ids) is (query != "owner=nobody")
    assert [row["id"] for row in rows_of(await export(viewer, "csv", query))] == ids
    for format in ("ndjson", "ocsf"):
        assert len((await export(viewer, format, query)).text.splitlines()) == len(ids)


async def test_other_teams_export_nothing(
    call: Caller, account: UUID, stranger: Team, anonymous: httpx.AsyncClient
) -> None:
    other = call(stranger.keys[Role.ADMIN])
    assert (await export(other, "ndjson")).text == (await export(other, "ocsf")).text == ""
    assert rows_of(await export(other, "csv")) == []
    assert rows_of(await export(other, "csv", f"account_id={account}")) == []
    assert (await anonymous.get("vulnerabilities/export")).status_code == 401


async def test_a_format_that_does_not_exist_is_refused_by_those_that_do(
    viewer: httpx.AsyncClient,
) -> None:
    refused = await viewer.get("vulnerabilities/export", params={"format": "xml"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert all(word in error["message"] for word in ("csv", "ndjson", "ocsf")), error
    assert (await viewer.get("vulnerabilities/export", params={"limit": 3})).status_code == 422


async def test_ocsf_is_a_vulnerability_finding_with_what_was_decided(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, account: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (item,) = (await viewer.get("vulnerabilities?q=bucket-0")).json()["items"]
    decision = {"action": "assign", "owner": "platform"}
    answer = await operator.post(f"vulnerabilities/{item['id']}/decisions", json=decision)
    assert answer.status_code == 200
    (record,) = map(json.loads, (await export(viewer, "ocsf", "q=bucket-0")).text.splitlines())
    assert (record["class_uid"], record["type_uid"]) == (2002, 200201)
    assert (record["status"], record["status_code"]) == ("New", "open")
    assert (record["severity"], record["severity_id"]) == ("Critical", 5)
    assert record["assignee"] == {"name": "platform"}
    assert record["unmapped"]["due_at"] == item["due_at"]
    assert record["unmapped"]["sla"] == item["sla"] == "on_track"
    (weakness,) = record["vulnerabilities"]
    assert weakness["advisory"]["uid"] == "s3_bucket_public_access"
    assert weakness["remediation"]["desc"] == "What to do."
    first = datetime.fromisoformat(item["first_detected_at"])
    assert weakness["first_seen_time"] == int(first.timestamp() * 1000)
    assert weakness["last_seen_time"] > weakness["first_seen_time"]  # the second scan saw it again
    assert {each["region"] for each in record["resources"]} == {"eu-west-1", "us-east-1"}
    assert {each["uid"] for each in record["resources"]} == {"arn:aws:s3:::bucket-0"}
    assert len(record["finding_info"]["related_events"]) == 2
    assert record["cloud"]["account"]["uid"] == "123456789012"
    monkeypatch.setattr(evidence, "OCCURRENCES", 1)
    (bounded,) = map(json.loads, (await export(viewer, "ocsf", "q=bucket-0")).text.splitlines())
    assert len(bounded["resources"]) == 1
    assert bounded["vulnerabilities"][0]["last_seen_time"] == weakness["last_seen_time"]
    (closed,) = map(json.loads, (await export(viewer, "ocsf", "status=closed")).text.splitlines())
    assert (closed["status"], closed["activity_name"]) == ("Resolved", "Close")
    assert "last_seen_time" not in closed["vulnerabilities"][0]


async def test_a_cve_is_named_as_one_and_no_title_is_a_formula(
    viewer: httpx.AsyncClient, database: Database, team: Team
) -> None:
    account = await make_account(database, team.id)
    await insert(database, team.id, account, "CVE-2026-12345", "=cmd()")
    (record,) = map(json.loads, (await export(viewer, "ocsf")).text.splitlines())
    (weakness,) = record["vulnerabilities"]
    assert weakness["cve"] == {"uid": "CVE-2026-12345"}
    assert "advisory" not in weakness
    assert record["resources"] == [{"uid": "thing-1"}]  # its occurrences are not kept
    (row,) = rows_of(await export(viewer, "csv"))
    assert row["title"] == "'=cmd()"


@pytest.mark.parametrize("format", [*ExportFormat])
async def test_no_more_than_a_page_is_held_however_many_there_are(
    database: Database, team: Team, format: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 100)
    account = await make_account(database, team.id)
    await insert(database, team.id, account, f"CVE-2026-{uuid4().int % 10**8:08}", "Many", MANY)
    at = datetime.now(UTC)
    read = vulnerability_export.reader(database, team.id, VulnerabilityFilter(), format, at)
    lines, most, largest = 0, 0, 0
    async for chunk in await exports.exported(read, vulnerability_export.COLUMNS, format):
        held = sum(type(each) is Vulnerability for each in gc.get_objects())
        most = max(most, held)
        largest = max(largest, chunk.count(b"\n"))
        lines += chunk.count(b"\n")
    assert lines == MANY + (format is ExportFormat.CSV)
    assert largest == exports.PAGE
    assert 0 < most <= 2 * exports.PAGE


async def test_what_goes_wrong_midway_is_an_error_and_not_an_end(
    database: Database, team: Team, account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 3)
    opened = Database.open("postgresql://127.0.0.1:1/nothing")
    at, format = datetime.now(UTC), ExportFormat.NDJSON
    first = vulnerability_export.reader(database, team.id, VulnerabilityFilter(), format, at)
    lost = vulnerability_export.reader(opened, team.id, VulnerabilityFilter(), format, at)

    async def read(after: Any) -> exports.Piece:
        return await (first if after is None else lost)(after)

    lines = await exports.exported(read, vulnerability_export.COLUMNS, format)
    assert (await anext(lines)).count(b"\n") == 3
    with pytest.raises(DatabaseUnavailable):
        await anext(lines)
    with pytest.raises(DatabaseUnavailable):
        await exports.exported(lost, vulnerability_export.COLUMNS, format)
    await opened.close()
