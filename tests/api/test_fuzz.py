"""Whatever is sent, the answer is the API's own: never a 500, always what the contract allows."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, time
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.vocabulary import Role
from storage import accounts
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.stored import make_account

EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD = [
    *("", "\x00", "a\x00b", "\ud800", "٣", "' OR 1=1 --", "%", "_", "\\", "é" * 300, "x" * 5000),
    *("-1", "1e400", "NaN", "null", "true", "0", "9" * 40, "{}", "[]", "a,b", ",", ":", "&", "|!"),
    *("2026-01-31T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "2026-13-45"),
    *("critical", "fail", "aws", "environment", "eu-west-1", "s3", "..", "/", "a/b"),
    *("01930000-0000-7000-8000-000000000000", "{01930000-0000-7000-8000-000000000000}"),
]
TEXT = st.sampled_from(ODD) | st.text(max_size=30)
ENCODABLE = TEXT.map(lambda text: text.encode("utf-8", "replace").decode())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
KEYS = [
    *("kind", "path", "profile", "source", "x", "type", "cron", "timezone", "at", "every_seconds"),
    *("offset_seconds", "item_kind", "filter", "account_id", "options", "job", "params", "dates"),
    *("start", "end", "days", "services", "\ud800", ""),
]
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=6,
)
FIELDS = [
    *("name", "provider", "uid", "credentials", "regions", "endpoint_url", "enabled", "role", "x"),
    *("account_id", "services", "checks", "frameworks", "discovery", "compliance"),
    *("target", "trigger", "overlap", "catchup_seconds", "jitter_seconds", "starts_at", "ends_at"),
    *("max_runs", "exclude", "pause_after_failures", "paused", "note", "params", "start", "end"),
    *("action", "reason", "until", "comment", "check_id", "resource", "region", "tag", "full"),
    *("rerun", "dry_run", "kind", "owner", "expires_at", "lead_seconds", "attributes"),
    *("value", "tags", "allows", "approved_by", "valid_until"),
]
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | JSON
ALLOWED = {200, 201, 202, 204, 401, 403, 404, 405, 409, 413, 422, 503}
LEFT_OUT = {"follow_scan", "check_account", "revoke_key"}  # streams, waits, and its own key


def assert_is_ours(answer: httpx.Response, sent: str) -> None:
    """An answer that the contract knows."""
    assert answer.status_code in ALLOWED, (sent, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", sent
        assert answer.json()["status"] == answer.status_code
    assert "Traceback" not in answer.text


@EXAMPLES
@given(data=st.data())
async def test_no_query_makes_a_500(
    data: st.DataObject, app: FastAPI, call: Caller, team: Team
) -> None:
    reads = [
        (path, operations["get"])
        for path, operations in app.openapi()["paths"].items()
        if "get" in operations and operations["get"]["operationId"] not in LEFT_OUT
    ]
    path, operation = data.draw(st.sampled_from(reads))
    parameters = operation.get("parameters", ())
    for parameter in parameters:
        if parameter["in"] == "path":
            part = quote(data.draw(ENCODABLE), safe="") or "x"
            path = path.replace(f"{{{parameter['name']}}}", part)
    names = [each["name"] for each in parameters if each["in"] == "query"] + ["x"]
    query: list[tuple[str, Any]] = data.draw(
        st.lists(st.tuples(st.sampled_from(names), ENCODABLE), max_size=3)
    )
    answer = await call(team.keys[Role.ADMIN]).get(f"http://api{path}", params=query)
    assert_is_ours(answer, f"{path} {query}")


@EXAMPLES
@given(data=st.data())
async def test_no_body_makes_a_500(
    data: st.DataObject, app: FastAPI, call: Caller, team: Team
) -> None:
    writes = [
        (method, path)
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation and operation["operationId"] not in LEFT_OUT
    ]
    method, path = data.draw(st.sampled_from(writes))
    path = re.sub(r"{\w+_id}", "01930000-0000-7000-8000-000000000000", path)
    path = path.replace("{name}", data.draw(st.sampled_from(["account_check", "cloud_scan", "x"])))
    body: Any = data.draw(BODIES)
    answer = await call(team.keys[Role.ADMIN]).request(
        method.upper(),
        f"http://api{path}",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert_is_ours(answer, f"{method} {path} {body!r}")


@EXAMPLES
@given(data=st.data())
async def test_no_account_that_is_accepted_breaks_a_list(
    data: st.DataObject, call: Caller, team: Team
) -> None:
    caller = call(team.keys[Role.ADMIN])
    body = {
        "name": data.draw(TEXT),
        "provider": "aws",
        "uid": data.draw(st.none() | TEXT),
        "credentials": data.draw(
            st.sampled_from([{"kind": "environment"}])
            | st.builds(lambda text: {"kind": "file", "path": f"/{text}"}, TEXT)
            | st.builds(lambda text: {"kind": "profile", "profile": text}, TEXT)
        ),
        "endpoint_url": data.draw(st.none() | st.builds(lambda text: f"http://h/{text}", TEXT)),
    }
    answer = await caller.post(
        "accounts",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert_is_ours(answer, str(body))
    if answer.status_code == 201:
        shown = await caller.get(f"accounts/{answer.json()['id']}")
        assert shown.json() == answer.json()
        assert (await caller.delete(f"accounts/{answer.json()['id']}")).status_code == 204


def mostly(right: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Odd values, but rarely: most of what has several fields would have an odd one."""
    return st.sampled_from([right] * 14 + [odd]).flatmap(lambda chosen: chosen)


