"""Scans over HTTP: started once, steered, and honest about what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus

from activities import engine_starts
from api import engine, examples, scan_control
from contracts.findings import CheckText
from contracts.scans import ScanEnd
from contracts.vocabulary import Provider, Role, ScanKind, ScanStatus, Severity
from runtime import search_attributes
from storage.checks import upsert_checks
from storage.database import Database
from storage.scans import scan_state
from tests.api.conftest import Caller, Team
from tests.api.scripted import Script
from workflows.account_check import AccountCheck
from workflows.cloud_scan import CloudScan
from workflows.hybrid_discovery import HybridAssetDiscovery
from workflows.import_merge import ImportMerge
from workflows.kubernetes_scan import KubernetesDiscovery, KubernetesScan
from workflows.native_scan import NativeScan

Scan = dict[str, Any]


@pytest.fixture
async def account(operator: httpx.AsyncClient) -> dict[str, Any]:
    """An account to scan."""
    body = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}
    made: dict[str, Any] = (await operator.post("accounts", json=body)).json()
    return made


async def until(caller: httpx.AsyncClient, scan: Scan, holds: Callable[[Scan], bool]) -> Scan:
    """The scan once this holds; the tests' own time limit is the bound."""
    async with asyncio.timeout(60):
        while True:
            seen: Scan = (await caller.get(f"scans/{scan['id']}")).json()
            if holds(seen):
                return seen
            await asyncio.sleep(0.05)


def is_(status: str) -> Callable[[Scan], bool]:
    """A condition for `until`."""
    return lambda scan: scan["status"] == status


async def start(caller: httpx.AsyncClient, account: dict[str, Any], **scope: Any) -> Scan:
    """Start a scan and return it."""
    answer = await caller.post("scans", json={"account_id": account["id"], **scope})
    assert answer.status_code == 202, answer.text
    scan: Scan = answer.json()
    return scan


async def test_the_names_of_workflows_and_signals_are_those_of_the_classes() -> None:
    assert {kind: start.workflow for kind, start in engine_starts.SCAN_STARTS.items()} == {
        ScanKind.CLOUD: CloudScan.__name__,
        ScanKind.KUBERNETES: KubernetesScan.__name__,
        ScanKind.KUBERNETES_DISCOVERY: KubernetesDiscovery.__name__,
        ScanKind.IMPORT: ImportMerge.__name__,
        ScanKind.NATIVE: NativeScan.__name__,
        ScanKind.HYBRID: HybridAssetDiscovery.__name__,
    }
    assert AccountCheck.__name__ == engine.ACCOUNT_CHECK
    assert callable(getattr(CloudScan, engine.PAUSE))
    assert callable(getattr(CloudScan, engine.RESUME))


async def test_a_scan_runs_from_start_to_end(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any], worked_namespace: Client
) -> None:
    answer = await operator.post("scans", json={"account_id": account["id"]})
    assert answer.status_code == 202
    scan = answer.json()
    assert answer.headers["Location"] == f"/api/v1/scans/{scan['id']}"
    assert scan["workflow_id"] == f"scan/{scan['id']}"
    assert scan["temporal_url"] == (
        f"http://127.0.0.1:8233/namespaces/{worked_namespace.namespace}"
        f"/workflows/scan%2F{scan['id']}"
    )
    running = await until(operator, scan, lambda seen: seen["counts"]["tasks"]["total"] == 2)
    assert running["status"] == "running"
    script.go_on.set()
    ended = await until(operator, scan, is_("completed"))
    assert ended["progress"] == 100
    assert ended["counts"]["tasks"] == {"total": 2, "done": 2, "failed": 0}
    assert ended["duration_seconds"] is not None
    tasks = (await operator.get(f"scans/{scan['id']}/tasks")).json()["items"]
    assert [task["key"] for task in tasks] == ["compliance/0", "compliance/1"]
    assert {task["status"] for task in tasks} == {"completed"}
    listed = (await operator.get("scans?status=completed&kind=cloud&trigger=manual")).json()
    assert listed["items"] == [ended]


