"""What a schedule's exclusions leave out, on the local clock of its zone."""

from __future__ import annotations

from bisect import bisect_right
from calendar import isleap, monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from contracts.schedules import (
    ExcludedDates,
    ExcludedPeriod,
    ExcludedWindow,
    Exclusion,
    Timing,
)
from contracts.vocabulary import Weekday
from scheduling.clock_changes import clock_changes, offset_at

DAY: Final = 86_400
EPOCH: Final = date(1970, 1, 1).toordinal()
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
"""The years that Temporal's calendars know."""


_END: Final = (date(LAST_YEAR + 1, 1, 1).toordinal() - EPOCH) * DAY


class Excluded(NamedTuple):
    """Exclusions, compiled. Local times are seconds since 1970 as the local clock shows them."""

    every_year: frozenset[tuple[int, int]]
    dates: frozenset[tuple[int, int, int]]
    minutes: tuple[frozenset[int], ...]
    """The minutes of the day without a run, for each weekday from Sunday."""
    periods: tuple[tuple[int, int], ...]
    """Merged and ascending, from the first local time until before the second."""

    def has_date(self, day: date) -> bool:
        """True when the whole day is left out by its date."""
        return (day.month, day.day) in self.every_year or (
            day.year,
            day.month,
            day.day,
        ) in self.dates

    def period_end(self, local: int) -> int | None:
        """Where the period that covers this local time ends, if one does."""
        found = bisect_right(self.periods, (local, 1 << 62)) - 1
        if found >= 0 and local < self.periods[found][1]:
            return self.periods[found][1]
        return None


NOTHING: Final = Excluded(frozenset(), frozenset(), (frozenset(),) * 7, ())


def excluded(timing: Timing) -> Excluded:
    """Compile a timing's exclusions; those that are impossible leave nothing out."""
    if not timing.exclude:
        return NOTHING
    every_year, dates = _dates(timing.exclude)
    return Excluded(
        every_year, dates, _minutes(timing.exclude), _periods(timing.exclude, timing.timezone)
    )


def date_of(text: str) -> tuple[int | None, int, int] | None:
    """Year (None: every year), month and day of an excluded date; None if it does not exist."""
    *years, month, day = map(int, text.split("-"))
    year = years[0] if years else None
    if not 1 <= month <= 12 or year == 0:
        return None
    leap = year is None or isleap(year)
    longest = monthrange(2000 if leap else 2001, month)[1]
    return (year, month, day) if 1 <= day <= longest else None


def _dates(
    exclusions: Sequence[Exclusion],
) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int, int]]]:
    every_year: set[tuple[int, int]] = set()
    dates: set[tuple[int, int, int]] = set()
    for exclusion in exclusions:
        if isinstance(exclusion, ExcludedDates):
            for year, month, day in filter(None, map(date_of, exclusion.dates)):
                if year is None:
                    every_year.add((month, day))
                elif FIRST_YEAR <= year <= LAST_YEAR:
                    dates.add((year, month, day))
    return frozenset(every_year), frozenset(dates)


def _minutes(exclusions: Sequence[Exclusion]) -> tuple[frozenset[int], ...]:
    found: list[set[int]] = [set() for _ in range(7)]
    for exclusion in exclusions:
        if isinstance(exclusion, ExcludedWindow):
            start = exclusion.start.hour * 60 + exclusion.start.minute
            end = exclusion.end.hour * 60 + exclusion.end.minute
            for day in exclusion.days:
                weekday = sunday_based(day)
                if start <= end:
                    found[weekday].update(range(start, end))
                else:
                    found[weekday].update(range(start, 1440))
                    found[(weekday + 1) % 7].update(range(end))
    return tuple(map(frozenset, found))


def sunday_based(day: Weekday) -> int:
    """The number that cron gives a weekday."""
    return (list(Weekday).index(day) + 1) % 7


def _periods(exclusions: Sequence[Exclusion], zone: str) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(
        _local_period(exclusion, zone)
        for exclusion in exclusions
        if isinstance(exclusion, ExcludedPeriod) and exclusion.start < exclusion.end
    ):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def _local_period(period: ExcludedPeriod, zone: str) -> tuple[int, int]:
    """The local times that a period covers.

    A local clock cannot tell apart the two passes of an hour that comes twice: a period with an
    edge in such an hour leaves out both, so that nothing runs inside it.
    """
    bounds = []
    for edge, widened in ((period.start, min), (period.end, max)):
        moment = min(max(whole_seconds_up(edge), 0), _END)
        local = moment + offset_at(zone, moment)
        year = datetime.fromtimestamp(moment, UTC).year
        for change in clock_changes(zone, year - 1, year + 1):
            if change.goes_back and change.first_local <= local < change.end_local:
                inside = period.start.timestamp() < change.at < period.end.timestamp()
                outer = change.first_local if widened is min else change.end_local
                local = widened(local, outer) if inside else local
        bounds.append(local)
    return bounds[0], bounds[1]


def whole_seconds_up(moment: datetime) -> int:
    """Seconds since 1970, a started one counted as whole."""
    return int(moment.timestamp()) + (moment.microsecond > 0)