def built(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object of this type."""
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


FUTURE = st.datetimes(datetime(2030, 1, 1), datetime(2095, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (Hypothesis adds it)
TIMES = mostly(FUTURE.map(datetime.isoformat), TEXT)
SMALL = mostly(st.integers(10, 50_000), SCALARS)
CRONS = ["@daily", "0 2 * * *", "*/7 8-18 1,15 * MON", "59 23 31 12 0", "30 1 * * SUN", "* * * * *"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns"]
TRIGGERS = st.one_of(
    built("cron", cron=mostly(st.sampled_from(CRONS), TEXT),
          timezone=mostly(st.sampled_from(ZONES), TEXT)),
    built("cron", cron=st.lists(st.sampled_from(CRONS), min_size=1, max_size=5)),
    built("interval", every_seconds=mostly(st.integers(1, 31_622_400), SCALARS),
          offset_seconds=mostly(st.just(0), SCALARS)),
    built("one_time", at=TIMES),
    built("expiry", item_kind=mostly(st.just("x"), TEXT), lead_seconds=SMALL,
          filter=st.dictionaries(st.just("k"), mostly(st.just("v"), TEXT))),
)  # fmt: skip
HOURS = mostly(st.times().map(time.isoformat), TEXT)
DATES = mostly(st.sampled_from(["12-25", "02-29", "2031-01-01", "9999-12-31"]), TEXT)
EXCLUSIONS = st.one_of(
    built("dates", dates=st.lists(DATES, min_size=1, max_size=3)),
    built("window", start=HOURS, end=HOURS),
    built("period", start=TIMES, end=TIMES),
)
SCHEDULES = st.fixed_dictionaries(
    {
        "name": mostly(st.sampled_from(["nightly", "漢" * 100, "\U0001f600" * 100]), TEXT),
        "trigger": TRIGGERS,
        "paused": st.just(True),
    },
    optional={
        "starts_at": mostly(st.just("2029-01-01T00:00:00.5-14:00"), TIMES),
        "ends_at": mostly(st.just("2098-12-31T23:59:59+14:00"), TIMES),
        "exclude": st.lists(EXCLUSIONS, max_size=2),
        "jitter_seconds": mostly(st.just(0), SMALL),
        "catchup_seconds": SMALL,
        "max_runs": SMALL,
        "note": mostly(st.just("漢" * 500), TEXT),
    },
)


@settings(EXAMPLES, max_examples=60)
@given(data=st.data())
async def test_no_schedule_that_is_accepted_breaks_a_list(
    data: st.DataObject, call: Caller, team: Team, database: Database
) -> None:
    caller = call(team.keys[Role.ADMIN])
    account_id = await an_account(database, team)
    body = data.draw(SCHEDULES) | {"target": {"kind": "cloud_scan", "account_id": account_id}}
    sent = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    shown = await caller.post("schedules/preview", content=sent, headers=headers)
    assert_is_ours(shown, str(body))
    answer = await caller.post("schedules", content=sent, headers=headers)
    assert_is_ours(answer, str(body))
    assert (shown.status_code == 200) is (answer.status_code == 201), (body, answer.text)
    if answer.status_code == 201:
        path = f"schedules/{answer.json()['id']}"
        assert (await caller.get(path)).json() == answer.json()
        resumed = await caller.post(f"{path}/resume")
        assert resumed.status_code == 200, (body, resumed.text)
        assert (await caller.get("schedules")).status_code == 200
        assert (await caller.delete(path)).status_code == 204


async def an_account(database: Database, team: Team) -> str:
    """The id of the team's account, made once."""
    async with database.transaction() as session:
        page = await accounts.list_accounts(session, team.id, limit=1)
    return str(page.items[0].id if page.items else await make_account(database, team.id))


@EXAMPLES
@given(headers=st.dictionaries(
    st.sampled_from(["Authorization", "Idempotency-Key", "X-Request-ID", "Last-Event-ID",
                     "Content-Type", "Accept", "Cookie"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
))  # fmt: skip
async def test_no_header_makes_a_500(headers: dict[str, str], call: Caller, team: Team) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for key in (None, team.keys[Role.OPERATOR]):
        answer = await call(key).post("scans", content=b"{}", headers=raw)
        assert_is_ours(answer, str(headers))
