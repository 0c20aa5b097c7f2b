"""Due dates over more than a year: counted from the first detection, each told once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from contracts.sla import DueDatesStep, SlaDays, SlaPolicy
from contracts.vocabulary import NoticeKind, Severity, SlaState, VulnerabilityStatus
from storage.database import Database
from storage.vulnerabilities import sla, sla_checks
from tests.storage.lab import PASS, Lab, make_lab, observed
from tests.storage.vulnerability_lab import (
    accept,
    add_rule,
    decide,
    due,
    listed,
    states,
    summary,
    sync,
    the_one,
    versions,
)

DAY = timedelta(days=1)
DEFAULTS = {"critical": 7, "high": 30, "medium": 90, "low": 120, "informational": None}


async def check(lab: Lab, at: datetime, limit: int = 1000) -> dict[str, int]:
    """One step of the check: what it did, without zeros."""
    async with lab.database.transaction() as session:
        did = await sla_checks.check_step(session, at=at, limit=limit)
    return {kind: count for kind, count in did.items() if count}


async def notices(lab: Lab) -> list[tuple[str, datetime, datetime]]:
    """(kind, date it is about, when) of the team's notices, oldest first."""
    async with lab.database.transaction() as session:
        page = await sla_checks.list_notices(session, lab.team_id, limit=500)
    return [(each.kind.value, each.due_at, each.at) for each in reversed(page.items)]


async def set_policy(lab: Lab, *, restart: bool = True, **days: int | None) -> None:
    """Change the team's policy, and with it the due dates, three vulnerabilities at a time."""
    policy = SlaPolicy(days=SlaDays(**days), restart_on_reopen=restart)
    async with lab.database.transaction() as session:
        saved = await sla_checks.save_policy(
            session, lab.team_id, policy, who="alice", at=lab.clock.now
        )
    assert saved == policy
    step = DueDatesStep(team_id=lab.team_id, after=None, limit=3)
    while True:
        async with lab.database.transaction() as session:
            done = await sla_checks.redate_step(session, step)
        if done.after is None:
            return
        step = step.model_copy(update={"after": done.after})


def mornings(start: datetime, days: int) -> Iterator[datetime]:
    """Every day at the same hour."""
    yield from (start + n * DAY for n in range(days))


async def of_each_severity(lab: Lab) -> dict[str, datetime]:
    """A vulnerability of each severity; when each was first detected."""
    await lab.scan([observed(each.value, severity=each) for each in Severity])
    await sync(lab)
    return {each.severity.value: each.first_detected_at for each in await listed(lab)}


async def test_due_dates_are_days_after_the_first_detection(lab: Lab) -> None:
    detected = await of_each_severity(lab)
    for each in await listed(lab):
        days = DEFAULTS[each.severity.value]
        assert each.due_at == (None if days is None else each.first_detected_at + days * DAY)
        assert each.first_detected_at == detected[each.severity.value]


async def test_over_400_days_each_notice_is_told_once_and_null_never_breaches(lab: Lab) -> None:
    detected = await of_each_severity(lab)
    start = lab.clock.now.replace(hour=6, minute=0)
    for morning in mornings(start, 400):
        await check(lab, morning)
        assert await check(lab, morning) == {}
    told = await notices(lab)
    expected = {
        (kind, detected[severity] + days * DAY)
        for severity, days in DEFAULTS.items()
        if days is not None
        for kind in ("upcoming", "breached")
    }
    assert {(kind, date) for kind, date, _ in told} == expected
    assert len(told) == len(expected) == 8
    for kind, date, at in told:
        if kind == "breached":
            assert timedelta() <= at - date < DAY
        else:
            assert 2 * DAY < date - at <= 3 * DAY


async def test_states_follow_the_time_and_lists_and_summaries_agree(lab: Lab) -> None:
    await of_each_severity(lab)
    start = lab.clock.now
    for days, expected in (
        (0, {"on_track": 4}),
        (5, {"on_track": 3, "due_soon": 1}),
        (8, {"on_track": 3, "breached": 1}),
        (28, {"on_track": 2, "due_soon": 1, "breached": 1}),
        (400, {"breached": 4}),
    ):
        lab.clock.now = start + days * DAY
        assert (await summary(lab)).sla == expected
        for state in SlaState:
            found = await listed(lab, sla=[state])
            assert len(found) == expected.get(state.value, 0)
            assert all(each.sla is state for each in found)
    assert len(await listed(lab, sla=["breached", "due_soon"])) == 4
    assert (await summary(lab)).total == 5


@pytest.mark.parametrize(
    ("detected", "days", "expected"),
    [
        ("2026-01-31T12:00", 30, "2026-03-02T12:00"),
        ("2028-01-30T23:59", 30, "2028-02-29T23:59"),
        ("2026-03-28T02:30", 1, "2026-03-29T02:30"),  # Europe's clocks jump at 01:00 UTC
        ("2026-10-24T00:30", 1, "2026-10-25T00:30"),
        ("2026-12-31T23:00", 7, "2027-01-07T23:00"),
        ("2026-11-30T00:00", 90, "2027-02-28T00:00"),
    ],
)
async def test_month_ends_leap_years_and_clock_changes_count_as_days(
    lab: Lab, detected: str, days: int, expected: str
) -> None:
    await set_policy(lab, high=days)
    lab.clock.now = datetime.fromisoformat(detected).replace(tzinfo=UTC)
    await lab.scan([observed("a")])
    await lab.sql(
        "UPDATE finding SET first_seen_at = CAST(:at AS timestamptz)",
        at=datetime.fromisoformat(detected).replace(tzinfo=UTC),
    )
    await sync(lab)
    due_at = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert (await the_one(lab)).due_at == due_at
    assert sla.sla_state(due_at, due_at - timedelta(microseconds=1)) is SlaState.DUE_SOON
    assert sla.sla_state(due_at, due_at) is SlaState.BREACHED
    assert sla.sla_state(due_at, due_at - 3 * DAY) is SlaState.DUE_SOON
    assert sla.sla_state(due_at, due_at - 3 * DAY - timedelta(seconds=1)) is SlaState.ON_TRACK
    assert sla.sla_state(None, due_at) is None
    assert await check(lab, due_at) == {"breached": 1}


