"""What all repairs have in common: none where nothing drifted, recorded, bounded, given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from activities import mending
from contracts.consistency import RepairKind
from contracts.runs import RunRequest
from contracts.vocabulary import RunTrigger, ScanStatus
from runtime import task_queues
from storage.schedules import schedules
from storage.watchdog import repairs
from tests.storage.lab import observed
from tests.watchdog.conftest import OTHERS, Watched, synced_lab
from tests.watchdog.test_store import resource
from workflows.catalogue import WATCHDOG
from workflows.data_sync_watchdog import DataSyncWatchdog
from workflows.defaults import ensure_defaults
from workflows.job_run import JobRun


async def test_a_healthy_system_gets_no_repair(watched: Watched) -> None:
    """Scans that run, wait, are paused and have ended; findings, resources, schedules; all busy."""
    finished = await synced_lab(watched.database, watched.team_id)
    for _ in range(2):
        await finished.scan([observed("a"), observed("b")])
        await finished.discover([resource("bucket", "a")], ["bucket", "queue"])
    await ensure_defaults(watched.database, watched.client)
    async with watched.working():
        running = await watched.start()
        await watched.until_shards_run(running)
        await watched.start()
        paused = await watched.start(await watched.another_account())
        await watched.until_shards_run(paused)
        await watched.client.get_workflow_handle(f"scan/{paused}").signal("pause")
        await watched.until_scan(paused, ScanStatus.PAUSED)
        assert (await watched.cycle()).counts == {}

        watched.script.go_on.set()
        busy = [await watched.start(await watched.another_account()) for _ in range(5)]
        for _ in range(3):
            assert (await watched.cycle()).counts == {}
        for scan_id in busy:
            await watched.until_scan(scan_id, ScanStatus.COMPLETED)
        assert (await watched.cycle()).counts == {}
    assert await watched.sql("SELECT * FROM repair") == []


async def test_a_repair_that_does_not_settle_is_given_up_until_tomorrow(watched: Watched) -> None:
    async with watched.working():
        scan_id = await watched.start()
        await watched.until_shards_run(scan_id)
    # No worker is left that could hear of the cancel.
    await watched.sql("UPDATE scan SET running_since = now() - interval '5 hours'")
    for _ in range(repairs.ATTEMPTS):
        assert (await watched.cycle()).counts["scan_stuck"] == 1

    done = await watched.cycle()

    assert "scan_stuck" not in done.counts
    assert done.counts["given_up"] == 1
    assert f"scan_stuck of scan/{scan_id}" in done.notes[0]
    (repair,) = [each for each in await watched.repairs() if each.kind == "scan_stuck"]
    assert repair.attempts == repairs.ATTEMPTS
    assert repair.given_up_until == repair.first_at + timedelta(days=1)
    async with watched.database.transaction() as session:
        shown = await repairs.given_up(session, watched.team_id, at=datetime.now(UTC), limit=9)
    assert shown == [repair]

    await watched.sql("UPDATE repair SET first_at = first_at - interval '25 hours'")  # tomorrow
    assert (await watched.cycle()).counts["scan_stuck"] == 1
    async with watched.working():
        await watched.until_scan(scan_id, ScanStatus.CANCELLED)
    assert "scan_stuck" not in (await watched.cycle()).counts
    assert all(each.settled_at for each in await watched.repairs() if each.kind == "scan_stuck")


async def test_a_repair_that_fails_says_why_and_does_not_keep_others_from_theirs(
    watched: Watched,
) -> None:
    other = await synced_lab(watched.database, watched.team_id)
    for lab in (watched.store, other):
        await lab.scan([observed()])
    await watched.sql("UPDATE scan_task SET status = 'running'")
    await watched.sql(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.scan_id = (SELECT id FROM scan WHERE account_id = '{other.account_id}') THEN
                RAISE EXCEPTION 'not this one';
            END IF;
            RETURN NEW;
        END $$
        """  # noqa: S608 (our own id)
    )
    await watched.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON scan_task FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    done = await watched.cycle()

    assert done.counts == {"shards_left": 1, "failed": 1}
    errors = [each.error for each in await watched.repairs()]
    assert sorted(error is None for error in errors) == [False, True]
    assert "not this one" in next(error for error in errors if error)


async def test_one_cycle_repairs_no_more_than_it_may_and_the_next_one_goes_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "MENDED_AT_ONCE", 2)
    for _ in range(3):
        await watched.store.scan([observed()])
    await watched.sql("UPDATE scan_task SET status = 'running'")

    assert (await watched.cycle()).counts == {"shards_left": 2}
    assert (await watched.cycle()).counts == {"shards_left": 1}
    assert (await watched.cycle()).counts == {}


async def test_two_cycles_at_once_do_no_harm(watched: Watched) -> None:
    await watched.store.scan([observed("a"), observed("b")])
    await watched.sql("DELETE FROM finding_count")
    await watched.sql("UPDATE scan_task SET status = 'running'")
    running = [
        await watched.client.start_workflow(
            DataSyncWatchdog.run,
            {},
            id=f"watchdog/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )
        for _ in range(2)
    ]
    for each in running:
        await each.result()
    assert await watched.sql("SELECT sum(n) FROM finding_count") == [(2,)]
    assert (await watched.cycle()).counts == {}


async def test_its_run_is_recorded_with_the_counts_by_kind(watched: Watched) -> None:
    await watched.store.scan([observed()])
    await watched.sql("UPDATE scan_task SET status = 'running'")
    await ensure_defaults(watched.database, watched.client)
    async with watched.database.transaction() as session:
        team = await schedules.installation(session)
        schedule = await schedules.default_schedule(session, team, WATCHDOG)
    assert schedule is not None
    run_id = uuid4()
    async with watched.working(*OTHERS):
        await watched.client.execute_workflow(
            JobRun.run,
            RunRequest(schedule_id=schedule.id, trigger=RunTrigger.MANUAL, run_id=run_id),
            id=f"run/{run_id}",
            task_queue=task_queues.SCANS,
        )
    ((summary,),) = await watched.sql("SELECT summary FROM job_run WHERE id = :id", id=run_id)
    assert summary["counts"] == {kind.value: int(kind == "shards_left") for kind in RepairKind}
