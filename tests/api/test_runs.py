"""Runs over HTTP: a schedule triggered or backfilled, a job run now, and which rule decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.client import Client

from api import job_control, scan_control
from contracts.keys import NewKey
from contracts.vocabulary import Role
from storage.database import Database
from storage.keys import create_key
from storage.schedules import schedules
from tests.api.conftest import Caller, Team
from tests.api.scheduled import NIGHTLY, add_account, add_schedule, errors_of, scan_of, until
from tests.api.scripted import Script
from workflows.catalogue import JOBS

Row = dict[str, Any]
ENDED = {"completed", "completed_with_errors", "failed", "timed_out", "cancelled", "terminated"}


@pytest.fixture
async def account(operator: httpx.AsyncClient) -> Row:
    """An account to scan."""
    return await add_account(operator)


def has_ended(run: Row) -> bool:
    """A condition for `until`."""
    return run["outcome"] in ENDED


async def trigger(caller: httpx.AsyncClient, schedule: Row, overlap: str | None = None) -> Row:
    """Run a schedule now."""
    body = {"overlap": overlap} if overlap else None
    answer = await caller.post(f"schedules/{schedule['id']}/trigger", json=body)
    assert answer.status_code == 202, answer.text
    run: Row = answer.json()
    assert answer.headers["Location"] == f"/api/v1/runs/{run['id']}"
    return run


async def start_scan(caller: httpx.AsyncClient, account: Row) -> Row:
    """A scan by hand that runs until the script lets it end."""
    scan = (await caller.post("scans", json={"account_id": account["id"]})).json()
    return await until(caller, f"scans/{scan['id']}", lambda seen: seen["status"] == "running")


async def test_a_triggered_schedule_runs_whatever_its_state(
    script: Script, operator: httpx.AsyncClient, account: Row, worked_namespace: Client
) -> None:
    script.go_on.set()
    schedule = await add_schedule(operator, scan_of(account, paused=True))
    run = await trigger(operator, schedule)
    assert (run["outcome"], run["reason"]) == ("running", None)
    assert (run["schedule_id"], run["job"], run["trigger"]) == (
        schedule["id"], "cloud_scan", "manual"
    )  # fmt: skip
    assert run["params"]["account_id"] == account["id"]
    assert run["temporal_url"] == (
        f"http://127.0.0.1:8233/namespaces/{worked_namespace.namespace}/workflows/run%2F{run['id']}"
    )
    ended = await until(operator, f"runs/{run['id']}", has_ended)
    assert ended["outcome"] == "completed"
    scan = (await operator.get(f"scans/{ended['scan_id']}")).json()
    assert scan["trigger"] == {"kind": "schedule", "schedule_id": schedule["id"]}
    shown = (await operator.get(f"schedules/{schedule['id']}")).json()
    assert (shown["status"], shown["counters"]["fired"]) == ("paused", 0)  # none of its times
    assert shown["last_run"] == ended
    listed = (await operator.get(f"schedules/{schedule['id']}/runs")).json()
    assert listed["items"] == [ended]


OVERLAPS = [
    ("skip", "skipped", "{scan} has not ended (overlap: skip).", "completed"),
    ("queue", "running", "Waits until {scan} has ended (overlap: queue).", "completed"),
    ("queue_one", "running", "Waits until {scan} has ended (overlap: queue_one).", "completed"),
    ("allow", "running", "{scan} has not ended (overlap: allow); scans of one account take turns.",
     "completed"),
    ("cancel_previous", "queued", "{scan} was cancelled for this one (overlap: cancel_previous).",
     "cancelled"),
    ("terminate_previous", "queued",
     "{scan} was terminated for this one (overlap: terminate_previous).", "cancelled"),
]  # fmt: skip


@pytest.mark.parametrize(("overlap", "outcome", "reason", "scan_ends"), OVERLAPS)
async def test_a_run_says_which_rule_decided_beside_a_scan_by_hand(
    script: Script,
    operator: httpx.AsyncClient,
    account: Row,
    overlap: str,
    outcome: str,
    reason: str,
    scan_ends: str,
) -> None:
    scan = await start_scan(operator, account)
    schedule = await add_schedule(operator, scan_of(account, overlap=overlap))
    run = await trigger(operator, schedule)
    assert run["reason"] == reason.format(scan=f"Scan {scan['id']}")
    assert run["outcome"] in (outcome, "running" if outcome == "queued" else outcome)
    assert run["overlap"] == overlap
    if scan_ends == "cancelled":
        ended = await until(
            operator, f"scans/{scan['id']}", lambda seen: seen["status"] == "cancelled"
        )
        assert ended["counts"]["tasks"]["done"] == 0
    script.go_on.set()
    if outcome == "skipped":
        assert (await operator.get(f"runs/{run['id']}")).json() == run
    else:
        ended = await until(operator, f"runs/{run['id']}", has_ended)
        assert ended["outcome"] == "completed"
        assert ended["reason"] == run["reason"]
    await until(operator, f"scans/{scan['id']}", lambda seen: seen["status"] == scan_ends)


async def test_one_run_may_be_triggered_with_another_policy(
    script: Script, operator: httpx.AsyncClient, account: Row
) -> None:
    schedule = await add_schedule(operator, scan_of(account))
    first = await trigger(operator, schedule)
    skipped = await trigger(operator, schedule)
    assert (skipped["outcome"], skipped["overlap"]) == ("skipped", "skip")
    assert f"Run {first['id']} has not ended" in skipped["reason"]
    waiting = await trigger(operator, schedule, "queue_one")
    assert (waiting["outcome"], waiting["overlap"]) == ("running", "queue_one")
    further = await trigger(operator, schedule, "queue_one")
    assert further["outcome"] == "skipped"
    assert further["reason"] == f"Run {waiting['id']} is waiting already (overlap: queue_one)."
    refused = await operator.post(f"schedules/{schedule['id']}/trigger", json={"overlap": "wait"})
    assert "Allowed: skip" in errors_of(refused)["overlap"]
    script.go_on.set()
    for run in (first, waiting):
        assert (await until(operator, f"runs/{run['id']}", has_ended))["outcome"] == "completed"
    counters = (await operator.get(f"schedules/{schedule['id']}")).json()["counters"]
    assert (counters["fired"], counters["skipped"]) == (0, 0)  # runs by hand are none of its times


async def test_a_limit_of_runs_is_above_what_a_schedule_has_had(
    operator: httpx.AsyncClient, account: Row, database: Database
) -> None:
    schedule = await add_schedule(operator, scan_of(account))
    async with database.transaction() as session:
        await schedules.count_outcome(session, UUID(schedule["id"]), fired=2)
    answer = await operator.patch(f"schedules/{schedule['id']}", json={"max_runs": 2})
    assert errors_of(answer)["max_runs"] == "It has had 2 runs already. Choose more."


async def test_a_run_that_no_worker_takes_is_shown_and_says_so_to_its_team_only(
    operator: httpx.AsyncClient, call: Caller, stranger: Team, account: Row
) -> None:
    schedule = await add_schedule(operator, scan_of(account))
    run = await trigger(operator, schedule, "queue")
    assert (run["outcome"], run["overlap"]) == ("queued", "queue")
    assert run["reason"] == f"{job_control.NOT_TAKEN} {scan_control.NO_WORKER}"
    shown = (await operator.get(f"runs/{run['id']}")).json()
    assert shown == run | {"overlap": "queue"}
    assert (await call(stranger.keys[Role.ADMIN]).get(f"runs/{run['id']}")).status_code == 404
    cancelled = await operator.post(f"runs/{run['id']}/cancel")
    assert cancelled.status_code == 202, cancelled.text


async def test_a_cancelled_run_stops_its_scan_which_keeps_what_it_has(
    script: Script, operator: httpx.AsyncClient, account: Row
) -> None:
    schedule = await add_schedule(operator, scan_of(account))
    run = await trigger(operator, schedule)
    scan = f"scans/{run['scan_id']}"
    await until(operator, scan, lambda seen: seen["status"] == "running")
    answer = await operator.post(f"runs/{run['id']}/cancel")
    assert answer.status_code == 202, answer.text
    ended = await until(operator, f"runs/{run['id']}", has_ended)
    assert (ended["outcome"], ended["error"]) == ("cancelled", None)
    assert (await operator.get(scan)).json()["status"] == "cancelled"
    again = await operator.post(f"runs/{run['id']}/cancel")
    assert again.status_code == 409
    assert "it is cancelled" in again.json()["detail"]
    counters = (await operator.get(f"schedules/{schedule['id']}")).json()["counters"]
    assert counters["failed"] == 0


async def test_a_run_whose_workflow_was_lost_can_be_cancelled(
    script: Script, operator: httpx.AsyncClient, account: Row, worked_namespace: Client
) -> None:
    run = await trigger(operator, await add_schedule(operator, scan_of(account)))
    await worked_namespace.get_workflow_handle(run["workflow_id"]).terminate()
    answer = await operator.post(f"runs/{run['id']}/cancel")
    assert (answer.status_code, answer.json()["outcome"]) == (202, "cancelled")


async def test_a_job_runs_now_and_is_recorded(
    script: Script, operator: httpx.AsyncClient, account: Row
) -> None:
    params = {"account_id": account["id"]}
    answer = await operator.post("jobs/account_check/runs", json={"params": params})
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert answer.headers["Location"] == f"/api/v1/runs/{run['id']}"
    assert (run["job"], run["params"], run["schedule_id"]) == ("account_check", params, None)
    ended = await until(operator, f"runs/{run['id']}", has_ended)
    assert ended["outcome"] == "completed"
    assert ended["summary"]["identity"]["account_uid"] == "123456789012"
    script.credentials_are_accepted = False
    answer = await operator.post("jobs/account_check/runs", json={"params": params})
    failed = await until(operator, f"runs/{answer.json()['id']}", has_ended)
    assert failed["outcome"] == "failed"
    assert failed["error"]["message"] == "The role may not be assumed."
    assert failed["error"]["fix"] == "Mend its trust policy."
    listed = (await operator.get("jobs/account_check/runs?outcome=failed")).json()
    assert listed["items"] == [failed]
    assert (await operator.get("jobs/account_check")).json()["last_run"] == failed


async def test_a_scan_is_run_as_a_job_too(
    script: Script, operator: httpx.AsyncClient, account: Row
) -> None:
    script.go_on.set()
    params = {"account_id": account["id"], "services": ["s3"]}
    run = (await operator.post("jobs/cloud_scan/runs", json={"params": params})).json()
    ended = await until(operator, f"runs/{run['id']}", has_ended)
    assert ended["outcome"] == "completed"
    scan = (await operator.get(f"scans/{ended['scan_id']}")).json()
    assert scan["options"]["services"] == ["s3"]
    assert scan["trigger"]["kind"] == "manual"


async def test_the_sweep_is_run_by_an_admin_of_the_installation(
    script: Script, call: Caller, database: Database
) -> None:
    async with database.transaction() as session:
        first = await schedules.installation(session)
        new = NewKey(name="sweeper", role=Role.ADMIN)
        key = await create_key(session, first, new, at=datetime.now(UTC))
    caller = call(key.key)
    run = (await caller.post("jobs/expiry_sweep/runs")).json()
    ended = await until(caller, f"runs/{run['id']}", has_ended)
    assert ended["outcome"] == "completed"
    assert "started" in ended["summary"]["counts"]


async def test_jobs_are_listed_with_what_they_take(viewer: httpx.AsyncClient) -> None:
    listed = (await viewer.get("jobs")).json()
    assert [job["name"] for job in listed["items"]] == sorted(JOBS)
    assert listed["next_cursor"] is None
    paged, more = [], "jobs?limit=4"
    while more:
        page = (await viewer.get(more)).json()
        paged += page["items"]
        more = f"jobs?limit=4&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert paged == listed["items"]
    check = (await viewer.get("jobs/account_check")).json()
    assert check in listed["items"]
    assert check["params_schema"]["required"] == ["account_id"]
    assert (check["scope"], check["default"], check["last_run"]) == ("team", None, None)
    reconciler = (await viewer.get("jobs/schedule_reconciler")).json()
    assert reconciler["default"]["trigger"]["every_seconds"] == 300
    assert reconciler["scope"] == "installation"


async def test_a_job_that_does_not_exist_names_those_that_do(operator: httpx.AsyncClient) -> None:
    for method, url in (
        ("GET", "jobs/account_chek"), ("GET", "jobs/account_chek/runs"),
        ("POST", "jobs/account_chek/runs"),
    ):  # fmt: skip
        answer = await operator.request(method, url)
        assert answer.status_code == 404
        assert "Did you mean account_check?" in answer.json()["detail"]
    for body, field, words in (
        (None, "params.account_id", "required"),
        ({"params": {"account_id": "x"}}, "params.account_id", "not a UUID"),
        ({"params": {"account_id": str(uuid4())}}, "params.account_id", "no such account"),
        ({"params": []}, "params", "JSON object"),
        ({"parms": {}}, "parms", "no such field"),
    ):
        answer = await operator.post("jobs/account_check/runs", json=body)
        assert words in errors_of(answer).get(field, ""), (body, answer.text)


async def test_runs_are_filtered_paged_and_seen_by_their_team_only(
    script: Script, operator: httpx.AsyncClient, account: Row, call: Caller, stranger: Team
) -> None:
    script.go_on.set()
    schedule = await add_schedule(operator, scan_of(account))
    scan_run = await trigger(operator, schedule)
    await until(operator, f"runs/{scan_run['id']}", has_ended)
    params = {"account_id": account["id"]}
    check = (await operator.post("jobs/account_check/runs", json={"params": params})).json()
    await until(operator, f"runs/{check['id']}", has_ended)

    async def found(query: str) -> list[str]:
        answer = await operator.get(f"runs?{query}")
        assert answer.status_code == 200, answer.text
        return [run["id"] for run in answer.json()["items"]]

    assert await found("") == [check["id"], scan_run["id"]]
    assert await found("job=cloud_scan") == [scan_run["id"]]
    assert await found(f"schedule_id={schedule['id']}") == [scan_run["id"]]
    assert await found("outcome=completed&trigger=manual") == [check["id"], scan_run["id"]]
    assert await found("outcome=skipped,missed") == []
    first = (await operator.get("runs?limit=1")).json()
    rest = (await operator.get(f"runs?limit=1&cursor={first['next_cursor']}")).json()
    assert [run["id"] for run in first["items"] + rest["items"]] == await found("")
    errors = errors_of(await operator.get("runs?outcome=done"))
    assert "Allowed: queued, running, completed" in errors["outcome"]

    other = call(stranger.keys[Role.ADMIN])
    for method, url in (("GET", f"runs/{check['id']}"), ("POST", f"runs/{check['id']}/cancel")):
        assert (await other.request(method, url)).status_code == 404
    assert (await other.get(f"runs?schedule_id={schedule['id']}")).json()["items"] == []


# --- Backfill ------------------------------------------------------------------------------------


def days_ago(days: int) -> str:
    """A midnight in UTC."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - timedelta(days=days)).isoformat()


