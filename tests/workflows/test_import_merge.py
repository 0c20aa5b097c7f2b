"""Merging an imported file, by worker processes that are killed in the middle of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from temporalio.client import Client

from contracts.vocabulary import FindingStatus
from runtime import task_queues
from storage.database import Database
from tests.storage.lab import Lab, make_lab, observed
from tests.storage.vulnerability_lab import sync
from tests.support import imported
from tests.support.namespaces import new_namespace
from tests.support.waiting import until
from tests.support.worker_process import worker_process

BEFORE = [observed(f"bucket {n}") for n in range(40)]
AFTER = [
    *[observed(f"bucket {n}", FindingStatus.PASS) for n in range(10)],  # resolved
    *[observed(f"bucket {n}", detail="It is still public.") for n in range(10, 30)],  # changed
    *[observed(f"another {n}", check_id="iam_mfa") for n in range(40)],  # new; ten are gone
]
ROWS = {
    "findings": """
        SELECT check_id, region, resource_uid, resource_name, resource_type, finding.severity,
               status, state, detail, gone_at IS NULL, resolved_at IS NULL, service
        FROM finding JOIN check_coverage AS place ON place.id = coverage_id
        WHERE account_id = :account_id ORDER BY 1, 2, 3, 4
    """,
    "events": """
        SELECT check_id, resource_uid, transition, reason, before::text, after::text
        FROM finding_event JOIN finding ON finding.id = finding_id
            JOIN check_coverage AS place ON place.id = coverage_id
        WHERE account_id = :account_id ORDER BY 1, 2, 3, 4, 5, 6
    """,
    "counts": """
        SELECT check_id, region, severity, status, state, sum(n) FROM finding_count
        WHERE account_id = :account_id GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0
        ORDER BY 1, 2, 3, 4, 5
    """,
    "scans": """
        SELECT kind, status, counts::text FROM scan WHERE account_id = :account_id ORDER BY id
    """,
    "vulnerabilities": """
        SELECT weakness, resource_uid, status, open_occurrences FROM vulnerability
        WHERE account_id = :account_id ORDER BY 1, 2
    """,
}
STAGED = "SELECT (SELECT count(*) FROM finding_staging), (SELECT count(*) FROM coverage_staging)"
HOLD = text("SELECT FROM check_coverage WHERE account_id = :account_id FOR UPDATE")
IN_THE_MIDDLE = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND query LIKE '%UPDATE check_coverage AS known%'
"""
"""A merge whose findings are written, and which has only to say that its checks are complete."""


@pytest.fixture
async def client(temporal: Client) -> Client:
    """A namespace of this test's own."""
    return await new_namespace(temporal, "imports")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


async def rows(lab: Lab) -> dict[str, list[tuple[Any, ...]]]:
    """All that an import leaves in the store."""
    await sync(lab)
    return {name: await lab.sql(query, account_id=lab.account_id) for name, query in ROWS.items()}


async def has_ended(lab: Lab, scan_id: UUID) -> bool:
    """Whether a scan is completed."""
    return await lab.sql("SELECT status FROM scan WHERE id = :id", id=scan_id) == [("completed",)]


async def merged(client: Client, lab: Lab, scan_id: UUID) -> None:
    """Start an import's merge and wait for its end."""
    await imported.start(client, lab, scan_id)
    await until(partial(has_ended, lab, scan_id))


async def test_a_worker_killed_in_the_middle_of_a_merge_leaves_the_rows_of_an_undisturbed_one(
    client: Client, database: Database, database_url: str
) -> None:
    undisturbed = await make_lab(database)
    disturbed = await make_lab(database)
    async with worker_process(client, database_url, task_queues.SYNC) as process:
        for lab in (undisturbed, disturbed):
            await merged(client, lab, await imported.read(lab, BEFORE, is_complete=True))
        await merged(client, undisturbed, await imported.read(undisturbed, AFTER, is_complete=True))
        scan_id = await imported.read(disturbed, AFTER, is_complete=True)
        async with database.transaction() as session:
            await session.execute(HOLD, {"account_id": disturbed.account_id})
            await imported.start(client, disturbed, scan_id)

            async def is_in_the_middle() -> bool:
                return await disturbed.sql(IN_THE_MIDDLE) == [(1,)]

            await until(is_in_the_middle)
            process.kill()
            await process.wait()
    async with worker_process(client, database_url, task_queues.SYNC):
        await until(partial(has_ended, disturbed, scan_id))
    assert await rows(disturbed) == await rows(undisturbed)
    assert await disturbed.sql(STAGED) == [(0, 0)]
    merge = await client.get_workflow_handle(f"scan/{scan_id}").fetch_history()
    tries = [
        event.activity_task_started_event_attributes.attempt
        for event in merge.events
        if event.HasField("activity_task_started_event_attributes")
    ]
    assert max(tries) > 1
