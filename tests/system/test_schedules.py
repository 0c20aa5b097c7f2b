"""Schedules with real scans and real kills."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil

from tests.support.system import Row, System

SERVICES = ["iam", "ec2", "sns", "sqs", "dynamodb"]


async def _runs(system: System, schedule_id: str, count: int, seconds: float = 120) -> list[Row]:
    """The runs of a schedule, once so many have ended."""
    deadline = time.monotonic() + seconds
    while True:
        runs = await system.all("runs", schedule_id=schedule_id)
        ended = [run for run in runs if run["ended_at"] is not None]
        if len(ended) >= count:
            return ended
        assert time.monotonic() < deadline, runs
        await asyncio.sleep(0.3)


async def test_a_scheduled_scan_that_cancels_the_previous_stops_its_scanners_and_keeps_its_findings(
    system: System, account: str, name: str
) -> None:
    await system.scan(account, services=SERVICES)
    verdicts = await system.verdicts(account)
    by_hand = await system.start(account, services=SERVICES)
    scanners = await system.until_scanning()
    schedule = await system.post(
        "schedules",
        {
            "name": name,
            "target": {
                "kind": "cloud_scan",
                "account_id": account,
                "options": {"services": SERVICES, "discovery": False},
            },
            "trigger": {"type": "cron", "cron": "@yearly"},
            "overlap": "cancel_previous",
        },
    )
    await system.post(f"schedules/{schedule['id']}/trigger", {})  # at once: the scan is short

    (run,) = await _runs(system, schedule["id"], 1)

    assert psutil.wait_procs(scanners, timeout=1)[1] == []
    assert (await system.get(f"scans/{by_hand}"))["status"] == "cancelled"
    assert run["outcome"] == "completed"
    assert run["reason"] == f"Scan {by_hand} was cancelled for this one (overlap: cancel_previous)."
    scan = await system.get(f"scans/{run['scan_id']}")
    assert scan["trigger"] == {"kind": "schedule", "schedule_id": schedule["id"]}
    assert scan["counts"]["findings"]["resolved"] == 0
    assert await system.verdicts(account) == verdicts


async def test_an_api_killed_between_row_and_temporal_loses_no_schedule(
    system: System, account: str, name: str
) -> None:
    temporal = psutil.Process(system.stack.pids["temporal"])
    body = {
        "name": name,
        "target": {"kind": "job", "job": "account_check", "params": {"account_id": account}},
        "trigger": {"type": "interval", "every_seconds": 2},
    }
    temporal.suspend()  # it accepts, and does not answer
    try:
        creating = asyncio.create_task(system.client.post("schedules", json=body))
        await asyncio.sleep(1.5)
        system.kill("api")
        try:
            await creating
        except httpx.TransportError:
            pass
        else:
            raise AssertionError("the API answered before it was killed")
    finally:
        temporal.resume()

    deadline = time.monotonic() + 60
    while True:
        try:
            await system.post("jobs/schedule_reconciler/runs", {"params": {}})
            break
        except (httpx.TransportError, AssertionError):  # it is just being started again
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
    (found,) = [each for each in await system.all("schedules") if each["name"] == name]
    runs = await _runs(system, found["id"], 2)
    assert {run["outcome"] for run in runs} <= {"completed", "skipped"}
    assert (await system.client.delete(f"schedules/{found['id']}")).is_success
