"""A schedule's timing as Temporal's schedule spec, and whether two specs say the same.

Temporal (Server 1.32) finds the calendar times of most days, and gets wrong those of a day on
which the clock goes back in a zone that is ahead of UTC: in Berlin, 01:30 fires once more at
02:30, and every quarter of an hour has two gaps of 75 minutes. The spec therefore names the times
around such changes, of this year and the next, one by one; rarer faults are corrected with it
(see `_temporal_is_right`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from temporalio.client import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleRange,
    ScheduleSpec,
)

from contracts.schedules import CronTrigger, IntervalTrigger, OneTimeTrigger, Timing
from scheduling.clock_changes import ClockChange, clock_changes, offset_at
from scheduling.cron import CronFields, parse_cron
from scheduling.exclusions import (
    DAY,
    EPOCH,
    FIRST_YEAR,
    LAST_YEAR,
    Excluded,
    excluded,
    whole_seconds_up,
)
from scheduling.times import occurrences

HOUR: Final = 3600
LISTED: Final = 10
"""How many calendars, intervals and skips of a spec Temporal's list of schedules shows."""

_RARE: Final = 10_000 * DAY
"""An interval this long names one moment: it comes again after 27 years."""

_ALL_SECONDS: Final = (ScheduleRange(0, 59),)
_ALL_HOURS: Final = (ScheduleRange(0, 23),)


def to_spec(timing: Timing, *, now: datetime | None = None) -> ScheduleSpec:
    """What makes Temporal fire at the times of `occurrences`; changes at the turn of a year.

    Needs a valid timing (see `validation`), and cannot express an expiry.
    """
    trigger, out = timing.trigger, excluded(timing)
    spec = ScheduleSpec(
        time_zone_name=timing.timezone,
        start_at=_at(whole_seconds_up(timing.starts_at)) if timing.starts_at else None,
        end_at=_at(int(timing.ends_at.timestamp())) if timing.ends_at else None,
        jitter=timedelta(seconds=timing.jitter_seconds) if timing.jitter_seconds else None,
    )
    corrections: list[ScheduleCalendarSpec] = []
    if isinstance(trigger, CronTrigger):
        year = (now or datetime.now(UTC)).year
        wrong = [
            change
            for change in clock_changes(trigger.timezone, year, year + 1)
            if not _temporal_is_right(change)
        ]
        spec.calendars, spec.intervals = _crons(trigger, wrong, year)
        if spec.calendars and wrong:
            moments, corrections = _corrections(timing, wrong)
            spec.intervals = [*spec.intervals, *map(_only, moments)]
    elif isinstance(trigger, IntervalTrigger):
        spec.intervals = [_every(trigger.every_seconds, trigger.offset_seconds)]
    elif isinstance(trigger, OneTimeTrigger):
        spec.calendars = [_one_time(int(trigger.at.timestamp()))]
    else:
        raise ValueError("Temporal does not know when tracked items expire.")
    spec.skip = [*corrections, *_skips(out)]
    return spec


def same_spec(a: ScheduleSpec, b: ScheduleSpec) -> bool:
    """True when both fire at the same times, as far as what Temporal gives back can say.

    What Temporal lists is cut off after ten calendars, intervals or skips; what was cut off is
    taken to be the same.
    """
    return (
        (a.time_zone_name or "UTC") == (b.time_zone_name or "UTC")
        and _second(a.start_at) == _second(b.start_at)
        and _second(a.end_at) == _second(b.end_at)
        and (a.jitter or timedelta()) == (b.jitter or timedelta())
        and list(a.cron_expressions) == list(b.cron_expressions)
        and _same([_calendar_key(each) for each in a.calendars], map(_calendar_key, b.calendars))
        and _same([_calendar_key(each) for each in a.skip], map(_calendar_key, b.skip))
        and _same([_interval_key(each) for each in a.intervals], map(_interval_key, b.intervals))
    )


def _same(ours: list[tuple[object, ...]], others: Iterable[tuple[object, ...]]) -> bool:
    theirs = list(others)
    if len(ours) != len(theirs) and LISTED in (len(ours), len(theirs)):
        return ours[:LISTED] == theirs[:LISTED]
    return sorted(ours, key=repr) == sorted(theirs, key=repr)


def _calendar_key(calendar: ScheduleCalendarSpec) -> tuple[object, ...]:
    parts = (
        calendar.second,
        calendar.minute,
        calendar.hour,
        calendar.day_of_month,
        calendar.month,
        calendar.year,
        calendar.day_of_week,
    )
    return tuple(
        tuple(sorted({value for r in part for value in range(r.start, r.end + 1, max(r.step, 1))}))
        for part in parts
    )


def _interval_key(interval: ScheduleIntervalSpec) -> tuple[object, ...]:
    return interval.every, interval.offset or timedelta()


