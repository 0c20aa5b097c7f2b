"""Findings and vulnerabilities that were torn apart: the watchdog starts the sync that mends it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from contracts.vocabulary import FindingStatus
from tests.storage.lab import Lab, observed
from tests.support.waiting import until
from tests.watchdog.conftest import Watched, synced_lab

SAID = """
    SELECT said.weakness, said.resource_uid, said.status, said.open_occurrences,
           said.total_occurrences, occurrence.source, occurrence.is_open
    FROM vulnerability AS said FULL JOIN vulnerability_occurrence AS occurrence
        ON occurrence.vulnerability_id = said.id
    ORDER BY 1, 2, 3, 4, 5, 6, 7
"""
LOST = {
    "occurrences": "DELETE FROM vulnerability_occurrence WHERE is_open",
    "vulnerabilities": "DELETE FROM vulnerability WHERE status = 'open'",
    "both": "DELETE FROM vulnerability_occurrence WHERE is_open;"
    " DELETE FROM vulnerability WHERE status = 'open'",
    "what an occurrence says": "UPDATE vulnerability_occurrence SET is_open = NOT is_open",
    "what a vulnerability says": "UPDATE vulnerability SET open_occurrences = 7",
    "that one is closed": "UPDATE vulnerability SET status = 'open', closed_at = NULL",
}


async def some(watched: Watched) -> None:
    """Two accounts with vulnerabilities, open and closed."""
    other = await synced_lab(watched.database, watched.team_id)
    for lab in (watched.store, other):
        await lab.scan([observed("a"), observed("b"), observed("c", check_id="iam_mfa")])
        await lab.scan([observed("a"), observed("c", check_id="iam_mfa")])


async def says(watched: Watched, expected: list[tuple[Any, ...]]) -> bool:
    """Whether vulnerabilities and occurrences are these."""
    return await watched.sql(SAID) == expected


@pytest.mark.parametrize("fault", LOST)
async def test_vulnerabilities_that_differ_from_their_findings_are_synced(
    watched: Watched, fault: str
) -> None:
    await some(watched)
    before = await watched.sql(SAID)
    async with watched.working():
        assert (await watched.cycle()).counts == {}
        for statement in LOST[fault].split(";"):
            await watched.sql(statement)
        assert await watched.sql(SAID) != before

        assert (await watched.cycle()).counts == {"vulnerabilities_differ": 2}
        await until(partial(says, watched, before))
        assert (await watched.cycle()).counts == {}


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE finding SET status = 'pass', state = 'resolved' WHERE resource_name = 'a'",
        "UPDATE finding SET gone_at = seen_at, state = 'resolved' WHERE resource_name = 'a'",
        "DELETE FROM finding WHERE resource_name = 'a'",
    ],
)
async def test_vulnerabilities_of_findings_that_are_resolved_or_gone_are_closed(
    watched: Watched, fault: str
) -> None:
    await some(watched)
    await watched.sql(fault)
    async with watched.working():
        done = await watched.cycle()
        assert done.counts["vulnerabilities_differ"] == 2
        (repair, _) = [
            each for each in await watched.repairs() if each.kind == "vulnerabilities_differ"
        ]
        assert "1 occurrences are open though their findings are not" in repair.words

        async def are_closed() -> bool:
            rows = await watched.sql(
                "SELECT status FROM vulnerability WHERE resource_uid LIKE '%a'"
            )
            return rows == [("closed",)] * 2

        await until(are_closed)
        assert "vulnerabilities_differ" not in (await watched.cycle()).counts


async def test_what_no_sync_had_to_see_yet_is_no_fault_and_what_it_is_late_for_is(
    watched: Watched,
) -> None:
    lab = watched.store
    await lab.scan([observed("a"), observed("b")])
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, [observed("b", FindingStatus.PASS), observed("c")])
    await lab.merge(scan_id)  # while the scan runs on for hours
    await watched.sql("UPDATE scan SET status = 'paused' WHERE id = :id", id=scan_id)
    assert await differing(watched) == 0

    await Lab.end(lab, scan_id)  # and its end started no sync
    await watched.sql(
        "UPDATE scan SET finished_at = :now WHERE id = :id", id=scan_id, now=datetime.now(UTC)
    )
    assert await differing(watched) == 0

    await watched.sql(
        "UPDATE scan SET finished_at = finished_at - interval '2 hours' WHERE id = :id", id=scan_id
    )
    async with watched.working():
        assert await differing(watched) == 1
        summary = "SELECT resource_uid, status FROM vulnerability ORDER BY 1"

        async def is_synced() -> bool:
            rows = await watched.sql(summary)
            return [status for _, status in rows] == ["closed", "closed", "open"]

        await until(is_synced)
        assert await differing(watched) == 0


async def differing(watched: Watched) -> int:
    """Accounts that a cycle had synced."""
    return (await watched.cycle()).counts.get("vulnerabilities_differ", 0)
