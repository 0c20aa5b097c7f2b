"""What a schedule may not be: each with its field, what is wrong, and what would be right."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api import examples
from contracts.findings import CheckText
from contracts.vocabulary import Provider, Severity
from storage.checks import upsert_checks
from storage.database import Database
from tests.api.scheduled import NIGHTLY, NOBODY, add_account, add_schedule, errors_of, scan_of

Row = dict[str, Any]


def trigger(kind: str, **fields: Any) -> Row:
    """A body with this trigger."""
    return {"trigger": {"type": kind, **fields}}


def job(name: object, **params: Any) -> Row:
    """A body with this job as target."""
    return {"target": {"kind": "job", "job": name, "params": params}}


def exclude(kind: str, **fields: Any) -> Row:
    """A body that excludes this."""
    return {"exclude": [{"type": kind, **fields}]}


WRONG: list[tuple[Row, str, str]] = [
    ({"name": ""}, "name", "at least 1 character."),
    ({"name": "two\nlines"}, "name", "No control characters"),
    ({"name": NOBODY}, "name", "must not read as an id"),
    ({"nam": "x"}, "nam", "no such field"),
    # Triggers
    ({"trigger": None}, "trigger", 'JSON object, such as {"type": "cron"'),
    ({"trigger": {}}, "trigger", 'It needs `type`, such as {"type": "cron"'),
    (trigger("crn"), "trigger", "`crn` is not allowed as `type`. Allowed: cron, interval, "
     "one_time, expiry."),
    (trigger("cron"), "trigger.cron", "required"),
    (trigger("cron", cron=5), "trigger.cron", 'a string. Write it like "0 2 * * *"'),
    (trigger("cron", cron=[]), "trigger.cron", "at least 1 value."),
    (trigger("cron", cron=["@daily", 5]), "trigger.cron[1]", "a string"),
    (trigger("cron", cron=["@daily", ""]), "trigger.cron[1]", "at least 1 character."),
    (trigger("cron", cron=["@daily", "0 0 31 2 *"]), "trigger.cron[1]", "never fires"),
    (trigger("cron", cron="0 0 2 * * *"), "trigger.cron", "6 fields"),
    (trigger("cron", cron="61 * * * *"), "trigger.cron", "out of range: 0-59"),
    (trigger("cron", cron="@every 90m"), "trigger.cron", '"interval"'),
    (trigger("cron", cron="@daily", timezone="Berlin"), "trigger.timezone", "Europe/Berlin?"),
    (trigger("cron", cron="@daily", timezone=5), "trigger.timezone", "such as Europe/Berlin."),
    (trigger("cron", cron="@daily", tz="UTC"), "trigger.tz", "no such field"),
    (trigger("interval"), "trigger.every_seconds", "required"),
    (trigger("interval", every_seconds=0), "trigger.every_seconds", "It must be at least 1."),
    (trigger("interval", every_seconds="1h"), "trigger.every_seconds", "`1h` is not a whole"),
    (trigger("interval", every_seconds=1.5), "trigger.every_seconds", "`1.5` is not a whole"),
    (trigger("interval", every_seconds="9" * 5000), "trigger.every_seconds", "too large"),
    (trigger("interval", every_seconds=10**9), "trigger.every_seconds", "at most 31622400."),
    (trigger("interval", every_seconds=60, offset_seconds=90), "trigger.offset_seconds",
     "less than every_seconds (60)"),
    (trigger("one_time", at="2020-01-01T00:00:00Z"), "trigger.at", "It has passed."),
    (trigger("one_time", at="2030-01-01T00:00:00"), "trigger.at", "time zone is missing"),
    (trigger("one_time", at="tomorrow"), "trigger.at", "Write it like 2026-01-31T00:00:00Z."),
    (trigger("one_time", at="9999-12-31T23:59:59-14:00"), "trigger.at", "2100"),
    (trigger("expiry", item_kind="A B"), "trigger.item_kind", "such as certificate"),
    (trigger("expiry", item_kind="a", lead_seconds=-1), "trigger.lead_seconds", "at least 0."),
    (trigger("expiry", item_kind="a", filter=[]), "trigger.filter", "JSON object, such as"),
    (trigger("expiry", item_kind="a", filter={"b": 5}), "trigger.filter.b", "a string"),
    (trigger("expiry", item_kind="a") | {"jitter_seconds": 5}, "jitter_seconds", "Leave it out"),
    # Targets
    ({"target": {}}, "target", 'It needs `kind`, such as {"kind": "cloud_scan"'),
    ({"target": {"kind": "scan"}}, "target", "is not allowed as `kind`. Allowed: cloud_scan, job."),
    ({"target": {"kind": "cloud_scan"}}, "target.account_id", "required"),
    ({"target": {"kind": "cloud_scan", "account_id": NOBODY}}, "target.account_id",
     "no such account in this team"),
    (job("account_chek"), "target.job", "Did you mean account_check?"),
    (job("nothing"), "target.job", "There are: cloud_scan, "),
    (job("No Such"), "target.job", "`GET /jobs` lists them"),
    (job("cloud_scan", account_id=NOBODY), "target.kind", "it is `cloud_scan`"),
    (job("account_check"), "target.params.account_id", "required"),
    (job("account_check", account_id="x"), "target.params.account_id", "not a UUID"),
    (job("account_check", account_id="\ud800"), "target.params.account_id", "not valid Unicode"),
    (job("account_check", account_id=NOBODY), "target.params.account_id", "no such account"),
    (job("account_check", account_id=NOBODY, x=1), "target.params.x", "no such field"),
    ({"target": {"kind": "job", "job": "account_check", "params": []}}, "target.params",
     "JSON object, such as"),
    # What happens when
    ({"overlap": "wait"}, "overlap", "Allowed: skip, queue, queue_one, cancel_previous"),
    ({"catchup_seconds": 5}, "catchup_seconds", "It must be at least 10."),
    ({"catchup_seconds": 10**9}, "catchup_seconds", "It must be at most 2678400."),
    ({"jitter_seconds": 90_000}, "jitter_seconds", "at most 86400."),
    (trigger("interval", every_seconds=60) | {"jitter_seconds": 60}, "jitter_seconds",
     "60 s apart"),
    ({"max_runs": 0}, "max_runs", "at least 1."),
    ({"max_runs": 10**10}, "max_runs", "at most 1000000."),
    ({"pause_after_failures": -1}, "pause_after_failures", "at least 0."),
    ({"paused": None}, "paused", "`null` is neither true nor false"),
    ({"note": "x" * 501}, "note", "at most 500 characters"),
    # Bounds
    ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at", "It has passed."),
    ({"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}, "ends_at",
     "after starts_at (2030-01-02 00:00 UTC)"),
    ({"starts_at": "2030-01-01T03:00:00Z", "ends_at": "2030-01-01T04:00:00Z"}, "ends_at",
     "never fires"),
    ({"starts_at": "0001-01-01T00:00:00+14:00"}, "starts_at", "between the years 2000 and 2100"),
    ({"ends_at": "9999-12-31T23:59:59-14:00"}, "ends_at", "between the years 2000 and 2100"),
    # Exclusions
    ({"exclude": {}}, "exclude", "a list"),
    ({"exclude": [{}]}, "exclude[0]", "It needs `type`, such as"),
    (exclude("day"), "exclude[0]", "allowed as `type`. Allowed: dates, window, period."),
    (exclude("dates", dates=["25.12."]), "exclude[0].dates[0]", "2026-12-25, or 12-25"),
    (exclude("dates", dates=["02-31"]), "exclude[0].dates[0]", "There is no 02-31."),
    (exclude("window", start="x", end="03:00"), "exclude[0].start", "Write it like 22:30."),
    (exclude("window", start="02:00", end="02:00"), "exclude[0].end", "The window is empty"),
    (exclude("window", start="22:00", end="02:00", days=["mo"]), "exclude[0].days[0]",
     "Allowed: mon, tue"),
    (exclude("window", start="01:00", end="03:00"), "exclude", "never fires"),
    (exclude("period", start="2030-12-01T00:00:00Z", end="2030-11-01T00:00:00Z"),
     "exclude[0].end", "after start"),
    (exclude("period", start="2030-12-01", end="2031-01-01T00:00:00Z"), "exclude[0].start",
     "time zone is missing"),
]  # fmt: skip


async def test_what_cannot_be_is_refused_with_its_field_and_its_fix(
    operator: httpx.AsyncClient,
) -> None:
    account = await add_account(operator)
    for change, field, words in WRONG:
        body = scan_of(account) | change
        for path in ("schedules", "schedules/preview"):
            errors = errors_of(await _send(operator, path, json.dumps(body)))
            assert words in errors.get(field, ""), (change, errors)
    assert (await operator.get("schedules")).json()["items"] == []


async def _send(caller: httpx.AsyncClient, path: str, text: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return await caller.post(path, content=text.encode(), headers=headers)


async def test_every_wrong_field_is_named_at_once(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    body = scan_of(account) | trigger("cron", cron=["0 2 * *", "* * * *"], timezone="Mars")
    body |= {"target": {"kind": "cloud_scan", "account_id": NOBODY}}
    errors = errors_of(await operator.post("schedules", json=body))
    assert list(errors) == [
        "trigger.timezone", "trigger.cron[0]", "trigger.cron[1]", "target.account_id"
    ]  # fmt: skip


async def test_a_disabled_account_is_no_target(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    await operator.patch(f"accounts/{account['id']}", json={"enabled": False})
    params = {"account_id": account["id"]}
    for change in ({}, job("account_check", **params)):
        errors = errors_of(await operator.post("schedules", json=scan_of(account) | change))
        assert "production is disabled. Enable it first." in "".join(errors.values())
    answer = await operator.post("jobs/account_check/runs", json={"params": params})
    assert "disabled" in errors_of(answer)["params.account_id"]


async def test_the_scope_of_a_scan_is_checked_as_scans_check_it(
    operator: httpx.AsyncClient, database: Database
) -> None:
    body = {"name": "az", "provider": "azure", "credentials": {"kind": "environment"}}
    account = (await operator.post("accounts", json=body)).json()
    check = CheckText(
        source="prowler",
        provider=Provider.AZURE,
        check_id="storage_secure_transfer",
        title="Storage takes only TLS",
        severity=Severity.HIGH,
        service="storage",
    )
    async with database.transaction() as session:
        await upsert_checks(session, [check])
    target = {
        "kind": "cloud_scan",
        "account_id": account["id"],
        "options": {"services": ["storge"]},
    }
    errors = errors_of(await operator.post("schedules", json=scan_of(account, target=target)))
    assert errors == {
        "target.options.services[0]": "azure has no service `storge`. Did you mean storage?"
    }
    params = {"account_id": account["id"], "checks": ["storage_secure_transfr"]}
    errors = errors_of(await operator.post("jobs/cloud_scan/runs", json={"params": params}))
    assert "Did you mean storage_secure_transfer?" in errors["params.checks[0]"]


@pytest.mark.parametrize("name", examples.SCHEDULES)
async def test_the_documented_examples_lack_only_the_account(
    operator: httpx.AsyncClient, name: str
) -> None:
    body: Any = examples.SCHEDULES[name]["value"]
    (message,) = errors_of(await operator.post("schedules", json=body)).values()
    assert "no such account" in message
    account = await add_account(operator)
    own = json.dumps(body).replace(examples.ACCOUNT, account["id"])
    answer = await _send(operator, "schedules", own)
    assert answer.status_code == 201, answer.text


async def test_a_change_is_checked_like_a_new_schedule(operator: httpx.AsyncClient) -> None:
    schedule = await add_schedule(operator, scan_of(await add_account(operator)))
    path = f"schedules/{schedule['id']}"
    for change, field, words in (
        (trigger("cron", cron="0 0 31 2 *"), "trigger.cron", "never fires"),
        (trigger("crn"), "trigger", "is not allowed as `type`"),
        ({"target": {"kind": "cloud_scan", "account_id": NOBODY}}, "target.account_id", "no such"),
        ({"catchup_seconds": 1}, "catchup_seconds", "at least 10."),
        ({"name": None}, "name", "cannot be null"),
        ({"trigger": None}, "trigger", "cannot be null"),
        ({"exclude": None, "note": None}, "note", "cannot be null"),
        ({"paused": True}, "paused", "no such field"),
    ):
        errors = errors_of(await operator.patch(path, json=change))
        assert words in errors.get(field, ""), (change, errors)
    assert (await operator.get(path)).json()["trigger"] == NIGHTLY


async def test_what_a_schedule_said_already_may_have_passed(
    operator: httpx.AsyncClient, database: Database
) -> None:
    body = scan_of(await add_account(operator)) | trigger("one_time", at="2099-01-01T00:00:00Z")
    schedule = await add_schedule(operator, body)
    past = '{"type": "one_time", "at": "2020-01-01T00:00:00Z"}'
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE schedule SET trigger = CAST(:past AS jsonb) WHERE id = :id"),
            {"past": past, "id": schedule["id"]},
        )
    path = f"schedules/{schedule['id']}"
    renamed = await operator.patch(path, json={"name": "renamed", "catchup_seconds": 60})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "renamed")
    errors = errors_of(
        await operator.patch(path, json=trigger("one_time", at="2020-01-02T00:00:00Z"))
    )
    assert "It has passed." in errors["trigger.at"]