async def test_a_scan_whose_row_is_not_committed_starts_no_workflow(
    operator: httpx.AsyncClient, account: dict[str, Any], database: Database, namespace: Client
) -> None:
    """Publish before commit: the row is there, and its transaction fails at the very end."""
    refuse = f"refuse_{uuid4().hex}"
    async with database.transaction() as session:
        await session.execute(
            text(
                f"CREATE FUNCTION {refuse}() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE EXCEPTION 'not committed'; END $$"
            )
        )
        await session.execute(
            text(
                f"CREATE CONSTRAINT TRIGGER {refuse} AFTER INSERT ON scan"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
                f" WHEN (NEW.account_id = '{account['id']}') EXECUTE FUNCTION {refuse}()"
            )
        )
    refused = await operator.post("scans", json={"account_id": account["id"]})
    assert refused.status_code == 500
    async with database.transaction() as session:
        await session.execute(text(f"DROP FUNCTION {refuse} CASCADE"))
    assert (await operator.get("scans")).json()["items"] == []

    scan = await start(operator, account)

    of_account = f"{search_attributes.ACCOUNT.name} = '{account['id']}'"
    async with asyncio.timeout(60):
        while not [each async for each in namespace.list_workflows(of_account)]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    listed = [each.id async for each in namespace.list_workflows(of_account)]
    assert listed == [scan["workflow_id"]]


async def test_the_same_idempotency_key_returns_the_same_scan(
    operator: httpx.AsyncClient, account: dict[str, Any], script: Script
) -> None:
    body = {"account_id": account["id"], "services": ["s3"]}
    headers = {"Idempotency-Key": "nightly-1"}
    answers = await asyncio.gather(
        *(operator.post("scans", json=body, headers=headers) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await operator.get("scans")).json()["items"]) == 1
    other = await operator.post("scans", json=body | {"services": ["iam"]}, headers=headers)
    assert other.status_code == 409
    assert answers[0].json()["id"] in other.json()["detail"]
    script.go_on.set()
    await until(operator, answers[0].json(), is_("completed"))
    again = await operator.post("scans", json=body, headers=headers)
    assert (again.status_code, again.json()["status"]) == (202, "completed")


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, "ü"])
async def test_a_malformed_idempotency_key_is_refused(
    operator: httpx.AsyncClient, account: dict[str, Any], key: str
) -> None:
    answer = await operator.post(
        "scans",
        json={"account_id": account["id"]},
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].lower() == "idempotency-key"
    assert "printable ASCII" in answer.json()["errors"][0]["message"]
    assert (await operator.get("scans")).json()["items"] == []


@pytest.mark.parametrize(
    ("scope", "field", "words"),
    [
        ({"regions": ["mars north"]}, "regions[0]", "eu-west-1"),
        ({"regions": []}, "regions", "at least 1"),
        ({"services": ["s3", "a b"]}, "services[1]", "letters"),
        ({"checks": [""]}, "checks[0]", "letters"),
        ({"frameworks": [7]}, "frameworks[0]", "string"),
        ({"discovery": "maybe"}, "discovery", "neither true nor false"),
        ({"account_id": "x"}, "account_id", "not a UUID"),
        ({"speed": "fast"}, "speed", "no such field"),
    ],
)
async def test_a_scope_that_cannot_be_is_refused_before_anything_is_written(
    operator: httpx.AsyncClient,
    account: dict[str, Any],
    scope: dict[str, Any],
    field: str,
    words: str,
) -> None:
    answer = await operator.post("scans", json={"account_id": account["id"]} | scope)
    assert answer.status_code == 422
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert words in errors.get(field, ""), errors
    assert (await operator.get("scans")).json()["items"] == []


async def test_a_scope_that_no_check_knows_is_refused_with_what_was_meant(
    operator: httpx.AsyncClient, database: Database
) -> None:
    account = {"name": "g", "provider": "gcp", "credentials": {"kind": "environment"}}
    made = (await operator.post("accounts", json=account)).json()
    check = CheckText(
        source="prowler",
        provider=Provider.GCP,
        check_id="storage_bucket_public_access",
        title="Buckets are private",
        severity=Severity.CRITICAL,
        service="storage",
    )
    async with database.transaction() as session:
        await upsert_checks(session, [check])
    right = {"services": ["storage"], "checks": ["storage_bucket_public_access"]}
    wrong = {"services": ["storage", "storge"], "checks": ["storage_bucket_public_acess"]}
    body = {"account_id": made["id"]}
    answer = await operator.post("scans", json=body | wrong)
    assert answer.status_code == 422
    assert {error["field"]: error["message"] for error in answer.json()["errors"]} == {
        "services[1]": "gcp has no service `storge`. Did you mean storage?",
        "checks[0]": "gcp has no check `storage_bucket_public_acess`. "
        "Did you mean storage_bucket_public_access?",
    }
    assert (await operator.get("scans")).json()["items"] == []
    assert (await operator.post("scans", json=body | right)).status_code == 202


