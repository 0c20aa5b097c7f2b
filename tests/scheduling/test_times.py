"""The times of a schedule, beside a search that looks at every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.schedules import (
    CronTrigger,
    ExcludedDates,
    ExcludedWindow,
    IntervalTrigger,
    Timing,
)
from contracts.vocabulary import Weekday
from scheduling.cron import parse_cron
from scheduling.times import next_times, occurrences
from tests.scheduling.timings import HARD, NIGHT, NOW, TIMINGS, cron, interval, one_time


def _clock(timing: Timing, start: str, hours: int) -> list[str]:
    zone = ZoneInfo(timing.timezone)
    after = datetime.fromisoformat(start).replace(tzinfo=zone).astimezone(UTC)
    found = occurrences(timing, after=after, until=after + timedelta(hours=hours))
    return [f"{moment.astimezone(zone):%d %H:%M%z}" for moment in found]


def test_a_local_time_that_the_clock_skips_does_not_occur() -> None:
    nightly = cron("30 2 * * *", "Europe/Berlin")
    assert _clock(nightly, "2027-03-27T12:00", 48) == ["29 02:30+0200"]


def test_a_local_time_that_comes_twice_occurs_twice() -> None:
    nightly = cron("30 2 * * *", "Europe/Berlin")
    assert _clock(nightly, "2027-10-30T12:00", 24) == ["31 02:30+0200", "31 02:30+0100"]


def test_half_an_hour_can_be_skipped_and_doubled() -> None:
    quarters = cron("*/15 1-2 * * *", "Australia/Lord_Howe")
    assert _clock(quarters, "2027-10-03T00:00", 4) == [
        *("03 01:00+1030", "03 01:15+1030", "03 01:30+1030", "03 01:45+1030"),
        *("03 02:30+1100", "03 02:45+1100"),
    ]
    doubled = [each for each in _clock(quarters, "2027-04-04T00:00", 4) if "01:45" in each]
    assert doubled == ["04 01:45+1100", "04 01:45+1030"]


def test_intervals_do_not_mind_the_clock() -> None:
    times = next_times(interval(5400), after=datetime(2027, 3, 28, tzinfo=UTC), count=3)
    assert times == [
        datetime(2027, 3, 28, hour, minute, tzinfo=UTC)
        for hour, minute in ((1, 30), (3, 0), (4, 30))
    ]


def test_a_window_belongs_to_the_day_on_which_it_begins() -> None:
    # 2027-01-22 is a Friday; NIGHT begins on Mondays, Fridays and Saturdays.
    timing = cron("0 */3 * * *", exclude=[NIGHT])
    after = datetime(2027, 1, 22, 17, tzinfo=UTC)
    times = occurrences(timing, after=after, until=after + timedelta(hours=18))
    assert [f"{each:%a %H}" for each in times] == ["Fri 18", "Fri 21", "Sat 06", "Sat 09"]


def test_bounds_and_the_end_of_the_range_count_and_its_beginning_does_not() -> None:
    timing = interval(60, starts_at="2027-01-01T00:00:00Z", ends_at="2027-01-01T00:05:00Z")
    start = datetime(2027, 1, 1, tzinfo=UTC)
    assert [each.minute for each in occurrences(timing, after=NOW - timedelta(days=99))] == [
        *range(6)
    ]
    inside = occurrences(timing, after=start, until=start + timedelta(minutes=2))
    assert [each.minute for each in inside] == [1, 2]


def test_one_time_occurs_once_unless_it_is_excluded() -> None:
    at = datetime(2027, 12, 25, 1, 30, tzinfo=UTC)
    assert next_times(one_time("2027-12-25T01:30:00Z"), after=NOW, count=2) == [at]
    assert next_times(one_time("2027-12-25T01:30:00Z"), after=at, count=1) == []
    assert next_times(HARD["once, excluded"], after=NOW, count=1) == []


def test_an_expiry_has_no_times_of_its_own() -> None:
    timing = Timing.model_validate({"trigger": {"type": "expiry", "item_kind": "certificate"}})
    assert next_times(timing, after=NOW, count=1) == []


_DAY = [
    {"type": "window", "start": "00:00", "end": "12:00"},
    {"type": "window", "start": "12:00", "end": "00:00"},
]


@pytest.mark.parametrize(
    "timing",
    [
        cron("* * * * *", "Europe/Berlin", exclude=_DAY),
        interval(1, exclude=_DAY),
        cron("0 0 25 12 *", exclude=[{"type": "dates", "dates": ["12-25"]}]),
        cron("* * * * *", starts_at="9999-12-31T23:59:59-14:00"),
        cron("* * * * *", ends_at="0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_schedule_that_never_fires_says_so(timing: Timing) -> None:
    assert next_times(timing, after=NOW, count=1) == []


def test_a_leap_day_is_found_years_ahead() -> None:
    times = next_times(cron("0 12 29 2 *", "Europe/Berlin"), after=NOW, count=3)
    assert [each.year for each in times] == [2028, 2032, 2036]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(timing=TIMINGS, day=st.integers(0, 700) | st.sampled_from([66, 83, 303, 310, 72, 93, 276]))
def test_the_times_of_three_days_are_those_of_a_search(timing: Timing, day: int) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=day)
    times = list(occurrences(timing, after=start, until=start + timedelta(days=3)))
    assert times == sorted(set(times))
    if isinstance(timing.trigger, CronTrigger):
        every = (start + timedelta(minutes=minute) for minute in range(1, 3 * 1440 + 1))
        assert times == [each for each in every if _matches(timing, timing.trigger, each)]
    elif isinstance(timing.trigger, IntervalTrigger):
        trigger = timing.trigger
        first = int(start.timestamp())
        assert times == [
            datetime.fromtimestamp(each, UTC)
            for each in range(first + 1, first + 3 * 86_400 + 1)
            if (each - trigger.offset_seconds) % trigger.every_seconds == 0
            and _allowed(timing, datetime.fromtimestamp(each, UTC))
        ]


def _matches(timing: Timing, trigger: CronTrigger, moment: datetime) -> bool:
    local = moment.astimezone(ZoneInfo(trigger.timezone))
    return _allowed(timing, moment) and any(
        local.second == 0
        and local.minute in fields.minutes
        and local.hour in fields.hours
        and fields.on_day(local.date())
        for fields in map(parse_cron, trigger.expressions)
    )


def _allowed(timing: Timing, moment: datetime) -> bool:
    """What the contracts say of exclusions and bounds, word by word."""
    if timing.starts_at and moment < timing.starts_at:
        return False
    if timing.ends_at and moment > timing.ends_at:
        return False
    local = moment.astimezone(ZoneInfo(timing.timezone))
    for each in timing.exclude:
        if isinstance(each, ExcludedDates):
            if {f"{local:%m-%d}", f"{local:%Y-%m-%d}"} & set(each.dates):
                return False
        elif isinstance(each, ExcludedWindow):
            clock = local.time().replace(second=0)
            today, yesterday = list(Weekday)[local.weekday()], list(Weekday)[local.weekday() - 1]
            over_midnight = each.end < each.start
            if today in each.days and clock >= each.start and (over_midnight or clock < each.end):
                return False
            if over_midnight and yesterday in each.days and clock < each.end:
                return False
        elif each.start <= moment < each.end:
            return False
    return True
