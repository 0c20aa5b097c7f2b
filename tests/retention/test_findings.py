"""Resolved findings go when they are old, with what belongs to them and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.vocabulary import Severity
from storage.watchdog.count_drift import counts_lack, totals_lack
from tests.retention.conftest import Keeper
from tests.storage.lab import PASS, observed, places
from tests.storage.vulnerability_lab import (
    accept,
    add_rule,
    decide,
    listed,
    other_source,
    states,
    sync,
    the_one,
    versions,
)

BUCKETS = places([observed()])


async def gone(keeper: Keeper, *names: str) -> None:
    """Findings that failed, and whose resources are gone."""
    await keeper.lab.scan([observed(name) for name in names])
    await keeper.lab.scan([], BUCKETS)


async def test_a_finding_goes_when_its_days_are_over_and_not_before(keeper: Keeper) -> None:
    await gone(keeper, "old")
    await keeper.keep(scans=None)
    keeper.pass_days(399)
    assert await keeper.cycle() == {}
    assert await states(keeper.lab) == {"old": "resolved"}
    keeper.pass_days(1)
    assert await keeper.preview() == {"events": (0, 0, 1), "resolved_findings": (1, 0, 0)}
    assert (await keeper.cycle())["resolved_findings"] == 1
    assert await states(keeper.lab) == {}
    for table in ("finding_event", "finding_subject"):
        assert await keeper.count(table) == 0


async def test_what_a_scan_still_sees_is_never_old(keeper: Keeper) -> None:
    rows = [observed("fixed", PASS), observed("always", PASS), observed("bad")]
    await keeper.lab.scan([observed("fixed"), *rows[1:]])
    await keeper.lab.scan(rows)
    keeper.pass_days(500)
    await keeper.lab.scan(rows)
    before = await versions(keeper.lab)
    assert "resolved_findings" not in await keeper.cycle()
    await keeper.lab.scan(rows)
    assert (await versions(keeper.lab))["finding"] == before["finding"]
    keeper.pass_days(401)  # nobody scans the account any more
    assert (await keeper.cycle())["resolved_findings"] == 2
    assert await states(keeper.lab) == {"bad": "open"}


async def test_totals_stay_what_the_findings_say(keeper: Keeper) -> None:
    await keeper.lab.scan([observed(f"r{n}") for n in range(7)])
    await keeper.lab.scan([observed(f"r{n}") for n in range(2)])
    keeper.pass_days(500)
    await keeper.lab.scan([observed("r0"), observed("r1", PASS), observed("new")])
    assert (await keeper.cycle(limit=2))["resolved_findings"] == 5
    async with keeper.lab.database.transaction() as session:
        assert await counts_lack(session, keeper.lab.account_id) == 0
        assert await totals_lack(session, keeper.lab.team_id) == 0
    sums = "SELECT sum(n) FROM finding_count UNION ALL SELECT sum(n) FROM finding_total"
    assert [int(n) for (n,) in await keeper.lab.sql(sums)] == [3, 3]
    assert [each.resource.name for each in await keeper.lab.list(q="r3")] == []
    assert [each.resource.name for each in await keeper.lab.list(q="new")] == ["new"]


async def test_a_closed_vulnerability_goes_with_its_last_finding(keeper: Keeper) -> None:
    await keeper.lab.scan([observed("old")])
    other = other_source(keeper.lab)
    await other.scan([observed("old")])
    await sync(keeper.lab)
    await keeper.lab.scan([], BUCKETS)
    keeper.pass_days(300)
    await other.scan([], BUCKETS)
    await sync(keeper.lab)
    keeper.pass_days(200)
    assert (await keeper.cycle())["resolved_findings"] == 1
    shown = await the_one(keeper.lab)
    assert (shown.status, shown.total_occurrences, len(shown.occurrences)) == ("closed", 2, 2)
    before = await versions(keeper.lab)
    did = await sync(keeper.lab, full=True)
    assert (did.created, did.updated, did.reopened, did.closed) == (0, 0, 0, 0)
    assert await versions(keeper.lab) | {"vulnerability_cursor": []} == before | {
        "vulnerability_cursor": []
    }
    keeper.pass_days(300)
    assert (await keeper.cycle())["resolved_findings"] == 1
    for table in ("vulnerability", "vulnerability_occurrence", "vulnerability_event"):
        assert await keeper.count(table) == 0


async def test_a_resolved_finding_of_a_vulnerability_in_work_stays(keeper: Keeper) -> None:
    await keeper.lab.scan([observed("old")])
    other = other_source(keeper.lab)
    await other.scan([observed("old")])
    await sync(keeper.lab)
    await keeper.lab.scan([], BUCKETS)
    await sync(keeper.lab)
    keeper.pass_days(500)
    assert (await keeper.preview())["resolved_findings"] == (0, 0, 1)
    assert "resolved_findings" not in await keeper.cycle()
    assert await states(keeper.lab) == {"old": "resolved", "old/import": "open"}


async def test_what_a_person_accepted_or_muted_stays(keeper: Keeper) -> None:
    await keeper.lab.scan([observed("accepted"), observed("muted")])
    await add_rule(keeper.lab, resource="muted")
    await sync(keeper.lab)
    await accept(keeper.lab, (await listed(keeper.lab, status=["open"]))[0].id, days=2000)
    await keeper.lab.scan([], BUCKETS)
    await sync(keeper.lab)
    keeper.pass_days(500)
    assert "resolved_findings" not in await keeper.cycle()
    assert await states(keeper.lab) == {"accepted": "accepted", "muted": "muted"}


async def test_a_vulnerability_that_a_person_decided_about_outlives_its_findings(
    keeper: Keeper,
) -> None:
    await keeper.lab.scan([observed("old")])
    await sync(keeper.lab)
    (vulnerability,) = await listed(keeper.lab)
    await decide(keeper.lab, vulnerability.id, "comment", comment="The supplier will mend it.")
    await keeper.lab.scan([], BUCKETS)
    await sync(keeper.lab)
    keeper.pass_days(500)
    assert (await keeper.cycle())["resolved_findings"] == 1
    shown = await the_one(keeper.lab)
    assert shown.status == "closed"
    assert [each.transition for each in shown.history] == ["opened", "commented", "closed"]
    keeper.pass_days(1)
    await sync(keeper.lab, full=True)
    await keeper.lab.scan([observed("old")])
    await sync(keeper.lab)
    again = await the_one(keeper.lab)
    assert (again.id, again.status, again.open_occurrences) == (vulnerability.id, "open", 1)


async def test_a_finding_that_comes_back_after_it_was_deleted_is_a_new_one(keeper: Keeper) -> None:
    await gone(keeper, "old")
    await sync(keeper.lab)
    first = await keeper.lab.sql("SELECT id FROM finding")
    keeper.pass_days(500)
    await keeper.cycle()
    counts = await keeper.lab.scan([observed("old")])
    assert counts.new == 1
    assert await keeper.lab.sql("SELECT id FROM finding") == first
    await sync(keeper.lab)
    assert (await the_one(keeper.lab)).status == "open"
    assert [each.resource.name for each in await keeper.lab.list(q="old")] == ["old"]


@pytest.mark.parametrize("named", [{"kinds": ["events"]}, {"check_id": "s3_public"}])
async def test_a_finding_stays_while_its_history_is_held(
    keeper: Keeper, named: dict[str, Any]
) -> None:
    await gone(keeper, "old")
    hold = await keeper.hold(**named)
    keeper.pass_days(500)
    assert (await keeper.preview())["resolved_findings"] == (0, 1, 0)
    assert "resolved_findings" not in await keeper.cycle()
    await keeper.lift(hold)
    assert (await keeper.cycle())["resolved_findings"] == 1


async def test_a_vulnerability_that_is_held_outlives_its_findings(keeper: Keeper) -> None:
    await keeper.lab.scan([observed("old", severity=Severity.CRITICAL)])
    await sync(keeper.lab)
    await keeper.lab.scan([observed("old", PASS, severity=Severity.LOW)])
    await keeper.lab.scan([], BUCKETS)
    await sync(keeper.lab)
    hold = await keeper.hold(kinds=["events"], severity=["critical"])
    keeper.pass_days(500)
    assert (await keeper.cycle())["resolved_findings"] == 1
    assert (await the_one(keeper.lab)).severity is Severity.CRITICAL
    await keeper.lift(hold)
    assert await keeper.count("vulnerability_event") == 1
