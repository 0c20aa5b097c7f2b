"""The times at which a schedule fires, as Temporal counts them."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import islice
from typing import Final

from contracts.schedules import CronTrigger, IntervalTrigger, OneTimeTrigger, Timing
from scheduling.clock_changes import zone_of
from scheduling.cron import CronFields, parse_cron
from scheduling.exclusions import DAY, EPOCH, LAST_YEAR, Excluded, excluded, whole_seconds_up

HORIZON: Final = 3653 * DAY
"""Seconds without a time after which a schedule counts as one that never fires again."""
_END: Final = (date(LAST_YEAR, 12, 31).toordinal() - EPOCH) * DAY


def occurrences(
    timing: Timing, *, after: datetime, until: datetime | None = None
) -> Iterator[datetime]:
    """The nominal times after `after` and up to `until`, ascending, in UTC; to whole seconds.

    Local times that the clock skips do not occur, those that it doubles occur twice. Ends by
    itself when nothing is left within ten years. Needs a valid timing (see `validation`).
    """
    low = max(int(after.timestamp()), 0)
    if timing.starts_at is not None:
        low = max(low, whole_seconds_up(timing.starts_at) - 1)
    low = min(low, _END)
    high = _END
    for bound in (until, timing.ends_at):
        if bound is not None:
            high = min(high, int(bound.timestamp()))
    last = low
    for moment in _moments(timing, low, high):
        if moment != last:
            yield datetime.fromtimestamp(moment, UTC)
        last = moment


def next_times(timing: Timing, *, after: datetime, count: int) -> list[datetime]:
    """The first `count` times after `after`; fewer if there are no more."""
    return list(islice(occurrences(timing, after=after), count))


def _moments(timing: Timing, low: int, high: int) -> Iterator[int]:
    trigger, out = timing.trigger, excluded(timing)
    if isinstance(trigger, CronTrigger):
        crons = [
            _cron_moments(parse_cron(expression), trigger.timezone, out, low, high)
            for expression in trigger.expressions
        ]
        return crons[0] if len(crons) == 1 else merge(*crons)
    if isinstance(trigger, IntervalTrigger):
        return _interval_moments(trigger.every_seconds, trigger.offset_seconds, out, low, high)
    if isinstance(trigger, OneTimeTrigger):
        moment = int(trigger.at.timestamp())
        if low < moment <= high and _end_of_exclusion(moment, out) is None:
            return iter((moment,))
    return iter(())


def _interval_moments(every: int, offset: int, out: Excluded, low: int, high: int) -> Iterator[int]:
    moment = low - (low - offset) % every + every
    limit = moment + HORIZON
    while moment <= min(high, limit):
        end = _end_of_exclusion(moment, out)
        if end is None:
            limit = moment + HORIZON
            yield moment
            moment += every
        else:
            moment += max(1, -((moment - end) // every)) * every


def _end_of_exclusion(moment: int, out: Excluded) -> int | None:
    """A time up to which everything from this time in UTC is left out; None if it is not."""
    if (end := out.period_end(moment)) is not None:
        return end
    day, minute = moment // DAY, moment % DAY // 60
    if out.has_date(date.fromordinal(EPOCH + day)):
        return (day + 1) * DAY
    minutes = out.minutes[(day + 4) % 7]
    if minute not in minutes:
        return None
    while minute in minutes:
        minute += 1
    return day * DAY + minute * 60


def _cron_moments(
    fields: CronFields, zone: str, out: Excluded, low: int, high: int
) -> Iterator[int]:
    by_weekday = [_minutes_left(fields.hours, fields.minutes, minutes) for minutes in out.minutes]
    limit = low + HORIZON
    # A day early: the clock may have gone back over midnight.
    for day in _days(fields, max(low // DAY - 1, 0), high // DAY + 1):
        if day * DAY > limit:
            return
        minutes = by_weekday[(day + 4) % 7]
        if not minutes or out.has_date(date.fromordinal(EPOCH + day)):
            continue
        if (end := out.period_end(day * DAY)) is not None and end >= (day + 1) * DAY:
            continue
        for local, moment in _on_day(day, minutes, zone, low):
            if moment > high:
                return
            if moment > low and out.period_end(local) is None:
                limit = moment + HORIZON
                yield moment


@lru_cache(maxsize=256)
def _minutes_left(
    hours: tuple[int, ...], minutes: tuple[int, ...], without: frozenset[int]
) -> tuple[int, ...]:
    every = (hour * 60 + minute for hour in hours for minute in minutes)
    return tuple(minute for minute in every if minute not in without)


def _days(fields: CronFields, first: int, last: int) -> Iterator[int]:
    """The matching days, as days since 1970."""
    days, weekdays = frozenset(fields.days), frozenset(fields.weekdays)
    start = date.fromordinal(EPOCH + first)
    months = frozenset(fields.months)
    for number in range(start.year * 12 + start.month - 1, LAST_YEAR * 12 + 12):
        year, month = number // 12, number % 12 + 1
        if month not in months:
            continue
        before = date(year, month, 1).toordinal() - EPOCH - 1
        if before >= last:
            return
        monday_based, length = monthrange(year, month)
        for day in range(1, length + 1):
            on_weekday = (monday_based + day) % 7 in weekdays
            matches = (
                (day in days or on_weekday)
                if fields.day_or_weekday
                else (day in days and on_weekday)
            )
            if matches and first <= before + day <= last:
                yield before + day


def _on_day(
    day: int, minutes: tuple[int, ...], zone_name: str, low: int
) -> Iterator[tuple[int, int]]:
    """The local times of a day that exist, with the moments at which they come, in order."""
    shift = _offset_at_midnight(day, zone_name)
    if shift == _offset_at_midnight(day + 1, zone_name):
        start = day * DAY
        # Only what can come after `low`.
        first = bisect_left(minutes, (low + shift - start) // 60)
        for minute in minutes[first:]:
            yield start + minute * 60, start + minute * 60 - shift
    else:
        yield from sorted(_around_a_change(day, minutes, zone_name), key=lambda pair: pair[1])


@lru_cache(maxsize=4096)
def _offset_at_midnight(day: int, zone: str) -> int:
    offset = datetime.fromordinal(EPOCH + day).replace(tzinfo=zone_of(zone)).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _around_a_change(
    day: int, minutes: tuple[int, ...], zone_name: str
) -> Iterator[tuple[int, int]]:
    zone = zone_of(zone_name)
    midnight = datetime.fromordinal(EPOCH + day)
    for minute in minutes:
        local = midnight + timedelta(minutes=minute)
        moments = {local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        for moment in moments:
            if moment.astimezone(zone).replace(tzinfo=None) == local:
                yield day * DAY + minute * 60, int(moment.timestamp())