async def test_a_backfill_lists_runs_and_leaves_out_what_ran(
    script: Script, operator: httpx.AsyncClient, account: Row
) -> None:
    script.go_on.set()
    check = {"kind": "job", "job": "account_check", "params": {"account_id": account["id"]}}
    midnight = {"type": "cron", "cron": "@daily"}
    schedule = await add_schedule(operator, scan_of(account, target=check, trigger=midnight))
    path = f"schedules/{schedule['id']}"
    span = {"start": days_ago(3), "end": days_ago(1)}
    dry = await operator.post(f"{path}/backfill", json=span | {"dry_run": True})
    assert dry.status_code == 202, dry.text
    times = [datetime.fromisoformat(days_ago(day)) for day in (3, 2, 1)]  # both ends count
    assert [datetime.fromisoformat(time) for time in dry.json()["times"]] == times
    assert (dry.json()["already_ran"], dry.json()["workflow_id"]) == (0, None)
    assert (await operator.get(f"{path}/runs")).json()["items"] == []

    started = (await operator.post(f"{path}/backfill", json=span)).json()
    assert started["times"] == dry.json()["times"]
    assert started["workflow_id"].startswith(f"backfill/{schedule['id']}/")

    def all_ended(page: Row) -> bool:
        return len(page["items"]) == 3 and all(map(has_ended, page["items"]))

    runs = (await until(operator, f"{path}/runs?trigger=backfill", all_ended))["items"]
    assert sorted(datetime.fromisoformat(run["nominal_at"]) for run in runs) == times
    by_start = sorted(runs, key=lambda run: str(run["started_at"]))
    assert [run["nominal_at"] for run in by_start] == sorted(run["nominal_at"] for run in runs)

    wider = span | {"start": days_ago(4)}
    left = (await operator.post(f"{path}/backfill", json=wider | {"dry_run": True})).json()
    assert (len(left["times"]), left["already_ran"]) == (1, 3)
    nothing = (await operator.post(f"{path}/backfill", json=span)).json()
    assert nothing == {"times": [], "already_ran": 3, "workflow_id": None}
    again = wider | {"dry_run": True, "rerun": True}
    assert len((await operator.post(f"{path}/backfill", json=again)).json()["times"]) == 4