async def test_a_changed_policy_changes_due_dates_and_null_takes_them_away(lab: Lab) -> None:
    await of_each_severity(lab)
    await set_policy(lab, critical=1, high=None, low=120)
    due_after = {
        each.severity.value: each.due_at and (each.due_at - each.first_detected_at).days
        for each in await listed(lab)
    }
    assert due_after == {**DEFAULTS, "critical": 1, "high": None}
    assert await check(lab, lab.clock.now + 100 * DAY) == {"breached": 2}
    before = await versions(lab)
    await set_policy(lab, critical=1, high=None, low=120)
    await sync(lab, full=True)
    assert await versions(lab) == before


@pytest.mark.parametrize("restart", [True, False])
async def test_acceptance_stops_the_clock_and_reopening_starts_it_by_setting(
    lab: Lab, restart: bool
) -> None:
    await set_policy(lab, restart=restart)
    await lab.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    assert found.due_at is not None
    lab.clock.now += 10 * DAY
    await accept(lab, found.id, days=200)
    accepted_at = lab.clock.now
    assert await check(lab, lab.clock.now + 150 * DAY) == {}
    until = (await the_one(lab)).accepted_until
    assert until is not None
    reopened_at = until + timedelta(hours=3)
    assert await check(lab, reopened_at) == {"acceptance_expired": 1}
    assert await check(lab, reopened_at) == {}
    shown = await the_one(lab)
    assert (shown.status, shown.accepted_until) == (VulnerabilityStatus.OPEN, None)
    assert shown.reopened_at == reopened_at
    stood = reopened_at - accepted_at
    assert shown.due_at == (reopened_at + 30 * DAY if restart else found.due_at + stood)
    event = shown.history[-1]
    assert (event.who, event.transition, event.reason) == (
        "sla_check", "reopened", sla_checks.EXPIRED,
    )  # fmt: skip
    assert await states(lab) == {"a": "open"}
    assert [(kind, date) for kind, date, _ in await notices(lab)] == [("acceptance_expired", until)]


async def test_an_acceptance_of_what_is_fixed_ends_closed(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    await accept(lab, (await the_one(lab)).id, days=1)
    await lab.scan([observed("a", PASS)])
    await sync(lab)
    assert await check(lab, lab.clock.now + 2 * DAY) == {"acceptance_expired": 1}
    assert (await the_one(lab)).status is VulnerabilityStatus.CLOSED
    assert await states(lab) == {"a": "resolved"}


@pytest.mark.parametrize("restart", [True, False])
async def test_what_is_found_again_is_due_anew_or_from_its_first_detection(
    lab: Lab, restart: bool
) -> None:
    await set_policy(lab, restart=restart)
    await lab.scan([observed("a")])
    await sync(lab)
    first = (await the_one(lab)).due_at
    await lab.scan([observed("a", PASS)])
    await sync(lab)
    assert (await the_one(lab)).due_at is None
    lab.clock.now += 100 * DAY
    assert await check(lab, lab.clock.now) == {}
    await lab.scan([observed("a")])
    await sync(lab)
    shown = await the_one(lab)
    assert shown.reopened_at is not None
    assert shown.due_at == (shown.reopened_at + 30 * DAY if restart else first)


async def test_a_worse_severity_is_due_sooner(lab: Lab) -> None:
    await lab.scan([observed("a", severity=Severity.LOW)])
    await sync(lab)
    await lab.scan([observed("a", severity=Severity.CRITICAL)])
    await sync(lab)
    shown = await the_one(lab)
    assert shown.due_at == shown.first_detected_at + 7 * DAY


async def test_work_in_progress_is_due_all_the_same(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    await decide(lab, (await the_one(lab)).id, "in_progress")
    assert await check(lab, lab.clock.now + 31 * DAY) == {"breached": 1}


async def test_a_check_goes_in_bounded_steps(lab: Lab) -> None:
    await lab.scan([observed(f"r{n}") for n in range(7)])
    await sync(lab)
    later = lab.clock.now + 31 * DAY
    assert [await check(lab, later, limit=3) for _ in range(4)] == [
        {"breached": 3}, {"breached": 3}, {"breached": 1}, {},
    ]  # fmt: skip


async def test_a_rule_mutes_what_is_no_longer_accepted(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    await accept(lab, (await the_one(lab)).id, days=1)
    await add_rule(lab, check_id="s3_public")
    await sync(lab)
    assert await states(lab) == {"a": "accepted"}
    await check(lab, lab.clock.now + 2 * DAY)
    assert await due(lab)
    await sync(lab)
    assert await states(lab) == {"a": "muted"}


async def test_teams_have_policies_and_notices_of_their_own(database: Database, lab: Lab) -> None:
    stranger = await make_lab(database)
    await set_policy(stranger, high=None)
    for each in (lab, stranger):
        await each.scan([observed("a")])
        await sync(each)
    assert await check(lab, lab.clock.now + 31 * DAY) == {NoticeKind.BREACHED.value: 1}
    assert len(await notices(lab)) == 1
    assert await notices(stranger) == []
