"""Cancel, resume, pause, and two scans of one account."""

from __future__ import annotations

import psutil

from tests.support.system import System

SERVICES = ["iam", "ec2", "sns", "sqs", "dynamodb"]


async def test_cancel_stops_the_scanners_and_resume_runs_only_the_rest(
    system: System, account: str
) -> None:
    whole = await system.scan(account, services=SERVICES)
    verdicts = await system.verdicts(account)
    scan_id = await system.start(account, services=SERVICES)
    scanners = await system.until_scanning()

    response = await system.client.post(f"scans/{scan_id}/cancel")
    assert response.status_code == 202
    assert psutil.wait_procs(scanners, timeout=15)[1] == []
    cancelled = await system.until(scan_id)

    assert cancelled["status"] == "cancelled"
    assert cancelled["counts"]["findings"]["resolved"] == 0
    assert await system.verdicts(account) == verdicts
    done = {
        task["key"]: task["finished_at"]
        for task in await system.all(f"scans/{scan_id}/tasks")
        if task["status"] == "completed"
    }

    await system.post(f"scans/{scan_id}/resume")
    resumed = await system.until(scan_id, "completed", "failed", "completed_with_errors")

    assert resumed["status"] == "completed"
    tasks = {task["key"]: task for task in await system.all(f"scans/{scan_id}/tasks")}
    assert len(tasks) == whole["counts"]["tasks"]["total"]
    assert {key: tasks[key]["finished_at"] for key in done} == done
    assert await system.verdicts(account) == verdicts


async def test_a_paused_scan_starts_no_new_shard_until_it_is_resumed(
    system: System, account: str
) -> None:
    scan_id = await system.start(account, services=["sns"])
    await system.until(scan_id, "running")
    response = await system.client.post(f"scans/{scan_id}/pause")
    assert response.status_code == 202, response.text
    paused = await system.until(scan_id, "paused", "completed")
    assert paused["status"] == "paused"

    await system.post(f"scans/{scan_id}/resume")

    assert (await system.until(scan_id))["status"] == "completed"


async def test_a_second_scan_of_an_account_says_what_it_waits_for_and_then_runs(
    system: System, account: str
) -> None:
    first = await system.start(account, services=SERVICES)
    await system.until_scanning()
    second = await system.start(account, services=["sns"])

    waiting = await system.get(f"scans/{second}")
    while waiting["status"] == "pending" and not waiting["waiting_for"]:
        waiting = await system.get(f"scans/{second}")

    assert waiting["status"] == "pending"
    assert first in waiting["waiting_for"]
    ended = await system.until(second)
    assert ended["status"] == "completed"
    assert (await system.get(f"scans/{first}"))["finished_at"] <= ended["started_at"]


async def test_a_waiting_scan_can_be_cancelled(system: System, account: str) -> None:
    first = await system.start(account, services=["iam"])
    second = await system.start(account, services=["sns"])

    await system.post(f"scans/{second}/cancel")

    assert (await system.until(second))["status"] == "cancelled"
    assert (await system.until(first))["status"] == "completed"