def _second(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _at(moment: int) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _ranges(values: Iterable[int]) -> tuple[ScheduleRange, ...]:
    """The values as few ranges: runs of at least three with the same step become one."""
    left, found = sorted(values), []
    while left:
        step = left[1] - left[0] if len(left) > 1 else 1
        length = 1
        while length < len(left) and left[length] == left[0] + length * step:
            length += 1
        if length == 2 and step > 1:
            length = 1
        found.append(ScheduleRange(left[0], left[length - 1], step if length > 1 else 1))
        left = left[length:]
    return tuple(found)


# --- The times ---------------------------------------------------------------------------------


def _one_time(moment: int) -> ScheduleCalendarSpec:
    at = _at(moment)
    return ScheduleCalendarSpec(
        second=(ScheduleRange(at.second),),
        minute=(ScheduleRange(at.minute),),
        hour=(ScheduleRange(at.hour),),
        day_of_month=(ScheduleRange(at.day),),
        month=(ScheduleRange(at.month),),
        year=(ScheduleRange(at.year),),
    )


def _every(seconds: int, offset: int) -> ScheduleIntervalSpec:
    return ScheduleIntervalSpec(
        timedelta(seconds=seconds), timedelta(seconds=offset) if offset else None
    )


def _only(moment: int) -> ScheduleIntervalSpec:
    return _every(_RARE, moment % _RARE)


def _crons(
    trigger: CronTrigger, wrong: Sequence[ClockChange], year: int
) -> tuple[list[ScheduleCalendarSpec], list[ScheduleIntervalSpec]]:
    calendars: list[ScheduleCalendarSpec] = []
    intervals: list[ScheduleIntervalSpec] = []
    within_the_hour = _offset_within_the_hour(trigger.timezone, year) if wrong else None
    for fields in map(parse_cron, trigger.expressions):
        if within_the_hour is not None and fields.every_day and len(fields.hours) == 24:
            intervals += _hourly(fields.minutes, within_the_hour)
        else:
            calendars += _calendars(fields)
    return calendars, intervals


def _offset_within_the_hour(zone: str, year: int) -> int | None:
    """By how much the zone's hours begin before those of UTC; None if that changes."""
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    offsets = {offset_at(zone, start) % HOUR}
    offsets.update(change.after % HOUR for change in clock_changes(zone, year, year + 1))
    return offsets.pop() if len(offsets) == 1 else None


def _hourly(minutes: Sequence[int], within_the_hour: int) -> Iterator[ScheduleIntervalSpec]:
    """The same minutes of every hour: no clock change matters to intervals."""
    step = 60 // len(minutes)
    if 60 % len(minutes) == 0 and all(m == minutes[0] + step * n for n, m in enumerate(minutes)):
        yield _every(step * 60, (minutes[0] * 60 - within_the_hour) % (step * 60))
    else:
        for minute in minutes:
            yield _every(HOUR, (minute * 60 - within_the_hour) % HOUR)


def _calendars(fields: CronFields) -> Iterator[ScheduleCalendarSpec]:
    days, weekdays = _ranges(fields.days), _ranges(fields.weekdays)
    all_days, all_weekdays = (ScheduleRange(1, 31),), (ScheduleRange(0, 6),)
    if not fields.day_or_weekday:
        either = [(days, weekdays)]
    elif all_days == days or all_weekdays == weekdays:
        either = [(all_days, all_weekdays)]
    else:
        either = [(days, all_weekdays), (all_days, weekdays)]
    for day_of_month, day_of_week in either:
        yield ScheduleCalendarSpec(
            minute=_ranges(fields.minutes),
            hour=_ranges(fields.hours),
            day_of_month=day_of_month,
            month=_ranges(fields.months),
            day_of_week=day_of_week,
        )


# --- What is left out --------------------------------------------------------------------------


def _skips(out: Excluded) -> Iterator[ScheduleCalendarSpec]:
    yield from _date_skips({(None, month, day) for month, day in out.every_year})
    yield from _date_skips(set(out.dates))
    for minutes in sorted(filter(None, set(out.minutes)), key=sorted):
        weekdays = [day for day in range(7) if out.minutes[day] == minutes]
        by_minutes: dict[tuple[int, ...], list[int]] = {}
        for hour in range(24):
            within = tuple(m for m in range(60) if hour * 60 + m in minutes)
            by_minutes.setdefault(within, []).append(hour)
        for within, hours in by_minutes.items():
            if within:
                yield _skip(hours, within, day_of_week=_ranges(weekdays))
    for start, end in out.periods:
        yield from _period_skips(start, end)


def _skip(
    hours: Iterable[int],
    minutes: Iterable[int],
    seconds: Iterable[int] = range(60),
    *,
    on: date | None = None,
    day_of_week: tuple[ScheduleRange, ...] = (ScheduleRange(0, 6),),
) -> ScheduleCalendarSpec:
    calendar = ScheduleCalendarSpec(
        second=_ranges(seconds),
        minute=_ranges(minutes),
        hour=_ranges(hours),
        day_of_week=day_of_week,
    )
    if on is not None:
        calendar.day_of_month = (ScheduleRange(on.day),)
        calendar.month = (ScheduleRange(on.month),)
        calendar.year = (ScheduleRange(on.year),)
    return calendar


def _date_skips(
    dates: Iterable[tuple[int | None, int, int]],
) -> Iterator[ScheduleCalendarSpec]:
    """Whole days; months with the same days share a calendar."""
    days: dict[tuple[int | None, int], list[int]] = {}
    for year, month, day in dates:
        days.setdefault((year, month), []).append(day)
    months: dict[tuple[int | None, tuple[int, ...]], list[int]] = {}
    for (year, month), of_month in sorted(days.items(), key=repr):
        months.setdefault((year, tuple(sorted(of_month))), []).append(month)
    for (year, found), shared in months.items():
        yield ScheduleCalendarSpec(
            second=_ALL_SECONDS,
            minute=_ALL_SECONDS,
            hour=_ALL_HOURS,
            day_of_month=_ranges(found),
            month=_ranges(shared),
            year=(ScheduleRange(year),) if year is not None else (),
        )


def _period_skips(start: int, end: int) -> Iterator[ScheduleCalendarSpec]:
    """A span of local seconds as whole days and what is left of the first and the last."""
    first, last = -(-start // DAY), end // DAY
    if first > last:  # within one day
        yield from _part_of_day(start, end)
        return
    if start % DAY:
        yield from _part_of_day(start, first * DAY)
    whole = (date.fromordinal(EPOCH + day) for day in range(first, last))
    yield from _date_skips(
        {(d.year, d.month, d.day) for d in whole if FIRST_YEAR <= d.year <= LAST_YEAR}
    )
    if end % DAY:
        yield from _part_of_day(last * DAY, end)


def _part_of_day(start: int, end: int) -> Iterator[ScheduleCalendarSpec]:
    """A span within one day: whole hours, whole minutes of an hour, seconds of a minute."""
    on = date.fromordinal(EPOCH + start // DAY)
    if not FIRST_YEAR <= on.year <= LAST_YEAR:
        return
    low, high = start % DAY, end - start // DAY * DAY
    while low < high:
        hour, minute, second = low // HOUR, low % HOUR // 60, low % 60
        if low % HOUR == 0 and high - low >= HOUR:
            hours = range(hour, high // HOUR)
            yield _skip(hours, range(60), on=on)
            low = high // HOUR * HOUR
        elif second == 0 and high - low >= 60:
            upto = min(high, (hour + 1) * HOUR) // 60 * 60
            yield _skip([hour], range(minute, minute + (upto - low) // 60), on=on)
            low = upto
        else:
            upto = min(high, low // 60 * 60 + 60)
            yield _skip([hour], [minute], range(second, second + upto - low), on=on)
            low = upto


# --- Where Temporal is wrong -------------------------------------------------------------------


def _temporal_is_right(change: ClockChange) -> bool:
    """Measured: its search steps by whole hours, and looks for a doubled hour's first pass."""
    if change.first_local % HOUR or change.end_local % HOUR:
        return False
    if change.goes_back:
        return change.before <= 0 and change.before - change.after == HOUR
    return not _skips_midnight(change)


def _skips_midnight(change: ClockChange) -> bool:
    """True where Temporal takes a day without a midnight for the day before: west of UTC."""
    return not change.goes_back and change.first_local % DAY == 0 and change.before < 0


def _corrections(
    timing: Timing, wrong: Sequence[ClockChange]
) -> tuple[list[int], list[ScheduleCalendarSpec]]:
    """The moments around these changes at which it fires, and the local times at which not."""
    assert isinstance(timing.trigger, CronTrigger)  # noqa: S101
    crons = [parse_cron(expression) for expression in timing.trigger.expressions]
    unbounded = timing.model_copy(update={"starts_at": None, "ends_at": None})
    moments: list[int] = []
    skips: list[ScheduleCalendarSpec] = []
    for change in wrong:
        first = (change.first_local // HOUR - 1) * HOUR
        end = (-(-change.end_local // HOUR) + 2) * HOUR
        if _skips_midnight(change):
            if all(len(fields.weekdays) == 7 for fields in crons):
                continue  # only the day of the week is mistaken
            first, end = change.first_local, change.first_local + DAY
        hours = range(first, end, HOUR)
        if not any(_fires_in_hour(fields, hour) for hour in hours for fields in crons):
            continue
        low, high = first - change.before, end - change.after
        found = [
            int(moment.timestamp())
            for moment in occurrences(
                unbounded,
                after=_at(low - 1),
                until=_at(high - 1),
            )
        ]
        moments += found
        local = {
            moment + (change.before if moment < change.at else change.after) for moment in found
        }
        skips += _all_but(local, hours)
    return moments, skips


def _fires_in_hour(fields: CronFields, local: int) -> bool:
    day = date.fromordinal(EPOCH + local // DAY)
    return local % DAY // HOUR in fields.hours and fields.on_day(day)


def _all_but(local: set[int], hours: Iterable[int]) -> Iterator[ScheduleCalendarSpec]:
    """Every minute of these hours that is not among the local times."""
    shared: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for hour in hours:
        minutes = tuple(m for m in range(60) if hour + m * 60 not in local)
        if minutes:
            shared.setdefault((hour // DAY, minutes), []).append(hour % DAY // HOUR)
    for (day, minutes), within in shared.items():
        yield _skip(within, minutes, on=date.fromordinal(EPOCH + day))
