"""Errors: RFC 9457 everywhere, with the fix, and nothing that is nobody's business."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.client import Client

from api import scan_control
from api.app import create_app
from contracts.vocabulary import Role
from runtime.embedded.postgres import running_postgres
from runtime.settings import Settings
from storage.bootstrap import migrate
from storage.database import Database
from tests.api.conftest import Caller, Team, make_team, open_client
from tests.support.ports import free_ports

ACCOUNT = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}
SCHEDULE = {
    "name": "nightly",
    "target": {"kind": "job", "job": "expiry_sweep"},
    "trigger": {"type": "cron", "cron": "@daily"},
}
LEAKS = ("Traceback", "sqlalchemy", "asyncpg", "SELECT", "tonic", "Connection refused", "/work")


def assert_is_problem(answer: httpx.Response, status: int, code: str) -> None:
    """RFC 9457, with our additions, and without leaks."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:cloudsweep:problem:{code}"
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    for leak in LEAKS:
        assert leak not in answer.text


async def test_an_address_that_does_not_exist_is_a_problem(viewer: httpx.AsyncClient) -> None:
    assert_is_problem(await viewer.get("nothing"), 404, "not_found")
    assert_is_problem(await viewer.get("http://api/"), 404, "not_found")


async def test_a_method_that_does_not_exist_names_those_that_do(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.put("accounts")
    assert_is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST"
    assert "GET, POST" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"{broken", "application/json", "not valid JSON"),
        (b"\xff\xfe", "application/json", "JSON"),
        (b"[]", "application/json", "JSON object"),
        (b"null", "application/json", "JSON object"),
        (b"", "application/json", "required"),
        (b"name=x", "application/x-www-form-urlencoded", "Content-Type: application/json"),
        (b'{"name": "\\ud800"}', "application/json", "control characters"),
        (b"[" * 5000, "application/json", "JSON"),
    ],
)
async def test_a_body_that_is_not_an_object_is_refused(
    operator: httpx.AsyncClient, body: bytes, content_type: str, words: str
) -> None:
    answer = await operator.post("accounts", content=body, headers={"Content-Type": content_type})
    assert_is_problem(answer, 422, "invalid_input")
    assert words in str(answer.json()["errors"])


async def test_a_body_that_is_too_large_is_refused_announced_or_not(
    operator: httpx.AsyncClient,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    announced = await operator.post("accounts", content=b" " * 1_000_001, headers=headers)
    assert_is_problem(announced, 413, "body_too_large")
    assert_is_problem(
        await operator.post("accounts", content=pieces(), headers=headers), 413, "body_too_large"
    )


@pytest.mark.parametrize(
    "path",
    [
        "accounts",
        "scans",
        "findings",
        "findings/summary",
        "resources",
        "checks",
        "schedules",
        "jobs",
        "runs",
        "tracked-items",
    ],
)
async def test_an_unknown_parameter_is_refused_with_those_that_exist(
    viewer: httpx.AsyncClient, path: str
) -> None:
    answer = await viewer.get(path, params={"sverity": "high", "limt": "1"})
    assert_is_problem(answer, 422, "invalid_input")
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert set(errors) == {"sverity", "limt"}
    if path != "findings/summary":
        assert "limit" in errors["limt"]


async def test_calls_without_parameters_refuse_all(viewer: httpx.AsyncClient) -> None:
    answer = await viewer.get("http://api/healthz?verbose=1")
    assert_is_problem(answer, 422, "invalid_input")
    assert "Known: none" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "not ours"}, "cursor"),
        ({"cursor": "bm90IG91cnM"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "x" * 1001}, "cursor"),
    ],
)
@pytest.mark.parametrize(
    "path",
    ["accounts", "scans", "findings", "resources", "checks", "schedules", "jobs", "runs",
     "tracked-items"],
)  # fmt: skip
async def test_a_page_that_cannot_be_is_refused(
    viewer: httpx.AsyncClient, path: str, parameters: dict[str, str], field: str
) -> None:
    answer = await viewer.get(path, params=parameters)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_cursor_of_another_list_is_refused(operator: httpx.AsyncClient) -> None:
    for number in range(2):
        await operator.post("accounts", json=ACCOUNT | {"name": f"a{number}"})
    cursor = (await operator.get("accounts?limit=1")).json()["next_cursor"]
    answer = await operator.get("scans", params={"cursor": cursor})
    assert_is_problem(answer, 422, "scope_invalid")
    assert answer.json()["errors"][0]["field"] == "cursor"


