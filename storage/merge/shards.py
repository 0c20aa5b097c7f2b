"""Merging one shard: only what it staged completely, and only once."""

from __future__ import annotations

from datetime import datetime
from math import floor
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.errors import NotFound, StagingLost
from contracts.scans import Coverage, FindingCounts
from contracts.vocabulary import TaskKind, TaskStatus
from storage.merge.findings import merge_findings, touch_places
from storage.merge.resources import merge_resources
from storage.merge.staging import clear_staging
from storage.retention.retention_locks import lock_merge
from storage.tables import AccountRow, ScanRow, ScanTaskRow

_STAGED: Final = text("""
    SELECT (SELECT count(*) FROM resource_staging WHERE task_id = :task_id) AS resources,
           (SELECT count(*) FROM coverage_staging WHERE task_id = :task_id) AS covered
""")

_PLANNER: Final = text("""
    SELECT set_config(name, value, true)
    FROM jsonb_each_text(CAST(:settings AS jsonb)) AS setting (name, value)
""")
"""For this transaction only."""

MANY_ROWS: Final = 50_000
SET_AT_A_TIME: Final = '{"enable_nestloop": "off", "enable_mergejoin": "off", "work_mem": "128MB"}'
ROW_BY_ROW: Final = (
    '{"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off",'
    ' "work_mem": "32MB"}'
)
"""Staging has no statistics worth the name: rows come and go by the shard, and ANALYZE would make
merges wait for each other. We know how many rows there are, so we say how to join them."""


async def merge_shard(
    session: AsyncSession, scan_id: UUID, key: str, *, at: datetime
) -> FindingCounts:
    """Merge what a shard staged and end its task; merging again changes nothing.

    StagingLost if not every row is there that the shard reported: it has to run again.
    """
    found = (
        await session.execute(
            select(ScanTaskRow, ScanRow.team_id, ScanRow.account_id, AccountRow.provider)
            .join(ScanRow, ScanRow.id == ScanTaskRow.scan_id)
            .join(AccountRow, AccountRow.id == ScanRow.account_id)
            .where(ScanTaskRow.scan_id == scan_id, ScanTaskRow.key == key)
            # A second merge of this shard waits here, and then sees that it is done.
            .with_for_update(of=ScanTaskRow, key_share=True)
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if found is None:
        raise NotFound(f"This scan has no shard {key}.")
    task, team_id, account_id, provider = found
    await lock_merge(session, account_id)
    if TaskStatus(task.status).done:
        return FindingCounts.model_validate(task.counts or {})
    staged = (await session.execute(_STAGED, {"task_id": task.id})).one()
    is_discovery = task.kind == TaskKind.DISCOVERY
    # Findings look up what they must by themselves; hash joins are right for any number of them.
    planner = ROW_BY_ROW if is_discovery and staged.resources <= MANY_ROWS else SET_AT_A_TIME
    await session.execute(_PLANNER, {"settings": planner})
    parameters: dict[str, Any] = {
        "task_id": task.id,
        "source": task.source or "",  # nothing staged, nothing of any source to compare with
        "scan_id": scan_id,
        "team_id": team_id,
        "account_id": account_id,
        "provider": provider,
        "at": at,
        "id_time": _id_time(at),
    }
    rows = staged.resources if is_discovery else await touch_places(session, parameters)
    if task.coverage is None or (rows, staged.covered) != (task.rows, task.covered):
        raise StagingLost(
            f"Of shard {key} {rows} rows and {staged.covered} covered checks are staged, "
            f"{task.rows} and {task.covered} were reported.",
            fix="Run the shard again.",
        )
    if is_discovery:
        counts = await merge_resources(session, parameters)
    else:
        counts = await merge_findings(session, rows, parameters)
    if task.counts is not None:  # merged before, and resumed for what was throttled or cut off
        counts = _together(FindingCounts.model_validate(task.counts), counts)
    await clear_staging(session, scan_id, key)
    coverage = Coverage.model_validate(task.coverage)
    task.status = TaskStatus.COMPLETED if _is_whole(coverage) else TaskStatus.COMPLETED_WITH_ERRORS
    task.progress = 100.0
    task.counts = counts.model_dump(mode="json")
    task.error = None
    task.finished_at = at
    await session.flush()
    return counts


def _together(before: FindingCounts, now: FindingCounts) -> FindingCounts:
    """What two merges of one shard did. What the first one wrote is unchanged for the second."""
    written = before.new + before.changed + before.resolved
    return (before + now).model_copy(update={"unchanged": max(0, now.unchanged - written)})


def _id_time(at: datetime) -> str:
    """How the UUIDv7 of a row made at this time begins, in hexadecimal: milliseconds, version.

    The statements append the row's number and some of its digest. uuidv7() would read /dev/urandom
    for each, which takes 20 us a row where PostgreSQL was built without OpenSSL.
    """
    return f"{floor(at.timestamp() * 1000):012x}7"


def _is_whole(coverage: Coverage) -> bool:
    """Whether everything planned was assessed; a failed call that touched no verdict is a note."""
    return coverage.run >= coverage.planned and not coverage.not_assessed
