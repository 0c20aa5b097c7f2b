"""The order of a scan's steps on a real Temporal server."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from contracts.errors import (
    CredentialsRejected,
    DatabaseUnavailable,
    PermanentError,
    ReportMalformed,
    StagingLost,
)
from contracts.scans import ScanRequest, ScanSummary
from contracts.vocabulary import ScanStatus
from runtime import task_queues
from tests.support.scripted_scan import ScriptedScan, working
from tests.support.waiting import until
from workflows.cloud_scan import CloudScan

Scan = WorkflowHandle[CloudScan, ScanSummary]


async def start(client: Client) -> Scan:
    scan_id = uuid4()
    return await client.start_workflow(
        CloudScan.run,
        ScanRequest(scan_id=scan_id),
        id=f"scan/{scan_id}",
        task_queue=task_queues.SCANS,
    )


async def tasks_of(scan: Scan) -> Counter[str]:
    """How often each activity was handed out as a task of a queue."""
    history = await scan.fetch_history()
    return Counter(
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    )


async def test_a_scan_begins_discovers_assesses_merges_each_shard_and_ends(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=2, compliance=3)
    async with working(temporal, script):
        summary = await (await start(temporal)).result()

    assert summary.status is ScanStatus.COMPLETED
    assert script.said[0] == "begin"
    assert set(script.said[1:3]) == {"plan discovery", "plan compliance"}
    assert script.said[-1] == "end"
    keys = ["discovery/0", "discovery/1", "compliance/0", "compliance/1", "compliance/2"]
    for key in keys:
        assert script.said.index(f"run {key}") < script.said.index(f"merge {key}")
    assert max(script.said.index(f"merge {key}") for key in keys[:2]) < min(
        script.said.index(f"run {key}") for key in keys[2:]
    )
    assert set(script.count().values()) == {1}


async def test_no_more_shards_run_at_a_time_than_the_account_may_have(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=8, in_flight=3)
    async with working(temporal, script):
        await (await start(temporal)).result()

    assert script.most_running <= 3
    assert script.count()["merge compliance/7"] == 1


async def test_a_failing_shard_fails_only_itself(temporal: Client) -> None:
    script = ScriptedScan()
    script.fails["run compliance/1"] = [ReportMalformed("not JSON", fix="Report it.")]
    async with working(temporal, script):
        await (await start(temporal)).result()

    assert [failed.key for failed in script.failed] == ["compliance/1"]
    error = script.failed[0].error
    assert (error.code, error.message, error.fix) == ("report_malformed", "not JSON", "Report it.")
    assert script.count()["merge compliance/2"] == 1
    assert script.ends[-1].outcome is None


async def test_shards_that_end_together_are_merged_together_and_one_may_fail(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=0, compliance=6, in_flight=6)
    script.fails["merge compliance/4"] = [ReportMalformed("not JSON")]
    script.held = {f"run compliance/{number}": asyncio.Event() for number in range(6)}
    async with working(temporal, script):
        scan = await start(temporal)
        await until(lambda: len(script.running) == 6)
        for held in script.held.values():
            held.set()
        await scan.result()

    assert len(script.merges) < 6
    assert sorted(key for keys in script.merges for key in keys) == [
        f"compliance/{number}" for number in range(6)
    ]
    assert [failed.key for failed in script.failed] == ["compliance/4"]


async def test_light_steps_and_the_last_merge_are_no_tasks_of_their_own_unless_they_fail(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=0, compliance=2)
    async with working(temporal, script):
        scan = await start(temporal)
        await scan.result()
        assert "merge_shards" not in await tasks_of(scan)

        for step in ("plan discovery", "merge compliance/0", "end"):
            script.fails[step] = [DatabaseUnavailable("It restarts.")]
        scan = await start(temporal)
        await scan.result()
        tasks = await tasks_of(scan)
        assert [tasks[name] for name in ("plan_discovery", "merge_shards", "end_scan")] == [1, 1, 1]

    assert script.failed == []


async def test_the_next_shard_runs_while_the_one_before_it_is_merged(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=2, in_flight=1)
    script.held = {name: asyncio.Event() for name in ("merge compliance/0", "run compliance/1")}
    async with working(temporal, script):
        scan = await start(temporal)
        await until(lambda: "merge compliance/0" in script.said)
        await until(lambda: "compliance/1" in script.running)
        for held in script.held.values():
            held.set()
        await scan.result()

    assert script.merges == [["compliance/0"], ["compliance/1"]]


@pytest.mark.parametrize("step", ["begin", "run compliance/0"])
async def test_refused_credentials_fail_the_scan_at_once(temporal: Client, step: str) -> None:
    script = ScriptedScan()
    script.fails[step] = [CredentialsRejected("The key is unknown.", fix="Use another key.")]
    async with working(temporal, script):
        with pytest.raises(WorkflowFailureError):
            await (await start(temporal)).result()

    end = script.ends[-1]
    assert end.outcome is ScanStatus.FAILED
    assert end.error is not None
    assert (end.error.code, end.error.fix) == ("credentials_rejected", "Use another key.")
    assert script.count()[step] == 1


async def test_a_shard_runs_again_when_a_crash_of_postgresql_emptied_its_staging(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    lost: list[PermanentError] = [StagingLost("gone"), StagingLost("gone")]
    script.fails["merge compliance/0"] = [*lost]
    async with working(temporal, script):
        await (await start(temporal)).result()

    assert script.count()["run compliance/0"] == 3
    assert script.failed == []


async def test_a_shard_whose_staging_is_lost_again_and_again_fails(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    script.fails["merge compliance/0"] = [StagingLost("gone") for _ in range(9)]
    async with working(temporal, script):
        await (await start(temporal)).result()

    assert [failed.error.code for failed in script.failed] == ["staging_lost"]


async def test_a_scan_that_waits_begins_when_the_one_before_it_ends(temporal: Client) -> None:
    script = ScriptedScan()
    script.busy = ["Scan 1 of this account is running."]
    async with working(temporal, script):
        waiting = await start(temporal)
        await until(lambda: not script.busy)
        assert (await waiting.query(CloudScan.progress)).waiting_for is not None

        await waiting.signal(CloudScan.account_free)
        await waiting.result()

    assert script.count()["begin"] == 2


async def test_scans_that_wait_take_no_slot_from_those_that_run(temporal: Client) -> None:
    script = ScriptedScan(discovery=1, compliance=2)
    script.busy = ["Another scan of this account is running."] * 5
    async with working(temporal, script, slots=1):
        waiting = []
        for number in range(5):
            waiting.append(await start(temporal))
            await until(lambda done=number: script.count()["begin"] == done + 1)
        summary = await (await start(temporal)).result()
        for scan in waiting:
            await scan.terminate()

    assert summary.status is ScanStatus.COMPLETED


async def test_an_ending_scan_wakes_the_one_that_waits(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    script.busy = ["Scan 1 of this account is running."]
    async with working(temporal, script):
        waiting = await start(temporal)
        await until(lambda: not script.busy)
        script.next_scan = (await waiting.describe()).id.removeprefix("scan/")  # type: ignore[assignment]
        await (await start(temporal)).result()
        await waiting.result()

    assert script.count()["end"] == 2


async def test_a_scan_that_nobody_waits_for_any_more_is_woken_without_harm(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=0, compliance=0)
    script.next_scan = uuid4()
    async with working(temporal, script):
        summary = await (await start(temporal)).result()

    assert summary.next_scan_id == script.next_scan


async def test_a_paused_scan_starts_no_shard_until_it_goes_on(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=4, in_flight=1)
    script.held["run compliance/0"] = asyncio.Event()
    async with working(temporal, script):
        scan = await start(temporal)
        await until(lambda: "compliance/0" in script.running)
        await scan.signal(CloudScan.pause)
        await until(lambda: "paused" in script.said)
        script.held["run compliance/0"].set()
        await until(lambda: "merge compliance/0" in script.said)
        phase = await scan.query(CloudScan.progress)
        assert phase.paused
        assert "run compliance/1" not in script.said

        await scan.signal(CloudScan.resume)
        await scan.result()

    assert script.count()["merge compliance/3"] == 1
    assert script.count()["goes on"] == 1


async def test_a_cancelled_scan_stops_its_shards_before_it_records_its_end(
    temporal: Client,
) -> None:
    script = ScriptedScan(discovery=0, compliance=3, in_flight=2)
    script.held = {f"run compliance/{number}": asyncio.Event() for number in range(3)}
    async with working(temporal, script):
        scan = await start(temporal)
        await until(lambda: len(script.running) == 2)
        await scan.cancel()
        with pytest.raises(WorkflowFailureError):
            await scan.result()

    assert script.ends[-1].outcome is ScanStatus.CANCELLED
    assert script.running == set()
    assert script.failed == []
    assert "run compliance/2" not in script.said


@pytest.mark.parametrize("step", ["plan discovery", "end"])
async def test_a_short_step_that_fails_in_the_workflow_s_own_worker_is_retried(
    temporal: Client, step: str
) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    script.fails[step] = [DatabaseUnavailable("PostgreSQL is away.") for _ in range(2)]
    async with working(temporal, script):
        summary = await (await start(temporal)).result()

    assert summary.status is ScanStatus.COMPLETED
    assert script.count()[step] == 3


@pytest.mark.parametrize("step", ["begin", "end"])
async def test_a_scan_that_is_cancelled_while_it_ends_records_its_end_all_the_same(
    temporal: Client, step: str
) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    script.next_scan, script.may_cascade = uuid4(), True
    if step == "begin":  # it fails, and that is recorded
        script.fails["begin"] = [CredentialsRejected("No.", fix="Set them.")]
    script.fails["end"] = [DatabaseUnavailable("PostgreSQL is away.")]
    script.held = {"end": asyncio.Event()}
    async with working(temporal, script):
        scan = await start(temporal)
        await until(lambda: script.count()["end"] == 2)
        await scan.cancel()
        await until(partial(_has_heard_of_the_cancel, scan))
        script.held["end"].set()
        with pytest.raises(WorkflowFailureError):
            await scan.result()

    outcome = ScanStatus.FAILED if step == "begin" else None
    assert [end.outcome for end in script.ends] == [outcome]
    assert "cascades" not in script.said


async def _has_heard_of_the_cancel(scan: Scan) -> bool:
    history = await scan.fetch_history()
    kinds = [event.event_type for event in history.events]
    asked = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return asked in kinds and done in kinds[kinds.index(asked) :]


async def test_rules_are_followed_after_the_end_and_cannot_fail_the_scan(temporal: Client) -> None:
    script = ScriptedScan(discovery=0, compliance=1)
    script.may_cascade = True
    script.fails["cascades"] = [ReportMalformed("A rule that cannot be followed.")]
    async with working(temporal, script):
        followed = await (await start(temporal)).result()
        script.may_cascade = False
        await (await start(temporal)).result()

    assert followed.status is ScanStatus.COMPLETED
    assert script.said.index("cascades") > script.said.index("end")
    assert script.count()["cascades"] == 1
    assert [end.outcome for end in script.ends] == [None, None]