@pytest.mark.parametrize("name", examples.SCANS)
async def test_the_documented_examples_lack_only_the_account(
    operator: httpx.AsyncClient, name: str
) -> None:
    answer = await operator.post("scans", json=examples.SCANS[name]["value"])
    assert answer.status_code == 404
    assert "account" in answer.json()["detail"]


async def test_a_disabled_account_takes_no_scans(
    operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    await operator.patch(f"accounts/{account['id']}", json={"enabled": False})
    answer = await operator.post("scans", json={"account_id": account["id"]})
    assert answer.status_code == 409
    assert "disabled" in answer.json()["detail"]


async def test_a_scan_that_nobody_works_on_says_so(
    operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    assert scan["status"] == "pending"
    assert scan["waiting_for"] == scan_control.NO_WORKER
    (listed,) = (await operator.get("scans")).json()["items"]
    assert listed["waiting_for"] == scan_control.NO_WORKER


async def test_a_scan_that_nobody_works_on_can_be_cancelled(
    operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    cancelled = await operator.post(f"scans/{scan['id']}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["status"] == "cancelled"
    again = await operator.post(f"scans/{scan['id']}/cancel")
    assert again.status_code == 409
    assert "cancelled" in again.json()["detail"]
    resumed = await operator.post(f"scans/{scan['id']}/resume")
    assert resumed.status_code == 409  # its workflow waits for a worker to hear of the cancel
    assert "worker" in resumed.json()["fix"]


async def test_a_second_scan_of_an_account_says_what_it_waits_for_and_then_runs(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    first = await start(operator, account)
    await until(operator, first, is_("running"))
    second = await start(operator, account)
    waiting = await until(operator, second, lambda seen: seen["waiting_for"] is not None)
    assert first["id"] in waiting["waiting_for"]
    assert waiting["status"] == "pending"
    script.go_on.set()
    await until(operator, first, is_("completed"))
    await until(operator, second, is_("completed"))


async def test_a_waiting_scan_can_be_cancelled(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    first = await start(operator, account)
    await until(operator, first, is_("running"))
    second = await start(operator, account)
    await until(operator, second, lambda seen: seen["waiting_for"] is not None)
    assert (await operator.post(f"scans/{second['id']}/cancel")).json()["status"] == "cancelled"
    assert (await operator.get(f"scans/{first['id']}")).json()["status"] == "running"
    script.go_on.set()
    await until(operator, first, is_("completed"))


async def test_a_cancelled_scan_keeps_what_was_done_and_resumes_the_rest(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    await until(operator, scan, lambda seen: seen["counts"]["tasks"]["total"] == 2)
    answer = await operator.post(f"scans/{scan['id']}/cancel")
    assert answer.status_code == 202
    cancelled = await until(operator, scan, is_("cancelled"))
    assert cancelled["finished_at"] is not None
    resumed = await operator.post(f"scans/{scan['id']}/resume")
    assert resumed.status_code == 202, resumed.text
    assert resumed.json()["status"] in ("pending", "running")
    script.go_on.set()
    ended = await until(operator, scan, is_("completed"))
    assert ended["counts"]["tasks"]["done"] == 2
    again = await operator.post(f"scans/{scan['id']}/resume")
    assert again.status_code == 409
    assert "done" in again.json()["detail"]


async def test_a_scan_can_be_resumed_as_soon_as_it_is_cancelled(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    for _ in range(5):
        await until(operator, scan, lambda seen: seen["status"] == "running")
        await operator.post(f"scans/{scan['id']}/cancel")
        await until(operator, scan, is_("cancelled"))
        assert (await operator.post(f"scans/{scan['id']}/resume")).status_code == 202
    script.go_on.set()
    await until(operator, scan, is_("completed"))


async def test_a_running_scan_is_paused_and_resumed(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    path = f"scans/{scan['id']}"
    await until(operator, scan, is_("running"))
    assert (await operator.post(f"{path}/resume")).status_code == 409
    assert (await operator.post(f"{path}/pause")).status_code == 202
    await until(operator, scan, is_("paused"))
    refused = await operator.post(f"{path}/pause")
    assert refused.status_code == 409
    assert "paused" in refused.json()["detail"]
    assert (await operator.post(f"{path}/resume")).status_code == 202
    await until(operator, scan, is_("running"))
    script.go_on.set()
    await until(operator, scan, is_("completed"))
    assert (await operator.post(f"{path}/pause")).status_code == 409


async def test_a_scan_whose_workflow_was_lost_can_be_cancelled_and_resumed(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any], worked_namespace: Client
) -> None:
    scan = await start(operator, account)
    await until(operator, scan, is_("running"))
    await worked_namespace.get_workflow_handle(scan["workflow_id"]).terminate()
    paused = await operator.post(f"scans/{scan['id']}/pause")
    assert paused.status_code == 409
    assert "Cancel" in paused.json()["fix"]
    cancelled = await operator.post(f"scans/{scan['id']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    script.go_on.set()
    assert (await operator.post(f"scans/{scan['id']}/resume")).status_code == 202
    await until(operator, scan, is_("completed"))


async def test_refused_credentials_fail_the_scan_with_the_cause_and_the_fix(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    script.credentials_are_accepted = False
    scan = await start(operator, account)
    failed = await until(operator, scan, is_("failed"))
    assert failed["error"] == {
        "code": "credentials_rejected",
        "message": "The role may not be assumed.",
        "fix": "Mend its trust policy.",
    }


async def test_another_teams_scan_is_not_there(
    operator: httpx.AsyncClient, call: Caller, stranger: Team, account: dict[str, Any]
) -> None:
    scan = await start(operator, account)
    other = call(stranger.keys[Role.ADMIN])
    path = f"scans/{scan['id']}"
    for method, url in (
        ("GET", path), ("GET", f"{path}/tasks"), ("GET", f"{path}/events"),
        ("POST", f"{path}/cancel"), ("POST", f"{path}/pause"), ("POST", f"{path}/resume"),
    ):  # fmt: skip
        assert (await other.request(method, url)).status_code == 404, url
    assert (await other.get("scans")).json()["items"] == []
    assert (await other.get(f"scans?account_id={account['id']}")).json()["items"] == []
    assert (await operator.get(path)).json()["status"] == "pending"


async def test_scans_are_paged_newest_first(
    operator: httpx.AsyncClient, account: dict[str, Any], database: Database
) -> None:
    made = []
    for _ in range(5):
        scan = await start(operator, account)
        made.append(scan["id"])
        async with database.transaction() as session:
            end = ScanEnd(scan_id=UUID(scan["id"]), outcome=ScanStatus.CANCELLED)
            await scan_state.end_scan(session, end, at=datetime.now(UTC))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("scans", params=parameters)).json()
        seen += [scan["id"] for scan in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
async def test_a_scan_that_does_not_exist_cannot_be_steered(
    operator: httpx.AsyncClient, action: str
) -> None:
    assert (await operator.post(f"scans/{uuid4()}/{action}")).status_code == 404


async def test_a_credential_check_says_who_we_are(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    answer = await operator.post(f"accounts/{account['id']}/check")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "identity": {
            "account_uid": "123456789012",
            "principal": "arn:aws:iam::123456789012:role/audit",
            "regions": ["eu-west-1", "us-east-1"],
        },
        "error": None,
        "fix": None,
    }


async def test_a_credential_check_says_what_is_missing(
    script: Script, operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    script.credentials_are_accepted = False
    answer = (await operator.post(f"accounts/{account['id']}/check")).json()
    assert (answer["ok"], answer["error"]) == (False, "The role may not be assumed.")
    assert answer["fix"] == "Mend its trust policy."


async def test_a_credential_check_without_workers_names_the_fix(
    operator: httpx.AsyncClient, account: dict[str, Any]
) -> None:
    answer = await operator.post(f"accounts/{account['id']}/check")
    assert answer.status_code == 503
    assert answer.json()["code"] == "no_worker"
    assert "worker.py" in answer.json()["fix"]
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_credential_check_that_does_not_end_is_not_waited_for(
    script: Script,
    operator: httpx.AsyncClient,
    account: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    worked_namespace: Client,
    app: FastAPI,
) -> None:
    monkeypatch.setattr(engine, "CHECK_SECONDS", 0.2)
    script.check_may_answer.clear()
    answer = await operator.post(f"accounts/{account['id']}/check")
    assert answer.status_code == 503
    assert answer.json()["code"] == "check_running"
    script.check_may_answer.set()
    handle = worked_namespace.get_workflow_handle(f"account-check/{account['id']}")
    await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
