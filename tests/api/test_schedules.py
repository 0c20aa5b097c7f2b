"""Schedules over HTTP: kept here, fired by Temporal, and the same in both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError

from api import scan_control, schedule_engine, schedule_view
from contracts.runs import RunAsked, run_id_at
from contracts.vocabulary import OverlapPolicy, Role, RunOutcome
from runtime.settings import Settings
from storage.database import Database
from storage.schedules import job_runs, schedules
from tests.api.conftest import Team
from tests.api.scheduled import (
    NIGHTLY,
    add_account,
    add_schedule,
    errors_of,
    held,
    scan_of,
    without_temporal,
)
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
    other = await add_schedule(operator, scan_of(account, name="other"))
    renamed = await operator.patch(f"schedules/{other['id']}", json={"name": "nightly"})
    assert renamed.status_code == 409
    assert (await operator.get("schedules")).json()["items"] == [kept, other]


async def test_of_several_creations_at_once_one_has_the_name(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    answers = await asyncio.gather(
        *(operator.post("schedules", json=scan_of(account)) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert len((await operator.get("schedules")).json()["items"]) == 1


async def test_of_several_changes_at_once_temporal_holds_the_one_that_is_shown(
    operator: httpx.AsyncClient, namespace: Client
) -> None:
    schedule = await add_schedule(operator, scan_of(await add_account(operator)))
    path = f"schedules/{schedule['id']}"
    changes = [{"trigger": NIGHTLY | {"cron": f"{minute} 3 * * *"}} for minute in range(8)]
    await asyncio.gather(
        *(operator.patch(path, json=change) for change in changes),
        operator.post(f"{path}/pause", json={"note": "meanwhile"}),
    )
    shown = (await operator.get(path)).json()
    assert (shown["status"], shown["note"]) == ("paused", "meanwhile")
    (calendar,) = (await held(namespace, schedule)).schedule.spec.calendars
    minute = calendar.minute[0].start
    assert shown["trigger"]["cron"] == f"{minute} 3 * * *"


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
