"""What a person decides holds against every scan, and lands in the history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from contracts.decisions import NewMuteRule
from contracts.errors import Conflict, ScopeInvalid
from contracts.observations import CoveredCheck, ObservedResource
from contracts.vocabulary import VulnerabilityStatus
from contracts.vulnerabilities import SyncCounts
from storage.database import Database
from storage.findings import mute_rules
from tests.storage.lab import PASS, Lab, at_once, make_lab, observed
from tests.storage.vulnerability_lab import (
    accept,
    add_rule,
    decide,
    due,
    listed,
    other_source,
    preview,
    remove_rule,
    states,
    sync,
    the_one,
    versions,
)


async def test_an_accepted_risk_leaves_the_open_findings_and_stays_visible(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b")])
    await sync(lab)
    (found,) = await listed(lab, q="arn:aws:s3:::a")
    await accept(lab, found.id)
    assert await states(lab) == {"a": "accepted", "b": "open"}
    assert [each.resource.name for each in await lab.list(state=["open"])] == ["b"]
    finding = await lab.one(state=["accepted"])
    assert finding.history[-1].reason == "accepted by alice: It is known."
    shown = await the_one(lab, status=["accepted"])
    assert (shown.due_at, shown.sla) == (None, None)
    assert shown.accepted_until is not None
    event = shown.history[-1]
    assert (event.who, event.transition, event.reason) == ("alice", "accepted", "It is known.")
    assert event.before is not None
    assert event.before["status"] == "open"


@pytest.mark.parametrize("action", ["accept", "false_positive"])
async def test_no_scan_overrides_a_decision(lab: Lab, action: str) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    (found,) = await listed(lab)
    if action == "accept":
        await accept(lab, found.id)
    else:
        await decide(lab, found.id, action, reason="No.")
    decided = (await the_one(lab)).status
    for rows in ([observed("a", detail="Changed.")], [], [observed("a", PASS)], [observed("a")]):
        await lab.scan(rows, covered=[CoveredCheck("s3_public", "eu-west-1")])
        await sync(lab)
        assert (await the_one(lab)).status is decided
        assert await states(lab) == {"a": "accepted"}


async def test_a_new_occurrence_of_an_accepted_risk_is_accepted(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    await accept(lab, (await the_one(lab)).id)
    await other_source(lab).scan([observed("a")])
    assert await states(lab) == {"a": "accepted", "a/import": "open"}
    assert await sync(lab) == SyncCounts(updated=1)
    assert await states(lab) == {"a": "accepted", "a/import": "accepted"}
    before = await versions(lab)
    await sync(lab, full=True)
    assert await versions(lab) == before


async def test_reopening_gives_findings_the_state_of_their_status(lab: Lab) -> None:
    other = other_source(lab)
    await lab.scan([observed("a")])
    await other.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    await decide(lab, found.id, "false_positive", reason="It is not.")
    await other.scan([observed("a", PASS)])
    await sync(lab)
    await decide(lab, found.id, "reopen", reason="It is, after all.")
    assert await states(lab) == {"a": "open", "a/import": "resolved"}
    shown = await the_one(lab)
    assert (shown.status, shown.reopened_at) == (VulnerabilityStatus.OPEN, lab.clock.now)
    assert shown.due_at is not None


async def test_reopening_what_is_fixed_closes_it(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    await accept(lab, found.id)
    await lab.scan([observed("a", PASS)])
    await sync(lab)
    await decide(lab, found.id, "reopen")
    assert (await the_one(lab)).status is VulnerabilityStatus.CLOSED
    assert await states(lab) == {"a": "resolved"}


async def test_owner_comment_and_progress_land_in_the_history(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    await decide(lab, found.id, "assign", owner="platform")
    await decide(lab, found.id, "comment", comment="Soon.")
    await decide(lab, found.id, "in_progress")
    await lab.scan([observed("a", detail="Changed.")])
    await sync(lab)
    shown = await the_one(lab, owner=["platform"], status=["in_progress"])
    assert [event.transition.value for event in shown.history] == [
        "opened", "assigned", "commented", "in_progress",
    ]  # fmt: skip
    assert shown.history[1].after == {"owner": "platform"}
    assert shown.history[2].reason == "Soon."
    await decide(lab, found.id, "assign", owner=None)
    assert (await the_one(lab)).owner is None


async def test_what_cannot_be_is_refused(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    with pytest.raises(ScopeInvalid):
        await accept(lab, found.id, days=-1)
    with pytest.raises(ValidationError):
        await decide(lab, found.id, "accept", reason="No expiry.")
    with pytest.raises(Conflict, match="in_progress, accepted, false_positive"):
        await decide(lab, found.id, "reopen")
    await lab.scan([observed("a", PASS)])
    await sync(lab)
    with pytest.raises(Conflict, match="closed"):
        await accept(lab, found.id)
    assert len((await the_one(lab)).history) == 2


async def test_a_decision_and_a_sync_at_once_leave_nothing_undecided(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await sync(lab)
    found = await the_one(lab)
    await other_source(lab).scan([observed("a")])
    results = await at_once(sync(lab), accept(lab, found.id), sync(lab))
    assert not [result for result in results if isinstance(result, Exception)]
    await sync(lab, full=True)
    assert set((await states(lab)).values()) == {"accepted"}


async def test_a_mute_rule_takes_what_is_stored_and_what_comes(lab: Lab) -> None:
    await lab.scan([observed("press-1"), observed("shop")])
    await sync(lab)
    assert (await preview(lab, resource="arn:aws:s3:::press-*")).total == 1
    rule = await add_rule(lab, resource="arn:aws:s3:::press-*", check_id="s3_public")
    assert await due(lab)
    assert await sync(lab) == SyncCounts(closed=1, unchanged=1)
    assert await states(lab) == {"press-1": "muted", "shop": "open"}
    muted = await the_one(lab, status=["closed"])
    assert muted.history[-1].reason == "muted"
    finding = await lab.one(state=["muted"])
    assert finding.history[-1].reason == "muted by alice: It is noise."

    await lab.scan([observed("press-1"), observed("press-2"), observed("shop")])
    await sync(lab)
    assert await states(lab) == {"press-1": "muted", "press-2": "muted", "shop": "open"}

    await lab.scan([observed("press-1", PASS), observed("press-2"), observed("shop")])
    before = await versions(lab)
    await sync(lab)
    await remove_rule(lab, rule)
    assert before != await versions(lab)
    assert await sync(lab) == SyncCounts(created=1, unchanged=2)
    assert await states(lab) == {"press-1": "resolved", "press-2": "open", "shop": "open"}


@pytest.mark.parametrize(
    ("criteria", "muted"),
    [
        ({"check_id": "s3_public"}, {"a", "b", "50%_x"}),
        ({"check_id": "s3_publi"}, set()),
        ({"region": "us-east-1"}, {"c"}),
        ({"resource": "b"}, {"b"}),
        ({"resource": "*:::a"}, {"a"}),
        ({"resource": "50%_*"}, {"50%_x"}),
        ({"resource": "%"}, set()),
        ({"resource": "_"}, set()),
        ({"tag": "env:test"}, {"b", "c"}),
        ({"tag": "env:test", "region": "us-east-1"}, {"c"}),
        ({"tag": "env:"}, set()),
    ],
)
async def test_a_rule_matches_what_matches_all_that_it_names(
    lab: Lab, criteria: dict[str, str], muted: set[str]
) -> None:
    def tagged(name: str, **tags: str) -> ObservedResource:
        return ObservedResource(
            uid=f"arn:aws:s3:::{name}", type="bucket", name=name, region="r", tags=tags,
            attributes={},
        )  # fmt: skip

    await lab.discover([tagged("a", env="prod"), tagged("b", env="test"), tagged("c", env="test")],
                       ["bucket"])  # fmt: skip
    await lab.scan(
        [
            observed("a"), observed("b"), observed("50%_x"),
            observed("c", check_id="ec2_open", region="us-east-1"),
        ]
    )  # fmt: skip
    assert (await preview(lab, **criteria)).total == len(muted)
    await add_rule(lab, **criteria)
    await sync(lab)
    assert {name for name, state in (await states(lab)).items() if state == "muted"} == muted


async def test_a_rule_of_one_account_or_team_leaves_others_alone(
    database: Database, lab: Lab
) -> None:
    sibling, stranger = await make_lab(database, lab.team_id), await make_lab(database)
    for each in (lab, sibling, stranger):
        await each.scan([observed("a")])
    await add_rule(lab, account_id=lab.account_id)
    await add_rule(stranger, check_id="nothing")
    for each in (lab, sibling, stranger):
        await sync(each)
    assert [await states(each) for each in (lab, sibling, stranger)] == [
        {"a": "muted"}, {"a": "open"}, {"a": "open"},
    ]  # fmt: skip
    assert (await preview(lab, check_id="s3_public")).total == 1


async def test_a_rule_that_expires_is_as_if_it_were_deleted(lab: Lab) -> None:
    await lab.scan([observed("a")])
    await add_rule(lab, check_id="s3_public", until=lab.clock.now + timedelta(days=1))
    await sync(lab)
    assert await states(lab) == {"a": "muted"}
    lab.clock.now += timedelta(days=2)
    assert not await due(lab)
    async with lab.database.transaction() as session:
        assert await mute_rules.end_expired_rules(session, at=lab.clock.now) == 1
        assert await mute_rules.end_expired_rules(session, at=lab.clock.now) == 0
    assert await due(lab)
    await sync(lab)
    assert await states(lab) == {"a": "open"}
    assert (await the_one(lab)).status is VulnerabilityStatus.OPEN


async def test_what_is_unmuted_while_its_risk_is_accepted_is_accepted(lab: Lab) -> None:
    other = other_source(lab)
    await lab.scan([observed("a")])
    await other.scan([observed("a", check_id="s3_public", region="us-east-1")])
    rule = await add_rule(lab, region="us-east-1")
    await sync(lab)
    await accept(lab, (await the_one(lab)).id)
    await remove_rule(lab, rule)
    await sync(lab)
    assert await states(lab) == {"a": "accepted", "a/import": "accepted"}


async def test_a_rule_names_something() -> None:

    with pytest.raises(ValidationError, match="at least one"):
        NewMuteRule(reason="Everything.")
