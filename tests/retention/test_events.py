"""Of histories there stays what states follow from, and every decision of a person."""

from __future__ import annotations

from typing import Any

from contracts.findings import FindingDetail
from contracts.vocabulary import Severity
from contracts.vulnerabilities import VulnerabilityDetail
from tests.retention.conftest import Keeper
from tests.storage.lab import PASS, observed, places
from tests.storage.vulnerability_lab import accept, decide, sync, the_one, versions

LOW, HIGH = Severity.LOW, Severity.HIGH
BUCKETS = places([observed()])


async def flap(keeper: Keeper, times: int) -> None:
    """Fixed and broken again, so many times, each with a sync."""
    for _ in range(times):
        await keeper.lab.scan([observed(status=PASS)])
        await sync(keeper.lab)
        await keeper.lab.scan([observed()])
        await sync(keeper.lab)


def told(found: FindingDetail | VulnerabilityDetail) -> dict[str, Any]:
    """What a history tells of the present and of the beginning."""
    said: dict[str, Any] = {}
    for event in found.history:
        said.update(event.after or {})
    first = found.history[0]
    return {"now": said, "first": (first.at, first.transition, first.after)}


async def test_the_state_and_the_opening_still_follow_from_what_is_left(keeper: Keeper) -> None:
    await keeper.lab.scan([observed(severity=LOW, detail="First.")])
    await sync(keeper.lab)
    await keeper.lab.scan([observed(severity=HIGH, detail="Second.")])
    await sync(keeper.lab)
    await flap(keeper, 5)
    finding, vulnerability = await keeper.lab.one(), await the_one(keeper.lab)
    keeper.pass_days(401)
    shown = await keeper.preview()
    assert shown["events"][0] > 10

    did = await keeper.cycle(limit=3)

    assert did["events"] == shown["events"][0]
    later, still = await keeper.lab.one(), await the_one(keeper.lab)
    assert told(later)["first"] == told(finding)["first"]
    assert told(later)["now"]["status"] == later.status == "fail"
    assert told(later)["now"]["state"] == later.state == "open"
    assert told(still) == told(vulnerability)
    assert later.model_copy(update={"history": []}) == finding.model_copy(update={"history": []})
    assert len(later.history) == 4  # opened; the first of severity and status; the last
    before = await versions(keeper.lab)
    await sync(keeper.lab, full=True)
    assert (await versions(keeper.lab))["vulnerability"] == before["vulnerability"]
    assert await keeper.cycle() == {}


async def test_only_what_is_old_goes(keeper: Keeper) -> None:
    await keeper.lab.scan([observed()])
    await flap(keeper, 3)
    keeper.pass_days(300)
    await flap(keeper, 3)
    recent = [event["id"] for event in await keeper.rows("finding_event")][-6:]
    keeper.pass_days(101)
    await keeper.cycle()
    left = [event["id"] for event in await keeper.rows("finding_event")]
    assert set(recent) < set(left)
    assert len(left) == 7  # the first that tells the status is still needed


async def test_what_people_decided_is_never_deleted(keeper: Keeper) -> None:
    await keeper.lab.scan([observed()])
    await sync(keeper.lab)
    for number in range(4):
        await decide(keeper.lab, (await the_one(keeper.lab)).id, "comment", comment=f"{number}")
        await accept(keeper.lab, (await the_one(keeper.lab)).id)
        await decide(keeper.lab, (await the_one(keeper.lab)).id, "reopen", reason="No.")
        await flap(keeper, 1)
    people = [each for each in (await the_one(keeper.lab)).history if each.who == "alice"]
    keeper.pass_days(3000)
    assert (await keeper.cycle())["events"] > 0
    left = (await the_one(keeper.lab)).history
    assert [each for each in left if each.who == "alice"] == people
    assert len(people) == 12


async def test_the_history_of_what_is_held_stays(keeper: Keeper) -> None:
    await keeper.lab.scan([observed()])
    await flap(keeper, 4)
    hold = await keeper.hold(kinds=["events"], severity=["high"], check_id="s3_public")
    keeper.pass_days(500)
    deletes, held, _ = (await keeper.preview())["events"]
    assert (deletes, held > 8) == (0, True)
    assert "events" not in await keeper.cycle()
    await keeper.lift(hold)
    assert (await keeper.cycle())["events"] == held


async def test_events_of_a_finding_that_goes_are_archived_with_it(archiving: Keeper) -> None:
    await archiving.lab.scan([observed()])
    await archiving.lab.scan([], BUCKETS)
    (event,) = await archiving.rows("finding_event")
    archiving.pass_days(500)
    await archiving.cycle()
    assert archiving.archived()["finding_event"] == [event]
