"""An attempt given up for dead that still runs changes nothing of what the next one does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from temporalio.testing import ActivityEnvironment

from activities.shards import ShardActivities
from contracts.errors import Conflict, Superseded
from contracts.observations import CoveredCheck
from contracts.scans import Coverage, FindingCounts, ShardTask
from runtime.settings import Settings
from storage.merge import staging
from tests.storage.lab import Lab, observed, places
from tests.support.waiting import until

SEEN = [observed("now")]
LATE = [observed("late"), observed("later")]
WHOLE = Coverage(planned=1, run=1)


async def start(lab: Lab, scan_id: UUID, attempt: int) -> staging.StagingTarget:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    shards = ShardActivities(lab.database, Settings())
    task = ShardTask(scan_id=scan_id, key="shard")
    _, _, target = await environment.run(shards._start, task, lab.source)
    return target


async def test_what_a_late_attempt_says_is_not_taken(lab: Lab) -> None:
    shards = ShardActivities(lab.database, Settings())
    scan_id = await lab.begin("shard")
    late = await start(lab, scan_id, 1)
    async with lab.database.copying() as connection:
        await staging.stage_findings(connection, late, LATE)
    now = await start(lab, scan_id, 1)  # a shard whose staging was lost counts from one again
    async with lab.database.copying() as connection:
        await staging.stage_findings(connection, now, SEEN)

    for step in (
        lambda c: staging.stage_findings(c, late, LATE),
        lambda c: staging.stage_coverage(c, late, places(LATE)),
        lambda c: staging.mark_not_assessed(c, late, [CoveredCheck("s3_public", "eu-west-1")]),
    ):
        with pytest.raises(Superseded):
            async with lab.database.copying() as connection:
                await step(connection)
    with pytest.raises(Superseded):
        await shards._report(late, WHOLE, 3, 1)

    async with lab.database.copying() as connection:
        covered = await staging.stage_coverage(connection, now, places(SEEN))
    await shards._report(now, WHOLE, 1, covered)
    assert await lab.merge(scan_id) == FindingCounts(new=1)
    with pytest.raises(Superseded):  # nor what comes after the merge, which nobody would delete
        async with lab.database.copying() as connection:
            await staging.stage_findings(connection, now, LATE)
    assert await lab.sql("SELECT 1 FROM finding_staging") == []


async def test_an_attempt_begins_only_when_the_one_before_it_stages_no_more(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    late = await start(lab, scan_id, 1)
    async with lab.database.copying() as connection:
        await staging.stage_findings(connection, late, LATE)
        beginning = asyncio.create_task(start(lab, scan_id, 2))

        async def waits() -> bool:
            blocked = "SELECT 1 FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))"
            return bool(await lab.sql(blocked, pid=connection.get_server_pid()))

        await until(waits)
    await beginning
    assert await lab.sql("SELECT 1 FROM finding_staging") == []


async def test_a_shard_of_a_scan_that_has_ended_does_not_begin(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    await lab.end(scan_id)
    with pytest.raises(Conflict, match="ended"):
        await start(lab, scan_id, 2)
    assert await lab.sql("SELECT status FROM scan_task WHERE scan_id = :id", id=scan_id) == [
        ("failed",)
    ]