async def test_a_range_that_cannot_be_is_refused_with_the_fix(
    operator: httpx.AsyncClient, account: Row
) -> None:
    bounds = {"starts_at": "2026-01-01T00:00:00Z"}
    schedule = await add_schedule(operator, scan_of(account, **bounds))
    minutely = {"type": "cron", "cron": "* * * * *"}
    often = await add_schedule(
        operator, scan_of(account, name="often", trigger=minutely, paused=True)
    )
    second = {"type": "interval", "every_seconds": 1}
    most = await add_schedule(operator, scan_of(account, name="most", trigger=second, paused=True))
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for which, start, end, field, words in (
        (schedule, days_ago(1), future, "end", "in the future"),
        (schedule, days_ago(1), days_ago(2), "end", "must not be before start"),
        (schedule, "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "end",
         "Its starts_at is 2026-01-01 00:00 UTC. It runs every day at 02:00 Europe/Berlin."),
        (schedule, "0001-01-01T00:00:00+14:00", days_ago(1), "start", "from 2000 on"),
        (often, days_ago(2), days_ago(1), "end", "1,441 times lie in this range; at most 500"),
        (most, "2020-01-01T00:00:00Z", days_ago(1), "end", "More than 100,000 times"),
        (schedule, "yesterday", days_ago(1), "start", "is not a time"),
    ):  # fmt: skip
        body = {"start": start, "end": end}
        answer = await operator.post(f"schedules/{which['id']}/backfill", json=body)
        assert words in errors_of(answer).get(field, ""), (body, answer.text)
    # What the answer proposes instead is accepted.
    answer = await operator.post(
        f"schedules/{often['id']}/backfill",
        json={"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T08:19:00Z", "dry_run": True},
    )
    assert len(answer.json()["times"]) == 500
    expiry = {"type": "expiry", "item_kind": "certificate"}
    other = await add_schedule(operator, scan_of(account, name="expiry", trigger=expiry))
    span = {"start": days_ago(2), "end": days_ago(1)}
    answer = await operator.post(f"schedules/{other['id']}/backfill", json=span)
    assert answer.status_code == 409
    assert "items expire" in answer.json()["detail"]


async def test_a_backfill_works_on_a_nightly_schedule_in_its_own_zone(
    operator: httpx.AsyncClient, account: Row
) -> None:
    schedule = await add_schedule(operator, scan_of(account, trigger=NIGHTLY))
    span = {"start": "2026-03-28T00:00:00Z", "end": "2026-03-30T00:30:00Z", "dry_run": True}
    answer = await operator.post(f"schedules/{schedule['id']}/backfill", json=span)
    assert answer.json()["times"] == [
        "2026-03-28T01:00:00Z", "2026-03-30T00:00:00Z"
    ]  # 02:00 does not exist on the 29th  # fmt: skip
