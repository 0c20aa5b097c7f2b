"""Days are real days, whatever calendars and clocks say."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from storage.retention.retention import cutoff
from tests.retention.conftest import Keeper, utc
from tests.storage.lab import observed, places

BERLIN = ZoneInfo("Europe/Berlin")
BUCKETS = places([observed()])


@pytest.mark.parametrize(
    ("at", "days", "before"),
    [
        (utc(2027, 3, 31), 30, utc(2027, 3, 1)),
        (utc(2027, 3, 1), 1, utc(2027, 2, 28)),
        (utc(2028, 3, 1), 1, utc(2028, 2, 29)),
        (utc(2028, 2, 29, 12), 366, utc(2027, 2, 28, 12)),
        (utc(2029, 2, 28), 365, utc(2028, 2, 29)),
        (utc(2028, 12, 31), 366, utc(2027, 12, 31)),
        # The clock jumps on 2027-03-28 and goes back on 2027-10-31: a day of 23, one of 25 hours.
        (datetime(2027, 3, 28, 12, tzinfo=BERLIN), 1, utc(2027, 3, 27, 10)),
        (datetime(2027, 10, 31, 12, tzinfo=BERLIN), 1, utc(2027, 10, 30, 11)),
        (utc(2027, 5, 5), 36_500, utc(2027, 5, 5) - timedelta(days=36_500)),
    ],
)
def test_a_day_has_24_hours(at: datetime, days: int, before: datetime) -> None:
    found = cutoff(days, at.astimezone(utc(2000, 1, 1).tzinfo))
    assert found == before


def test_for_ever_has_no_end() -> None:
    assert cutoff(None, utc(2027, 1, 1)) is None


@pytest.mark.parametrize(
    "gone_at",
    [
        utc(2026, 3, 29, 0, 59, 59),
        utc(2026, 10, 25, 1),
        utc(2027, 12, 31, 23, 59),
        utc(2028, 2, 29),
    ],
)
async def test_to_the_second_over_more_than_a_year(keeper: Keeper, gone_at: datetime) -> None:
    await keeper.keep(scans=None)
    await keeper.lab.scan([observed()])
    scan_id = await keeper.lab.begin("shard")
    await keeper.lab.stage(scan_id, [], BUCKETS)
    keeper.lab.clock.now = gone_at - timedelta(hours=1)  # the clock goes on by one with each look
    await keeper.lab.merge(scan_id)
    await keeper.lab.end(scan_id)
    second = timedelta(seconds=1)
    over = gone_at + timedelta(days=400)
    assert "resolved_findings" not in await keeper.preview(over - second)
    assert await keeper.cycle(at=over - second) == {}
    assert (await keeper.preview(over))["resolved_findings"] == (1, 0, 0)
    assert await keeper.cycle(at=over) == {"resolved_findings": 1}


async def test_what_is_kept_for_ever_is_never_deleted(keeper: Keeper) -> None:
    kinds = ("events", "resolved_findings", "scans", "runs", "gone_resources")
    await keeper.keep(**dict.fromkeys(kinds))
    for _ in range(3):
        await keeper.lab.scan([observed()])
        await keeper.lab.scan([], BUCKETS)
    keeper.pass_days(36_000)
    assert await keeper.preview() == {}
    assert await keeper.cycle() == {}
    assert await keeper.preview(events=1, scans=1) == {
        "events": (3, 0, 2),
        "scans": (5, 0, 1),
    }
    assert await keeper.count("finding_event") == 5


async def test_a_preview_of_a_policy_is_what_is_deleted_once_it_is_saved(keeper: Keeper) -> None:
    for _ in range(3):
        await keeper.lab.scan([observed("a"), observed("b")])
        await keeper.lab.scan([observed("a")])
        keeper.pass_days(20)
    await keeper.hold(kinds=["resolved_findings"], resource="a")
    shown = await keeper.preview(events=30, scans=50, resolved_findings=10)
    assert await keeper.cycle() == {}
    await keeper.keep(events=30, scans=50, resolved_findings=10)
    assert await keeper.preview() == shown
    deletes = {kind: numbers[0] for kind, numbers in shown.items() if numbers[0]}
    assert set(deletes) == {"events", "scans", "resolved_findings"}
    assert await keeper.cycle(limit=1) == deletes
