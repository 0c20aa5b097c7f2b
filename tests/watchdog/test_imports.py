"""Imports whose sender, worker or workflow is gone, or that take too long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from activities import scan_watch
from benchmarks.import_file import array
from contracts.keys import NewKey
from contracts.vocabulary import Role, ScanStatus
from runtime import task_queues
from runtime.settings import Settings
from storage import keys
from storage.scans import imports
from tests.api.test_server import api_process
from tests.storage.lab import observed
from tests.support import imported
from tests.support.namespaces import new_namespace
from tests.support.ports import free_ports
from tests.support.waiting import until
from tests.watchdog.conftest import Watched, watching
from tests.watchdog.test_scans import closed, listed

MEGABYTE = 1_000_000
STAGED = "SELECT count(*) FROM finding_staging"


async def test_a_killed_api_leaves_nothing_half_written_of_an_upload(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url=watched.settings.require_database_url(),
        api_port=free_ports(1)[0],
    )
    async with watched.database.transaction() as session:
        new = NewKey(name="operator", role=Role.OPERATOR)
        key = await keys.create_key(session, watched.team_id, new, at=datetime.now(UTC))
    temporal = {
        "TEMPORAL_ADDRESS": watched.client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": watched.client.namespace,
    }
    async with (
        api_process(settings, **temporal) as process,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.api_port}/api/v1/",
            headers={"Authorization": f"Bearer {key.key}"},
        ) as caller,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", settings.api_port)
        writer.write(
            f"POST /api/v1/imports?account_id={watched.account_id} HTTP/1.1\r\nHost: api\r\n"
            f"Authorization: Bearer {key.key}\r\n"
            f"Content-Length: {90 * MEGABYTE}\r\n\r\n".encode()
        )
        async for chunk in array(30 * MEGABYTE):
            writer.write(chunk)
            await writer.drain()

        async def has_staged() -> bool:
            return (await watched.sql(STAGED))[0][0] > 0

        await until(has_staged)
        (scan,) = (await caller.get("scans?kind=import")).json()["items"]
        assert (scan["status"], scan["waiting_for"]) == ("pending", imports.READING)
        process.kill()
        await process.wait()
        writer.close()
    assert (await watched.cycle()).counts == {}  # it may still be sent
    await watched.sql("UPDATE import_file SET read_at = read_at - interval '20 minutes'")

    assert (await watched.cycle()).counts == {"import_abandoned": 1}

    shown = await watched.scan(scan["id"])
    assert (shown.status, shown.error) == (ScanStatus.FAILED, imports.NOT_READ)
    assert await watched.sql(STAGED) == [(0,)]
    assert await watched.sql("SELECT count(*) FROM finding") == [(0,)]
    assert (await watched.cycle()).counts == {}
    # The account is not blocked by what was left.
    watched.script.go_on.set()
    async with watched.working():
        await watched.until_scan(await watched.start(), ScanStatus.COMPLETED)


async def test_a_read_file_whose_merge_nobody_started_is_merged(watched: Watched) -> None:
    scan_id = await imported.read(watched.store, [observed()])  # and the API was killed here
    await watched.sql("UPDATE scan SET queued_at = now() - interval '2 minutes'")
    async with watched.working():
        assert (await watched.cycle()).counts == {"scan_not_started": 1}
        await watched.until_scan(scan_id, ScanStatus.COMPLETED)
    assert await watched.sql("SELECT count(*) FROM finding") == [(1,)]


async def test_the_workflow_of_an_import_that_was_deleted_is_cancelled(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_watch, "YOUNG", timedelta(0))
    async with watched.working():
        running = await watched.start()
        await watched.until_shards_run(running)
        scan_id = await imported.read(watched.store, [observed()])
        await imported.start(watched.client, watched.store, scan_id)

        async def waits() -> bool:
            return (await watched.scan(scan_id)).waiting_for is not None

        await until(waits)  # for the account
        await listed(watched, f"scan/{scan_id}")
        await watched.sql("DELETE FROM scan WHERE id = :id", id=scan_id)

        done = await watched.cycle()

        assert done.counts["scan_unwanted"] == 1
        await closed(watched, f"scan/{scan_id}")


async def test_an_import_says_that_nobody_polls_the_queues_it_needs_and_needs_no_scanner(
    watched: Watched,
) -> None:
    scan_id = await imported.read(watched.store, [observed()])
    await imported.start(watched.client, watched.store, scan_id)
    async with watched.working(task_queues.SCANS):
        assert (await watched.cycle()).counts == {"queue_without_worker": 1}
        words = task_queues.no_worker(task_queues.SYNC)
        assert (await watched.scan(scan_id)).waiting_for == words

        async with watched.working(task_queues.SYNC):
            await watched.until_scan(scan_id, ScanStatus.COMPLETED)
    assert (await watched.cycle()).counts == {}


HOLD = text("SELECT FROM scan_task WHERE scan_id = :id FOR UPDATE")


@pytest.mark.parametrize(
    ("by_kind", "said"), [("", None), ("import=0.5", "0.5 hours"), ("cloud=0.5", None)]
)
async def test_how_long_an_import_may_take_is_a_setting_of_its_own(
    temporal: Client,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    by_kind: str,
    said: str | None,
) -> None:
    client = await new_namespace(temporal, "watchdog")
    settings = {"stuck_scan_hours_by_kind": by_kind}
    async with (
        watching(client, database_url, monkeypatch, **settings) as watched,
        watched.working(),
    ):
        scan_id = await imported.read(watched.store, [observed()])
        async with watched.database.transaction() as session:
            await session.execute(HOLD, {"id": scan_id})  # its merge waits for this
            await imported.start(watched.client, watched.store, scan_id)
            await watched.until_scan(scan_id, ScanStatus.RUNNING)
            await watched.sql("UPDATE scan SET running_since = now() - interval '1 hour'")

            assert (await watched.cycle()).counts == ({"scan_stuck": 1} if said else {})

        ended = ScanStatus.CANCELLED if said else ScanStatus.COMPLETED
        scan = await watched.until_scan(scan_id, ended)
    if said is not None:
        assert scan.error is not None
        assert f"longer than {said}" in scan.error.message
        assert "CLOUDSWEEP_STUCK_SCAN_HOURS_BY_KIND" in (scan.error.fix or "")
