"""A scan whose worker and workflow are gone for good, mended by the running product itself."""

from __future__ import annotations

import asyncio
import time

from runtime.settings import Settings
from runtime.temporal import connect
from tests.support.cloud import RunningCloud
from tests.support.system import Row, System


async def _watch(system: System) -> Row:
    """Run the watchdog now: its run, once a worker took it and it has ended."""
    asked = await system.post("jobs/data_sync_watchdog/runs")
    deadline = time.monotonic() + 120
    while True:
        for run in (await system.get("jobs/data_sync_watchdog/runs"))["items"]:
            if run["id"] == asked["id"] and run["ended_at"]:
                return dict(run)
        assert time.monotonic() < deadline, asked
        await asyncio.sleep(0.2)


async def test_a_killed_worker_and_a_terminated_workflow_leave_no_scan_running_for_ever(
    system: System, account: str, acme: RunningCloud
) -> None:
    scan_id = await system.start(account, services=["iam", "ec2"])
    await system.until_scanning()
    healthy = await _watch(system)
    assert healthy["outcome"] == "completed", healthy
    subject = f"scan/{scan_id}"
    shown = await system.get("health/consistency")
    assert subject not in [each["subject"] for each in shown["repairs"]]
    system.kill("worker")
    client = await connect(Settings(temporal_port=system.stack.settings.temporal_port))
    await client.get_workflow_handle(subject).terminate("by a test")
    assert (await system.get(f"scans/{scan_id}"))["status"] == "running"

    run = await _watch(system)  # by the worker that came back by itself

    assert run["summary"]["counts"]["scan_lost"] == 1, run
    scan = await system.get(f"scans/{scan_id}")
    assert (scan["status"], scan["error"]["code"]) == ("failed", "workflow_ended")
    shown = await system.get("health/consistency")
    assert shown["last_run"]["counts"]["scan_lost"] == 1
    assert subject in [each["subject"] for each in shown["repairs"]]
    await system.post(f"scans/{scan_id}/resume")
    assert (await system.until(scan_id))["status"] == "completed"