async def test_a_request_keeps_the_id_it_came_with_if_it_is_harmless(
    viewer: httpx.AsyncClient,
) -> None:
    given = await viewer.get("accounts", headers={"X-Request-ID": "trace-4711"})
    assert given.headers["X-Request-ID"] == "trace-4711"
    strange = await viewer.get("accounts", headers={"X-Request-ID": "a b\x07"})
    assert len(strange.headers["X-Request-ID"]) == 32


async def test_what_nobody_foresaw_is_a_500_that_says_nothing(
    app: FastAPI, call: Caller, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    async def defect() -> None:
        raise RuntimeError("SELECT password FROM /work")

    app.add_api_route("/api/v1/defect", defect)
    answer = await call(team.keys[Role.ADMIN]).get("defect")
    assert_is_problem(answer, 500, "internal_error")
    assert answer.json()["request_id"] in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_start_while_temporal_is_away_is_kept_and_can_be_repeated(
    settings: Settings,
    team: Team,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    idle_namespace: Client,
) -> None:
    (nobody,) = free_ports(1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{nobody}")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", idle_namespace.namespace)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        open_client(app, team.keys[Role.OPERATOR]) as caller,
    ):
        account = (await caller.post("accounts", json=ACCOUNT)).json()
        body, headers = {"account_id": account["id"]}, {"Idempotency-Key": "once"}
        answer = await caller.post("scans", json=body, headers=headers)
        assert_is_problem(answer, 503, "engine_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        scan_id = answer.json()["scan_id"]
        assert scan_id in answer.json()["fix"]
        scan = (await caller.get(f"scans/{scan_id}")).json()
        assert (scan["status"], scan["waiting_for"]) == ("pending", scan_control.NOT_STARTED)
        for path in (f"scans/{scan_id}/cancel", f"accounts/{account['id']}/check"):
            assert_is_problem(await caller.post(path), 503, "engine_unavailable")
        assert (await caller.get("findings")).status_code == 200

        monkeypatch.setenv("TEMPORAL_ADDRESS", idle_namespace.service_client.config.target_host)
        async with asyncio.timeout(30):  # the next attempts to connect come a moment later
            while True:
                again = await caller.post("scans", json=body, headers=headers)
                if again.status_code == 202:
                    break
                await asyncio.sleep(0.2)
        assert again.json()["id"] == scan_id
        assert again.json()["waiting_for"] == scan_control.NO_WORKER
        handle = idle_namespace.get_workflow_handle(f"scan/{scan_id}")
        assert (await handle.describe()).workflow_type == "CloudScan"


async def test_without_postgresql_every_call_is_a_503_until_it_is_back(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory, namespace: Client
) -> None:
    data_dir: Path = tmp_path_factory.mktemp("postgres-that-stops")
    async with running_postgres(data_dir) as url:
        await migrate(url)
        own = settings.model_copy(update={"database_url": SecretStr(url)})
        database = Database.open(url)
        team = await make_team(database)
        await database.close()
        app = create_app(own)
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
    caller = open_client(app, team.keys[Role.OPERATOR])
    try:
        for method, path, body in (
            ("GET", "accounts", None),
            ("POST", "accounts", ACCOUNT),
            ("GET", "findings/summary", None),
            ("GET", "schedules", None),
            ("POST", "schedules", SCHEDULE),
            ("POST", "schedules/preview", SCHEDULE),
            ("POST", "jobs/expiry_sweep/runs", None),
            ("GET", "runs", None),
            ("GET", "tracked-items", None),
        ):
            answer = await caller.request(method, path, json=body)
            assert_is_problem(answer, 503, "database_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        ready = await caller.get("http://api/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "down"
        assert (await caller.get("http://api/healthz")).status_code == 200
        async with running_postgres(data_dir):
            assert (await caller.post("accounts", json=ACCOUNT)).status_code == 201
            assert (await caller.get("http://api/readyz")).status_code == 200
    finally:
        await caller.aclose()
        await lifespan.__aexit__(None, None, None)
