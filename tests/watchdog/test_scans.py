"""Scans whose row and workflow were torn apart for real: mended within one cycle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from activities import engine_starts, scan_watch
from contracts.vocabulary import ScanKind, ScanStatus
from runtime import search_attributes, task_queues
from runtime.settings import Settings
from runtime.temporal import connect, register_search_attributes
from tests.support.killable_temporal import KillableTemporal
from tests.support.namespaces import new_namespace
from tests.support.waiting import until
from tests.watchdog.conftest import OTHERS, Watched, watching

CANCELLED, FAILED = ScanStatus.CANCELLED, ScanStatus.FAILED
COMPLETED, RUNNING = ScanStatus.COMPLETED, ScanStatus.RUNNING
PAUSED = ScanStatus.PAUSED


async def closed(watched: Watched, workflow_id: str) -> None:
    """Return once a workflow has ended."""

    async def is_closed() -> bool:
        described = await watched.client.get_workflow_handle(workflow_id).describe()
        return described.close_time is not None

    await until(is_closed)


async def listed(watched: Watched, workflow_id: str) -> None:
    """Return once Temporal's list shows a workflow: it lags by a moment."""

    async def is_listed() -> bool:
        query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'"
        return bool((await watched.client.count_workflows(query)).count)

    await until(is_listed)


@pytest.mark.parametrize("status", [RUNNING, PAUSED])
async def test_a_killed_worker_leaves_no_scan_running_for_ever_and_no_account_blocked(
    watched: Watched, status: ScanStatus
) -> None:
    async with watched.working():
        lost = await watched.start()
        await watched.until_shards_run(lost)
        waiting = await watched.start()

        async def waits() -> bool:
            return (await watched.scan(waiting)).waiting_for is not None

        await until(waits)  # it looks at the other one now, and again in minutes
        if status is PAUSED:
            await watched.client.get_workflow_handle(f"scan/{lost}").signal("pause")
            await watched.until_scan(lost, PAUSED)
        await watched.terminate(lost)
        await closed(watched, f"scan/{lost}")
    assert (await watched.scan(lost)).status is status  # nobody is left who could say otherwise

    done = await watched.cycle()

    assert done.counts["scan_lost"] == 1
    scan = await watched.scan(lost)
    assert scan.status is FAILED
    assert scan.error is not None
    assert "was terminated without recording its end" in scan.error.message
    assert "Resume the scan" in (scan.error.fix or "")
    watched.script.go_on.set()
    async with watched.working():
        await watched.until_scan(waiting, COMPLETED)


async def knows_attributes(client: Client) -> bool:
    """Whether a server that is new takes our search attributes: it learns them after a moment."""
    try:
        await client.count_workflows(f"{search_attributes.TEAM.name} = 'none'")
    except RPCError:
        return False
    return True


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[KillableTemporal]:
    """A Temporal of this test's own."""
    made = KillableTemporal(tmp_path)
    await made.start()
    yield made
    await made.kill()


