"""Lists and counts of findings beside the same question asked of plain rows in Python."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.errors import NotFound, ScopeInvalid
from contracts.findings import CheckText, Finding, FindingFilter
from contracts.observations import CoveredCheck
from contracts.vocabulary import FindingState, FindingStatus, Provider, Severity
from storage.checks import upsert_checks
from storage.database import Database
from storage.findings import finding_pages, findings
from tests.storage.lab import FAIL, PASS, Lab, make_lab, observed

CHECKS = {
    "s3_public": ("Buckets are not public", Severity.CRITICAL),
    "s3_logging": ("Buckets log", Severity.LOW),
    "iam_mfa": ("Users have a second factor", Severity.HIGH),
    "ec2_public": ("Instances have no address", Severity.CRITICAL),
}


@pytest.fixture
async def filled(database: Database, lab: Lab) -> list[Lab]:
    """Two accounts of a team and one of another, each scanned a few times."""
    async with database.transaction() as session:
        await upsert_checks(
            session,
            [
                CheckText(
                    source="prowler", provider=Provider.AWS, check_id=check_id, title=title,
                    severity=severity, service=check_id.split("_")[0],
                )
                for check_id, (title, severity) in CHECKS.items()
            ],
        )  # fmt: skip
    labs = [lab, await make_lab(database, lab.team_id), await make_lab(database)]
    drawn = random.Random(7)  # noqa: S311 (data, not a secret)
    for each in labs:
        each.clock = lab.clock
        rows = [
            observed(
                f"{word}-{number}", drawn.choice([PASS, PASS, FAIL, FindingStatus.MANUAL]),
                check_id, region=drawn.choice(["eu-west-1", "us-east-1"]), severity=severity,
            )
            for number, word in enumerate(["assets", "logs", "backup", "web", "data", "mail"])
            for check_id, (_, severity) in CHECKS.items()
        ]  # fmt: skip
        await each.scan(rows[:12])
        await each.scan(rows[4:20])
        await each.scan(rows[4:], [CoveredCheck("s3_public", "eu-west-1")])
    await lab.sql("UPDATE finding SET state = 'muted' WHERE resource_name = 'web-3'")
    await lab.sql("ANALYZE finding")  # lists ask how many there are
    return labs


def plain(found: list[Finding], filter: FindingFilter, scans: dict[UUID, set[UUID]]) -> list[UUID]:
    """The ids that match, worst first: every condition on every row."""

    def matches(each: Finding) -> bool:
        title = CHECKS[each.check_id][0].lower()
        words = each.resource.uid.lower().split(":")[-1].replace("-", " ").split()
        texts = filter.q is None or (
            filter.q in title
            or filter.q in each.check_id
            or all(
                any(word.startswith(part) for word in words)
                for part in filter.q.replace("-", " ").split()
            )
        )
        return (
            texts
            and all(
                values is None or getattr(each, name) in values
                for name, values in (
                    *(("account_id", filter.account_id), ("source", filter.source)),
                    *(("status", filter.status), ("state", filter.state)),
                    *(("severity", filter.severity), ("service", filter.service)),
                    *(("region", filter.region), ("check_id", filter.check_id)),
                )
            )
            and (filter.resource_uid is None or each.resource.uid in filter.resource_uid)
            and (filter.first_seen_after is None or each.first_seen_at > filter.first_seen_after)
            and (filter.scan_id is None or filter.scan_id in scans[each.id])
        )

    order = list(Severity)
    found = [each for each in found if matches(each)]
    found.sort(key=lambda each: (order.index(each.severity), each.id), reverse=True)
    return [each.id for each in found]


async def scans_of(lab: Lab, found: list[Finding]) -> dict[UUID, set[UUID]]:
    """Which scans a finding belongs to: those in its history, and the last to see it."""
    scans = {each.id: {each.first_scan_id, each.last_scan_id} for each in found}
    rows = await lab.sql("SELECT finding_id, scan_id FROM finding_event")
    for finding_id, scan_id in rows:
        if finding_id in scans:
            scans[finding_id].add(scan_id)
    stamped = await lab.sql("SELECT id, seen_scan_id FROM finding")
    for finding_id, scan_id in stamped:
        if finding_id in scans:
            scans[finding_id].add(scan_id)
    return scans


def filters(found: list[Finding], middle: datetime) -> list[FindingFilter]:
    """Each filter alone, and every two of them."""
    some = found[len(found) // 2]
    values: dict[str, Any] = {
        "account_id": [some.account_id],
        "source": ["prowler"],
        "status": [FindingStatus.FAIL, FindingStatus.MANUAL],
        "state": [FindingState.MUTED],
        "severity": [Severity.CRITICAL, Severity.LOW],
        "service": ["s3"],
        "region": ["us-east-1"],
        "check_id": ["s3_public", "iam_mfa"],
        "resource_uid": [some.resource.uid, "arn:aws:s3:::nothing"],
        "scan_id": some.last_scan_id,
        "first_seen_after": middle,
        "q": "public",
    }
    singles = [{name: value} for name, value in values.items()]
    singles += [{"q": q} for q in ("logs", "log", "assets-0", "nothing at all", "%", "'", "we 3")]
    pairs = [{one: values[one], other: values[other]} for one, other in combinations(values, 2)]
    return [FindingFilter(**fields) for fields in [{}, *singles, *pairs]]


STRATEGIES: dict[str, dict[str, float]] = {
    "as it decides": {},
    "always walk": {"FEW": 0, "FEW_LOOSELY": 0, "FEW_COUNTS": 1, "WALKED": 1000},
    "always walk to places": {"FEW": 0, "FEW_LOOSELY": 0, "WALKED": 1000},
    "walk a little, then fetch": {"FEW": 0, "FEW_LOOSELY": 0, "WALKED": 0.1, "FOR_ONE": 0},
    "walk a little, then few": {
        "FEW": 0,
        "FEW_LOOSELY": 0,
        "WALKED": 0.1,
        "FOR_ONE": 0,
        "FEWER_THAN_WALKED_TO": 10,
    },
    "walk a little, then on": {
        "FEW": 0,
        "FEW_LOOSELY": 0,
        "WALKED": 0.1,
        "FOR_ONE": 0,
        "FEWER_THAN_WALKED_TO": -1,
    },
}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_every_filter_lists_and_counts_what_plain_rows_say(
    filled: list[Lab], strategy: str
) -> None:
    lab = filled[0]
    everything = await lab.list()
    assert len(everything) > 30
    scans = await scans_of(lab, everything)
    middle = sorted(each.first_seen_at for each in everything)[len(everything) // 2]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in STRATEGIES[strategy].items():
            patch.setattr(finding_pages, name, value)
        for filter in filters(everything, middle):
            expected = plain(everything, filter, scans)
            assert [each.id for each in await lab.list(filter)] == expected, filter
            async with lab.database.transaction() as session:
                summary = await findings.summarize_findings(session, lab.team_id, filter)
            chosen = [each for each in everything if each.id in set(expected)]
            assert summary.total == len(chosen), filter
            for name in findings.SUMMED:
                counted = Counter(str(getattr(each, name)) for each in chosen)
                assert getattr(summary, name) == counted, (name, filter)


async def test_pages_have_neither_gaps_nor_repeats_while_findings_are_added(lab: Lab) -> None:
    await lab.scan([observed(f"old-{number}") for number in range(40)])
    there = {each.id for each in await lab.list()}
    seen: list[UUID] = []
    cursor = None
    for number in range(100):
        async with lab.database.transaction() as session:
            page = await findings.list_findings(
                session, lab.team_id, FindingFilter(), limit=7, cursor=cursor
            )
        seen += [each.id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        await lab.scan([observed(f"new-{number}-{each}") for each in range(5)], [])
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


async def test_rows_of_another_team_are_not_found(filled: list[Lab]) -> None:
    ours, _, theirs = filled
    (first, *_) = await theirs.list()
    async with ours.database.transaction() as session:
        with pytest.raises(NotFound):
            await findings.get_finding(session, ours.team_id, first.id)
        with pytest.raises(NotFound):
            await findings.get_finding(session, ours.team_id, uuid4())
    for fields in (
        {"account_id": [theirs.account_id]},
        {"scan_id": first.last_scan_id},
        {"resource_uid": [first.resource.uid], "account_id": [theirs.account_id]},
    ):
        assert await ours.list(**fields) == []


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "bnVsbA", "WyJzY2FucyIsIngiXQ", "ü"])
async def test_a_cursor_that_is_not_ours_is_refused_by_name(lab: Lab, cursor: str) -> None:
    async with lab.database.transaction() as session:
        with pytest.raises(ScopeInvalid) as refused:
            await findings.list_findings(
                session, lab.team_id, FindingFilter(), limit=5, cursor=cursor
            )
    assert refused.value.field == "cursor"


async def test_a_scan_that_is_not_the_latest_lists_what_it_found(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b")])
    first = (await lab.list())[0].first_scan_id
    later = lab.clock.now + timedelta(minutes=1)
    await lab.scan([observed("a"), observed("c")])
    assert {each.resource.name for each in await lab.list(scan_id=first)} == {"a", "b"}
    assert {each.resource.name for each in await lab.list(first_seen_after=later)} == {"c"}


async def test_what_a_scan_saw_that_still_runs_is_counted_by_its_time(lab: Lab) -> None:
    await lab.scan([observed("a")])
    since = lab.clock.now
    running = await lab.begin("shard")
    await lab.stage(running, [observed("a"), observed("b")])
    await lab.merge(running)
    filter = FindingFilter(first_seen_after=since)
    async with lab.database.transaction() as session:
        assert (await findings.summarize_findings(session, lab.team_id, filter)).total == 1
    await lab.end(running)
    async with lab.database.transaction() as session:
        assert (await findings.summarize_findings(session, lab.team_id, filter)).total == 1


async def test_what_is_new_is_listed_also_where_its_check_did_not_complete(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b", check_id="s3_logging")])
    since = lab.clock.now
    await lab.scan([observed("a"), observed("c"), observed("b", check_id="s3_logging")], covered=[])
    for narrower in (
        {"service": ["s3"]},
        {"account_id": [lab.account_id]},
        {"region": ["eu-west-1"]},
    ):
        new = await lab.list(first_seen_after=since, **narrower)
        assert [each.resource.name for each in new] == ["c"]
    assert await lab.list(first_seen_after=since, check_id=["s3_logging"]) == []
