"""When the clocks of a time zone change, and between which offsets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones


class ClockChange(NamedTuple):
    """A change of a zone's offset from UTC; all in seconds, `at` since 1970."""

    at: int
    before: int
    after: int

    @property
    def first_local(self) -> int:
        """Where the doubled or skipped local times begin, as seconds of the local clock."""
        return self.at + min(self.before, self.after)

    @property
    def end_local(self) -> int:
        """Where they end."""
        return self.at + max(self.before, self.after)

    @property
    def goes_back(self) -> bool:
        """True when local times come twice, False when they are skipped."""
        return self.after < self.before


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every IANA name that is known here."""
    return frozenset(available_timezones()) - {"localtime", "Factory", "posixrules"}


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of this IANA name; ZoneInfoNotFoundError if there is none."""
    if name not in zone_names():
        raise ZoneInfoNotFoundError(f"No time zone found with key {name}")
    return ZoneInfo(name)


def clock_changes(zone: str, first_year: int, last_year: int) -> Iterator[ClockChange]:
    """The changes of these years, in order."""
    for year in range(first_year, last_year + 1):
        yield from _changes_of(zone, year)


@lru_cache(maxsize=4096)
def _changes_of(zone: str, year: int) -> tuple[ClockChange, ...]:
    step = 3 * 86_400  # no zone changes its clocks twice within days
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
    found = []
    low, before = start, offset_at(zone, start)
    while low < end:
        high = min(low + step, end)
        after = offset_at(zone, high)
        if after != before:
            found.append(ClockChange(_moment(zone, low, high), before, after))
        low, before = high, after
    return tuple(found)


def _moment(zone: str, low: int, high: int) -> int:
    before = offset_at(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def offset_at(zone: str, moment: int) -> int:
    """Seconds that the zone's clock is ahead of UTC at this moment."""
    offset = datetime.fromtimestamp(moment, zone_of(zone)).utcoffset()
    return int(offset.total_seconds()) if offset else 0
