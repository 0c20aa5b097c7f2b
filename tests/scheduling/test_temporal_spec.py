"""Specs are small, the same for the same timing, and tell different timings apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import combinations

import pytest
from temporalio.client import ScheduleCalendarSpec, ScheduleRange, ScheduleSpec

from contracts.schedules import Timing
from scheduling.temporal_spec import same_spec, to_spec
from tests.scheduling.timings import FREEZE, HARD, NIGHT, NOW, cron, interval


def _spec(timing: Timing) -> ScheduleSpec:
    return to_spec(timing, now=NOW)


def test_values_become_few_ranges() -> None:
    (calendar,) = _spec(cron("*/15,7 0-6,20-23 */9 * mon-fri")).calendars
    assert calendar == ScheduleCalendarSpec(
        minute=(ScheduleRange(0), ScheduleRange(7), ScheduleRange(15, 45, 15)),
        hour=(ScheduleRange(0, 6), ScheduleRange(20, 23)),
        day_of_month=(ScheduleRange(1, 28, 9),),
        day_of_week=(ScheduleRange(1, 5),),
    )


def test_either_day_is_two_calendars_and_both_days_one() -> None:
    assert len(_spec(cron("0 3 1 * 1")).calendars) == 2
    assert len(_spec(cron("0 3 */2 * 1")).calendars) == 1
    assert len(_spec(cron("0 3 1-31 * 1")).calendars) == 1


def test_exclusions_cover_every_second_they_name() -> None:
    night, sunday_early = _spec(interval(7, exclude=[NIGHT])).skip[:2]
    for skip in (night, sunday_early):
        assert skip.second == (ScheduleRange(0, 59),)
    # 13:20:30 to 13:21, to 14:00, to midnight, four days, three more, midnight to 00:30, to :15.
    assert len(_spec(interval(7, exclude=[FREEZE])).skip) == 7


@pytest.mark.parametrize("hour", [9, 12, 23])
def test_clock_changes_that_do_not_matter_leave_no_trace(hour: int) -> None:
    spec = _spec(cron(f"0 {hour} * * *", "Europe/Berlin"))
    assert len(spec.calendars) == 1
    assert not spec.intervals
    assert not spec.skip


def test_a_clock_change_that_temporal_gets_wrong_is_spelled_out_for_two_years() -> None:
    spec = _spec(cron("0 2 * * *", "Europe/Berlin"))
    assert len(spec.calendars) == 1
    assert len(spec.intervals) == 4, "02:00 twice, in 2027 and 2028"
    assert {skip.year for skip in spec.skip} == {(ScheduleRange(2027),), (ScheduleRange(2028),)}
    assert same_spec(spec, to_spec(cron("0 2 * * *", "Europe/Berlin"), now=NOW.replace(month=12)))


def test_the_same_minutes_of_every_hour_are_an_interval_where_clocks_change() -> None:
    spec = _spec(cron("*/15 * * * *", "Europe/Berlin"))
    assert not spec.calendars
    assert [each.every for each in spec.intervals] == [timedelta(minutes=15)]
    assert _spec(cron("*/15 * * * *", "UTC")).calendars


def test_an_expiry_is_no_spec() -> None:
    expiry = Timing.model_validate({"trigger": {"type": "expiry", "item_kind": "certificate"}})
    with pytest.raises(ValueError, match="expire"):
        _spec(expiry)


def test_what_temporal_fills_in_is_no_difference() -> None:
    sent = _spec(cron(["0 2 * * *", "30 4 * * *"], "UTC"))
    given = replace(
        sent,
        calendars=[
            replace(
                each,
                minute=[ScheduleRange(r.start, r.end, 1) for r in each.minute],
                day_of_week=[ScheduleRange(n) for n in range(7)],
                comment="shown in the Web UI",
            )
            for each in reversed(sent.calendars)
        ],
        jitter=timedelta(),
        time_zone_name=None,
    )
    assert same_spec(sent, given)
    assert same_spec(given, sent)


def test_no_two_hard_timings_are_taken_for_the_same() -> None:
    assert not [
        (one, other)
        for (one, a), (other, b) in combinations(HARD.items(), 2)
        if same_spec(_spec(a), _spec(b))
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"starts_at": "2027-02-01T00:00:00Z"},
        {"ends_at": "2029-02-01T00:00:00Z"},
        {"jitter_seconds": 1},
        {"exclude": [NIGHT]},
    ],
)
def test_every_part_of_a_timing_counts(change: dict[str, object]) -> None:
    assert not same_spec(_spec(cron("0 2 * * *")), _spec(cron("0 2 * * *", **change)))


def test_what_was_cut_off_in_a_list_is_taken_to_be_the_same() -> None:
    sent = _spec(cron([f"{n} {n} * * *" for n in range(12)]))
    assert same_spec(sent, replace(sent, calendars=sent.calendars[:10]))
    assert not same_spec(sent, replace(sent, calendars=sent.calendars[:11]))
    assert not same_spec(sent, replace(sent, calendars=sent.calendars[1:11]))
