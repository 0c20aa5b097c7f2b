"""Exports: every finding once, under the filters of the list, in files that harm nobody."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from api import exports
from contracts.vocabulary import FindingStatus
from storage.database import Database
from tests.api.conftest import Team
from tests.api.stored import make_account, observed, store_scan

PASS = FindingStatus.PASS
HOSTILE = ['=cmd|"/c calc"!A1', "+1", "-1", "@SUM(A1)", " =1", "\t=1", "a,b", 'say "x"\nline']


@pytest.fixture
async def account(database: Database, team: Team, stranger: Team) -> UUID:
    """Findings of one account, and of another team."""
    account = await make_account(database, team.id)
    await store_scan(
        database,
        team.id,
        account,
        [
            *(observed("s3_bucket_public_access", f"bucket-{n}") for n in range(7)),
            *(observed("iam_user_mfa", name) for name in HOSTILE),
            *(observed("ec2_ebs_encryption", f"vol-{n}", PASS, "us-east-1") for n in range(5)),
        ],
    )
    theirs = await make_account(database, stranger.id)
    await store_scan(database, stranger.id, theirs, [observed("iam_user_mfa", "mallory")])
    return account


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pages of these few."""
    monkeypatch.setattr(exports, "PAGE", 3)


async def export(caller: httpx.AsyncClient, format: str, **filters: Any) -> httpx.Response:
    answer = await caller.get("findings/export", params={"format": format, **filters})
    assert answer.status_code == 200, answer.text
    return answer


async def test_ndjson_has_the_same_findings_as_the_list_in_its_order(
    viewer: httpx.AsyncClient, account: UUID
) -> None:
    listed = (await viewer.get("findings", params={"limit": 100})).json()["items"]
    answer = await export(viewer, "ndjson")
    assert [json.loads(line) for line in answer.text.splitlines()] == listed
    assert len(listed) == 20
    assert answer.headers["Content-Type"] == "application/x-ndjson"


@pytest.mark.parametrize(
    "filters",
    [
        {"severity": "critical"},
        {"status": "pass", "region": "us-east-1"},
        {"q": "bucket-3"},
        {"service": "iam,ec2", "state": "open"},
        {"check_id": "nothing"},
    ],
)
async def test_the_filters_are_those_of_the_list(
    viewer: httpx.AsyncClient, account: UUID, filters: dict[str, str]
) -> None:
    listed = (await viewer.get("findings", params={"limit": 100, **filters})).json()["items"]
    for format in ("ndjson", "ocsf"):
        answer = await export(viewer, format, **filters)
        assert len(answer.text.splitlines()) == len(listed)
    rows = list(csv.DictReader(io.StringIO((await export(viewer, "csv", **filters)).text)))
    assert [row["id"] for row in rows] == [item["id"] for item in listed]


async def test_no_cell_of_a_csv_is_a_formula(viewer: httpx.AsyncClient, account: UUID) -> None:
    answer = await export(viewer, "csv", service="iam")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    names = {row["resource_name"] for row in rows}
    assert names == {name if name in ("a,b", 'say "x"\nline') else f"'{name}" for name in HOSTILE}
    for row in rows:
        assert not any(cell.strip(" ")[:1] in tuple("=+-@\t\r") and cell for cell in row.values())
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="findings-')
    assert answer.headers["Content-Disposition"].endswith('.csv"')


async def test_ocsf_is_a_detection_finding_as_prowler_writes_it(
    viewer: httpx.AsyncClient, account: UUID
) -> None:
    (line,) = (await export(viewer, "ocsf", q="bucket-3")).text.splitlines()
    record = json.loads(line)
    assert record["class_uid"] == 2004
    assert record["metadata"]["event_code"] == "s3_bucket_public_access"
    assert (record["status_code"], record["status"]) == ("FAIL", "New")
    assert (record["severity"], record["severity_id"]) == ("Critical", 5)
    assert record["cloud"]["account"]["uid"] == "123456789012"
    assert record["resources"][0]["uid"] == "arn:aws:s3:::bucket-3"
    assert record["risk_details"] == "What may happen."
    assert record["unmapped"]["compliance"] == {"CIS-5.0": ["1.1"]}


async def test_what_is_wrong_is_an_answer_and_not_half_a_file(
    viewer: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    assert (await viewer.get("findings/export", params={"format": "xml"})).status_code == 422
    assert (await viewer.get("findings/export", params={"limit": 3})).status_code == 422
    assert (await anonymous.get("findings/export")).status_code == 401
    assert (await export(viewer, "ndjson")).text == ""