async def test_scans_that_a_wiped_temporal_forgot_are_ended_or_started(
    server: KillableTemporal, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await connect(Settings(temporal_port=server.port))
    await register_search_attributes(client, search_attributes.TYPES)
    async with watching(client, database_url, monkeypatch) as watched:
        async with watched.working():
            running = await watched.start()
            await watched.until_shards_run(running)
            pending = await watched.start()
        await server.lose_everything()
        await register_search_attributes(client, search_attributes.TYPES)
        await until(partial(knows_attributes, client))

        done = await watched.cycle()

        assert done.counts["scan_lost"] == done.counts["scan_not_started"] == 1
        scan = await watched.scan(running)
        assert scan.status is FAILED
        assert scan.error is not None
        assert "is unknown to Temporal" in scan.error.message
        watched.script.go_on.set()
        async with watched.working():
            await watched.until_scan(pending, COMPLETED)


async def test_publish_before_commit_cannot_happen_and_a_row_without_a_workflow_is_started(
    watched: Watched,
) -> None:
    watched.script.go_on.set()
    scan_id = await watched.queue(minutes_ago=2)  # and the process was killed here
    async with watched.working():
        done = await watched.cycle()
        assert done.counts == {"scan_not_started": 1}
        await watched.until_scan(scan_id, COMPLETED)
        # A repair that is no longer found is settled.
        assert (await watched.cycle()).counts == {}
    (repair,) = await watched.repairs()
    assert repair.subject == f"scan/{scan_id}"
    assert repair.settled_at is not None
    described = await watched.client.get_workflow_handle(f"scan/{scan_id}").describe()
    attributes = described.typed_search_attributes
    assert attributes.get(search_attributes.TEAM) == str(watched.team_id)
    assert attributes.get(search_attributes.ACCOUNT) == str(watched.account_id)


async def test_a_scan_that_a_run_is_about_to_start_is_left_to_it(watched: Watched) -> None:
    scan_id = await watched.queue(minutes_ago=2)
    await watched.sql(
        """
        INSERT INTO job_run (id, team_id, job, params, trigger, nominal_at, overlap, overlap_key,
                             outcome, queued_at, scan_id)
        VALUES (uuidv7(), :team_id, 'cloud_scan', '{}', 'manual', now(), 'allow', 'x', 'running',
                now(), :scan_id)
        """,
        team_id=watched.team_id,
        scan_id=scan_id,
    )
    async with watched.working():
        assert (await watched.cycle()).counts == {}


@pytest.mark.parametrize("fault", ["ended", "deleted"])
async def test_a_workflow_whose_scan_has_ended_or_was_deleted_is_cancelled(
    watched: Watched, fault: str
) -> None:
    async with watched.working():
        scan_id = await watched.start()
        await watched.until_shards_run(scan_id)
        await listed(watched, f"scan/{scan_id}")
        if fault == "ended":
            await watched.sql(
                "UPDATE scan SET status = 'failed', finished_at = now() - interval '2 minutes'"
            )
        else:
            await watched.sql("DELETE FROM scan")

        done = await watched.cycle()

        assert done.counts["scan_unwanted"] == 1
        await closed(watched, f"scan/{scan_id}")
    (repair,) = [each for each in await watched.repairs() if each.kind == "scan_unwanted"]
    assert repair.subject == f"scan/{scan_id}"


async def test_scans_of_another_installation_in_the_same_namespace_are_left_alone(
    watched: Watched,
) -> None:
    stranger = await watched.queue()
    await engine_starts.start_scan(
        watched.client,
        stranger,
        kind=ScanKind.CLOUD,
        team_id=stranger,  # no team of ours
        account_id=watched.account_id,
        account_name="theirs",
    )
    await listed(watched, f"scan/{stranger}")
    await watched.sql("DELETE FROM scan")

    assert (await watched.cycle()).counts == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "4 hours"),
        ({"stuck_scan_hours": 2.5}, "2.5 hours"),
        ({"stuck_scan_hours": 6}, None),
        ({"stuck_scan_hours_by_kind": "cloud=6"}, None),
    ],
)
async def test_a_scan_that_runs_for_too_long_is_cancelled_and_says_why(
    temporal: Client,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    said: str | None,
) -> None:
    client = await new_namespace(temporal, "watchdog")
    async with (
        watching(client, database_url, monkeypatch, **settings) as watched,
        watched.working(),
    ):
        scan_id = await watched.start()
        await watched.until_shards_run(scan_id)
        await watched.sql("UPDATE scan SET running_since = now() - interval '5 hours'")

        done = await watched.cycle()

        assert done.counts == ({"scan_stuck": 1} if said else {})
        if said is None:
            watched.script.go_on.set()
        scan = await watched.until_scan(scan_id, CANCELLED if said else COMPLETED)
    if said is not None:
        assert scan.error is not None
        assert scan.error.code == "stuck"
        assert f"longer than {said}" in scan.error.message
        assert "CLOUDSWEEP_STUCK_SCAN_HOURS" in (scan.error.fix or "")


async def test_a_scan_is_not_stuck_for_having_been_paused_or_resumed_late(
    watched: Watched,
) -> None:
    async with watched.working():
        scan_id = await watched.start()
        await watched.until_shards_run(scan_id)
        await watched.sql(
            "UPDATE scan SET started_at = now() - interval '3 days', "
            "running_since = now() - interval '3 days'"
        )
        handle = watched.client.get_workflow_handle(f"scan/{scan_id}")
        await handle.signal("pause")
        await watched.until_scan(scan_id, PAUSED)
        assert (await watched.cycle()).counts == {}
        await handle.signal("resume")
        await watched.until_scan(scan_id, RUNNING)
        assert (await watched.cycle()).counts == {}
        watched.script.go_on.set()
        await watched.until_scan(scan_id, COMPLETED)


async def test_scans_say_that_nobody_polls_the_queue_they_need_until_somebody_does(
    watched: Watched,
) -> None:
    waiting = await watched.start()

    assert (await watched.cycle()).counts == {"queue_without_worker": 1}
    assert (await watched.scan(waiting)).waiting_for == task_queues.no_worker(task_queues.SCANS)

    async with watched.working(task_queues.SCANS):
        await watched.until_scan(waiting, RUNNING)
        assert (await watched.cycle()).counts == {"queue_without_worker": 1}
        scan = await watched.scan(waiting)
        assert scan.status is RUNNING  # not killed
        assert scan.waiting_for == task_queues.no_worker(task_queues.COMPLIANCE)
        assert (await watched.cycle()).counts == {}  # said once

        async with watched.working(*(set(OTHERS) - {task_queues.SCANS})):
            await watched.until_shards_run(waiting)
            assert (await watched.cycle()).counts == {}
            assert (await watched.scan(waiting)).waiting_for is None
            watched.script.go_on.set()
            await watched.until_scan(waiting, COMPLETED)


async def test_shards_that_nobody_runs_any_more_say_that_they_wait(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = "SELECT DISTINCT status FROM scan_task"
    async with watched.working():
        scan_id = await watched.start()
        await watched.until_shards_run(scan_id)
        assert (await watched.cycle()).counts == {}
    # Their worker is gone; nobody is left who could run them or say so.
    assert await watched.sql(shards) == [("running",)]
    assert (await watched.cycle()).counts == {}  # another worker may take them at once
    monkeypatch.setattr(scan_watch, "SILENT_AFTER", timedelta(0))

    done = await watched.cycle()

    assert done.counts["shard_silent"] == 1
    assert await watched.sql(shards) == [("pending",)]
    assert (await watched.scan(scan_id)).status is RUNNING
    assert "shard_silent" not in (await watched.cycle()).counts
    async with watched.working():
        await watched.until_shards_run(scan_id)
        assert "shard_silent" not in (await watched.cycle()).counts
        watched.script.go_on.set()
        await watched.until_scan(scan_id, COMPLETED)
