"""Schedules over HTTP: kept here, fired by Temporal, and the same in both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError

from api import scan_control, schedule_engine, schedule_view
from api.app import create_app
from contracts.keys import NewKey
from contracts.runs import RunAsked, run_id_at
from contracts.schedules import JobTarget, NewSchedule
from contracts.vocabulary import OverlapPolicy, Role, RunOutcome
from runtime.settings import Settings
from storage import job_runs, schedules
from storage.database import Database
from storage.keys import create_key
from tests.api.conftest import Caller, Team, open_client
from tests.api.scheduled import (
    NIGHTLY,
    add_account,
    add_schedule,
    errors_of,
    held,
    scan_of,
    without_temporal,
)
from tests.support.relay import relay_to
from workflows.schedule_backfill import ScheduleBackfill

Row = dict[str, Any]


def test_the_names_of_workflows_are_those_of_the_classes() -> None:
    assert ScheduleBackfill.__name__ == schedule_engine.SCHEDULE_BACKFILL


async def test_a_schedule_is_created_shown_and_held_by_temporal(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient, namespace: Client
) -> None:
    account = await add_account(operator)
    body = scan_of(account, note="as agreed", max_runs=3, catchup_seconds=600)
    made = await operator.post("schedules", json=body)
    assert made.status_code == 201, made.text
    schedule = made.json()
    assert made.headers["Location"] == f"/api/v1/schedules/{schedule['id']}"
    assert schedule["status"] == "active"
    assert schedule["note"] == "as agreed"
    assert schedule["in_words"].startswith("every day at 02:00 Europe/Berlin; at most 3 runs; ")
    times = [datetime.fromisoformat(time) for time in schedule["next_runs"]]
    assert len(times) == 3  # max_runs leaves no more
    assert times == sorted(times)
    assert all(time.tzinfo == UTC and time > datetime.now(UTC) for time in times)
    assert schedule["counters"] == {
        "fired": 0, "skipped": 0, "missed": 0, "failed": 0, "refused": 0
    }  # fmt: skip
    assert (schedule["late"], schedule["late_reason"], schedule["last_run"]) == (False, None, None)
    assert schedule["is_default"] is False
    assert (await viewer.get(f"schedules/{schedule['id']}")).json() == schedule
    assert (await viewer.get("schedules")).json() == {"items": [schedule], "next_cursor": None}
    described = await held(namespace, schedule)
    assert described.schedule.policy.catchup_window == timedelta(seconds=600)
    assert described.info.next_action_times[0] == times[0]


async def test_a_taken_name_is_a_conflict_and_leaves_nothing_behind(
    operator: httpx.AsyncClient,
) -> None:
    account = await add_account(operator)
    kept = await add_schedule(operator, scan_of(account))
    answer = await operator.post("schedules", json=scan_of(account))
    assert answer.status_code == 409
    assert "nightly" in answer.json()["detail"]
    assert (await operator.get("schedules")).json()["items"] == [kept]


async def test_schedules_are_filtered_and_paged(operator: httpx.AsyncClient) -> None:
    one, two = await add_account(operator, "one"), await add_account(operator, "two")
    check = {"kind": "job", "job": "account_check", "params": {"account_id": two["id"]}}
    hourly = {"type": "interval", "every_seconds": 86_400}
    once = {"type": "one_time", "at": "2099-01-01T00:00:00Z"}
    expiry = {"type": "expiry", "item_kind": "certificate"}
    bodies = [
        scan_of(one, name="a"),
        scan_of(two, name="b", trigger=hourly, paused=True),
        scan_of(two, name="c", target=check, trigger=once),
        scan_of(one, name="d", trigger=expiry),
    ]
    for body in bodies:
        await add_schedule(operator, body)

    async def names(query: str) -> str:
        answer = await operator.get(f"schedules?{query}")
        assert answer.status_code == 200, answer.text
        return "".join(row["name"] for row in answer.json()["items"])

    assert await names("") == "abcd"
    assert await names("status=paused") == "b"
    assert await names("status=active,finished") == "acd"
    assert await names("job=account_check") == "c"
    assert await names(f"account_id={two['id']}") == "bc"
    assert await names("trigger=one_time,expiry") == "cd"
    assert await names(f"trigger=cron,expiry&account_id={one['id']}&status=active") == "ad"
    assert await names(f"account_id={uuid4()}") == ""
    first = (await operator.get("schedules?limit=3")).json()
    rest = (await operator.get(f"schedules?limit=3&cursor={first['next_cursor']}")).json()
    assert [row["name"] for row in first["items"] + rest["items"]] == list("abcd")
    assert rest["next_cursor"] is None
    refused = errors_of(await operator.get("schedules?trigger=crn&status=on"))
    assert "Allowed: cron, interval, one_time, expiry." in refused["trigger"]
    assert "Allowed: active, paused, finished." in refused["status"]


async def test_a_change_reaches_temporal_and_keeps_what_was_not_named(
    operator: httpx.AsyncClient, namespace: Client
) -> None:
    schedule = await add_schedule(operator, scan_of(await add_account(operator), max_runs=9))
    change = {
        "name": "weekly",
        "trigger": {"type": "cron", "cron": "0 5 * * MON", "timezone": "UTC"},
        "overlap": "queue",
        "max_runs": None,
    }
    answer = await operator.patch(f"schedules/{schedule['id']}", json=change)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["in_words"].startswith("every Monday at 05:00 UTC; if the last run is still")
    assert (changed["name"], changed["overlap"], changed["max_runs"]) == ("weekly", "queue", None)
    assert changed["target"] == schedule["target"]
    assert changed["created_at"] == schedule["created_at"]
    assert changed["updated_at"] > schedule["updated_at"]
    times = (await held(namespace, schedule)).info.next_action_times
    assert times[0] == datetime.fromisoformat(changed["next_runs"][0])


async def test_a_paused_schedule_stays_paused_when_it_is_changed(
    operator: httpx.AsyncClient, namespace: Client
) -> None:
    schedule = await add_schedule(operator, scan_of(await add_account(operator)))
    path = f"schedules/{schedule['id']}"
    paused = await operator.post(f"{path}/pause", json={"note": "maintenance until Friday"})
    assert paused.status_code == 200
    assert (paused.json()["status"], paused.json()["next_runs"]) == ("paused", [])
    assert paused.json()["note"] == "maintenance until Friday"
    state = (await held(namespace, schedule)).schedule.state
    assert state.paused
    assert state.note is not None
    assert state.note.endswith("maintenance until Friday")
    again = await operator.post(f"{path}/pause")
    assert again.json()["note"] == "maintenance until Friday"

    change = {"trigger": NIGHTLY | {"cron": "0 4 * * *"}, "name": "later"}
    changed = (await operator.patch(path, json=change)).json()
    assert (changed["status"], changed["paused"]) == ("paused", True)
    assert changed["note"] == "maintenance until Friday"
    assert (await held(namespace, schedule)).schedule.state.paused

    resumed = (await operator.post(f"{path}/resume", json={"note": "it is Friday"})).json()
    assert (resumed["status"], resumed["note"]) == ("active", "it is Friday")
    assert len(resumed["next_runs"]) == 5
    state = (await held(namespace, schedule)).schedule.state
    assert not state.paused
    assert state.note is not None
    assert state.note.endswith("it is Friday")
    assert (await operator.post(f"{path}/resume")).json() == resumed  # it is active already


async def test_a_schedule_of_a_disabled_account_is_not_resumed(
    operator: httpx.AsyncClient,
) -> None:
    account = await add_account(operator)
    schedule = await add_schedule(operator, scan_of(account, paused=True))
    assert schedule["status"] == "paused"
    await operator.patch(f"accounts/{account['id']}", json={"enabled": False})
    refused = await operator.post(f"schedules/{schedule['id']}/resume")
    assert refused.status_code == 409
    assert "production is disabled" in refused.json()["detail"]
    await operator.patch(f"accounts/{account['id']}", json={"enabled": True})
    resumed = await operator.post(f"schedules/{schedule['id']}/resume")
    assert resumed.json()["status"] == "active"


async def test_a_finished_schedule_is_armed_by_new_times_only(
    operator: httpx.AsyncClient, database: Database, namespace: Client
) -> None:
    once = {"type": "one_time", "at": "2099-01-01T00:00:00Z"}
    schedule = await add_schedule(operator, scan_of(await add_account(operator), trigger=once))
    path = f"schedules/{schedule['id']}"
    async with database.transaction() as session:
        await schedules.finish_schedule(session, UUID(schedule["id"]), at=datetime.now(UTC))
    shown = (await operator.get(path)).json()
    assert (shown["status"], shown["next_runs"]) == ("finished", [])
    for action in ("pause", "resume"):
        refused = await operator.post(f"{path}/{action}")
        assert refused.status_code == 409
        assert "Change its times" in refused.json()["fix"]
    renamed = (await operator.patch(path, json={"name": "still over"})).json()
    assert renamed["status"] == "finished"
    with pytest.raises(RPCError, match="not found"):
        await held(namespace, schedule)
    armed = await operator.patch(path, json={"trigger": once | {"at": "2099-02-01T00:00:00Z"}})
    assert armed.json()["status"] == "active"
    assert (await held(namespace, schedule)).info.next_action_times


async def test_a_deleted_schedule_is_gone_from_both_and_its_name_is_free(
    admin: httpx.AsyncClient, namespace: Client
) -> None:
    account = await add_account(admin)
    schedule = await add_schedule(admin, scan_of(account))
    assert (await admin.delete(f"schedules/{schedule['id']}")).status_code == 204
    assert (await admin.get(f"schedules/{schedule['id']}")).status_code == 404
    assert (await admin.delete(f"schedules/{schedule['id']}")).status_code == 404
    with pytest.raises(RPCError, match="not found"):
        await held(namespace, schedule)
    await add_schedule(admin, scan_of(account))


async def test_a_tick_without_a_run_is_late_and_says_why(
    operator: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    team: Team,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    each_minute = {"type": "cron", "cron": "* * * * *"}
    schedule = await add_schedule(
        operator, scan_of(await add_account(operator), trigger=each_minute)
    )
    path = f"schedules/{schedule['id']}"
    assert schedule["late"] is False  # nothing was due since it was made
    await _settled_until(database, schedule, datetime.now(UTC) - timedelta(minutes=10))
    late = (await operator.get(path)).json()
    assert (late["late"], late["late_reason"]) == (True, scan_control.NO_WORKER)
    (listed,) = (await operator.get("schedules")).json()["items"]
    assert listed["late"] is True
    async with without_temporal(settings, team.keys[Role.VIEWER], monkeypatch) as caller:
        unreachable = (await caller.get(path)).json()
    assert unreachable["late_reason"] == schedule_view.NO_ENGINE

    now = datetime.now(UTC)
    for minutes in range(2):  # whichever of them is the newest, it has its run
        due = now.replace(second=0, microsecond=0) - timedelta(minutes=minutes)
        await _record_run(database, team, schedule, due)
    assert (await operator.get(path)).json()["late"] is False

    await _settled_until(database, schedule, now - timedelta(minutes=10))
    await operator.post(f"{path}/pause")
    assert (await operator.get(path)).json()["late"] is False
    assert (await admin.delete(path)).status_code == 204


async def _settled_until(database: Database, schedule: Row, until: datetime) -> None:
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE schedule SET accounted_until = :until WHERE id = :id"),
            {"until": until, "id": schedule["id"]},
        )


async def _record_run(database: Database, team: Team, schedule: Row, due: datetime) -> None:
    schedule_id = UUID(schedule["id"])
    asked = RunAsked(
        schedule_id=schedule_id,
        run_id=run_id_at(schedule_id, due),
        nominal_at=due,
        asked_at=due,
        workflow_id="",
        execution_id="",
    )
    async with database.transaction() as session:
        await job_runs.add_run(
            session,
            asked,
            team_id=team.id,
            job="cloud_scan",
            params={},
            overlap=OverlapPolicy.SKIP,
            overlap_key=f"schedule/{schedule_id}",
            outcome=RunOutcome.MISSED,
            reason="Nothing fired it.",
        )


async def test_a_schedule_shows_its_last_run(
    operator: httpx.AsyncClient, database: Database, team: Team
) -> None:
    schedule = await add_schedule(operator, scan_of(await add_account(operator)))
    due = datetime.now(UTC).replace(microsecond=0)
    await _record_run(database, team, schedule, due)
    shown = (await operator.get(f"schedules/{schedule['id']}")).json()
    (run,) = (await operator.get(f"schedules/{schedule['id']}/runs")).json()["items"]
    assert shown["last_run"] == run
    assert (run["outcome"], run["reason"]) == ("missed", "Nothing fired it.")
    assert (run["workflow_id"], run["temporal_url"]) == (None, None)  # none was ever started


async def test_another_teams_schedule_is_not_there(
    operator: httpx.AsyncClient, call: Caller, stranger: Team
) -> None:
    account = await add_account(operator)
    schedule = await add_schedule(operator, scan_of(account))
    other = call(stranger.keys[Role.ADMIN])
    path = f"schedules/{schedule['id']}"
    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    for method, url, body in (
        ("GET", path, None), ("GET", f"{path}/runs", None), ("PATCH", path, {"name": "mine"}),
        ("DELETE", path, None), ("POST", f"{path}/pause", {}), ("POST", f"{path}/resume", {}),
        ("POST", f"{path}/trigger", {}), ("POST", f"{path}/backfill", span),
    ):  # fmt: skip
        answer = await other.request(method, url, json=body)
        assert answer.status_code == 404, url
    assert (await other.get("schedules")).json()["items"] == []
    assert (await other.get(f"schedules?account_id={account['id']}")).json()["items"] == []
    errors = errors_of(await other.post("schedules", json=scan_of(account)))
    assert "no such account in this team" in errors["target.account_id"]
    assert (await operator.get(path)).json() == schedule


async def test_each_call_has_its_role(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    body = scan_of(await add_account(operator))
    schedule = await add_schedule(operator, body)
    path = f"schedules/{schedule['id']}"
    assert (await viewer.post("schedules/preview", json=body)).status_code == 200
    for method, url in (
        ("POST", "schedules"), ("PATCH", path), ("POST", f"{path}/pause"),
        ("POST", f"{path}/resume"), ("POST", f"{path}/trigger"), ("POST", f"{path}/backfill"),
        ("DELETE", path), ("POST", "jobs/account_check/runs"), ("POST", "tracked-items"),
    ):  # fmt: skip
        assert (await viewer.request(method, url, json={})).status_code == 403, url
    assert (await operator.delete(path)).status_code == 403
    assert (await admin.delete(path)).status_code == 204


async def test_jobs_of_the_installation_are_for_its_admins(
    admin: httpx.AsyncClient, call: Caller, database: Database
) -> None:
    target = {"kind": "job", "job": "expiry_sweep"}
    body = {"name": f"sweep {uuid4()}", "target": target, "trigger": NIGHTLY, "paused": True}
    refused = await admin.post("schedules", json=body)
    assert refused.status_code == 403
    assert "whole installation" in refused.json()["detail"]
    assert (await admin.post("jobs/schedule_reconciler/runs")).status_code == 403

    async with database.transaction() as session:
        first = await schedules.installation(session)
        keys = {
            role: await create_key(
                session, first, NewKey(name=role.value, role=role), at=datetime.now(UTC)
            )
            for role in (Role.OPERATOR, Role.ADMIN)
        }
    own_operator, own_admin = call(keys[Role.OPERATOR].key), call(keys[Role.ADMIN].key)
    assert (await own_operator.post("schedules", json=body)).status_code == 403
    schedule = await add_schedule(own_admin, body)
    path = f"schedules/{schedule['id']}"
    for action in ("pause", "resume", "trigger"):
        assert (await own_operator.post(f"{path}/{action}")).status_code == 403
    assert (await own_operator.patch(path, json={"name": "x"})).status_code == 403
    assert (await own_operator.get(path)).status_code == 200
    assert (await own_admin.delete(path)).status_code == 204


async def test_a_default_schedule_is_changed_but_neither_deleted_nor_given_another_job(
    call: Caller, database: Database, app: FastAPI
) -> None:
    new = NewSchedule.model_validate(
        {"name": "expiry_sweep", "target": JobTarget(job="expiry_sweep"), "trigger": NIGHTLY,
         "paused": True}
    )  # fmt: skip
    now = datetime.now(UTC)
    async with database.transaction() as session:
        first = await schedules.installation(session)
        await schedules.create_schedule(session, first, new, at=now, default_of="expiry_sweep")
        kept = await schedules.default_schedule(session, first, "expiry_sweep")
        key = await create_key(session, first, NewKey(name="own", role=Role.ADMIN), at=now)
    assert kept is not None
    caller, path = call(key.key), f"schedules/{kept.id}"
    assert (await caller.get(path)).json()["is_default"] is True
    refused = await caller.delete(path)
    assert refused.status_code == 409
    assert "default schedule" in refused.json()["detail"]
    other = {"target": {"kind": "job", "job": "schedule_reconciler"}}
    assert "cannot change" in errors_of(await caller.patch(path, json=other))["target.job"]
    changed = await caller.patch(path, json={"overlap": "queue"})
    assert (changed.status_code, changed.json()["overlap"]) == (200, "queue")


async def test_while_temporal_is_away_nothing_is_created_or_changed(
    settings: Settings,
    operator: httpx.AsyncClient,
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
    namespace: Client,
) -> None:
    account = await add_account(operator)
    schedule = await add_schedule(operator, scan_of(account))
    path = f"schedules/{schedule['id']}"
    async with without_temporal(settings, team.keys[Role.ADMIN], monkeypatch) as caller:
        answer = await caller.post("schedules", json=scan_of(account, name="new"))
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_unavailable")
        assert answer.json()["detail"] == "Temporal cannot be reached, so nothing was created."
        assert int(answer.headers["Retry-After"]) > 0
        for method, url, body in (
            ("PATCH", path, {"name": "changed"}), ("POST", f"{path}/pause", {"note": "x"}),
        ):  # fmt: skip
            answer = await caller.request(method, url, json=body)
            assert answer.status_code == 503, url
            assert answer.json()["detail"] == "Temporal cannot be reached, so nothing was changed."
        assert (await caller.post(f"{path}/trigger")).status_code == 503
        run = {"params": {"account_id": account["id"]}}
        assert (await caller.post("jobs/account_check/runs", json=run)).status_code == 503
        assert (await caller.get("schedules")).json()["items"] == [schedule]
        assert (await caller.post("schedules/preview", json=scan_of(account))).status_code == 200
        # Its row counts: what Temporal still holds the reconciler removes.
        assert (await caller.delete(path)).status_code == 204
        assert (await caller.get("schedules")).json()["items"] == []
    assert (await held(namespace, schedule)).id == f"schedule/{schedule['id']}"


async def test_a_row_is_taken_back_when_temporal_falls_silent_in_between(
    settings: Settings,
    team: Team,
    operator: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    namespace: Client,
) -> None:
    account = await add_account(operator)
    port = int(namespace.service_client.config.target_host.rpartition(":")[2])
    async with relay_to(port) as relay:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{relay.port}")
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            open_client(app, team.keys[Role.OPERATOR]) as caller,
        ):
            kept = await add_schedule(caller, scan_of(account, name="kept"))
            relay.freeze()
            new, change = await asyncio.gather(
                caller.post("schedules", json=scan_of(account, name="new")),
                caller.patch(f"schedules/{kept['id']}", json={"name": "changed"}),
            )
            assert new.json()["detail"] == "Temporal cannot be reached, so nothing was created."
            assert change.json()["detail"] == "Temporal cannot be reached, so nothing was changed."
            relay.thaw()
            assert (await caller.get("schedules")).json()["items"] == [kept]
            assert (await caller.post("schedules", json=scan_of(account, name="new"))).is_success
