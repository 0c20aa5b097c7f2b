"""Merging several shards in one activity: each on its own, whatever happens to the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.shards import ShardActivities
from contracts.errors import DatabaseUnavailable
from contracts.scans import FindingCounts, MergeReport, ShardBatch
from runtime import policies
from runtime.settings import Settings
from storage.database import Database
from tests.storage.lab import Lab, observed

KEYS = ["first", "second", "third"]


async def merge(lab: Lab, batch: ShardBatch, *, attempt: int = 1) -> MergeReport:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    return await environment.run(ShardActivities(lab.database, Settings()).merge_shards, batch)


async def staged(lab: Lab, *keys: str) -> ShardBatch:
    """A scan of three shards of which these have staged one finding each."""
    scan_id = await lab.begin(*KEYS)
    for key in keys:
        await lab.stage(scan_id, [observed(key, check_id=f"s3_{key}")], key=key)
    return ShardBatch(scan_id=scan_id, keys=KEYS)


async def test_shards_are_merged_together_and_again_without_harm(lab: Lab) -> None:
    batch = await staged(lab, *KEYS)

    first, again = await merge(lab, batch), await merge(lab, batch)

    assert first == again == MergeReport(counts=FindingCounts(new=3))
    assert len(await lab.list()) == 3


async def test_a_shard_whose_staged_rows_are_gone_fails_only_itself(lab: Lab) -> None:
    batch = await staged(lab, "first", "third")

    report = await merge(lab, batch)

    assert report.counts == FindingCounts(new=2)
    assert [(each.key, each.error.code) for each in report.failed] == [("second", "staging_lost")]


async def test_a_bug_that_one_shard_meets_is_retried_after_the_others_and_then_named(
    lab: Lab,
) -> None:
    batch = await staged(lab, *KEYS)
    async with lab.database.transaction() as session:
        await session.execute(
            text("UPDATE scan_task SET coverage = '\"no coverage\"' WHERE key = 'first'")
        )

    with pytest.raises(ValueError, match="Coverage"):
        await merge(lab, batch)
    assert len(await lab.list()) == 2
    report = await merge(lab, batch, attempt=policies.BUG_TRIES)

    assert report.counts == FindingCounts(new=2)
    assert [(each.key, each.error.code) for each in report.failed] == [("first", "internal_error")]


async def test_a_database_that_is_away_fails_no_shard(lab: Lab) -> None:
    batch = await staged(lab, *KEYS)
    away = replace(lab, database=Database.open("postgresql://127.0.0.1:1/nothing"))

    with pytest.raises(DatabaseUnavailable):
        await merge(away, batch, attempt=policies.BUG_TRIES)
    await away.database.close()

    assert (await merge(lab, batch)).failed == []
