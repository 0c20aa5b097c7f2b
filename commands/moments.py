"""Durations and times as people type them and as tables show them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from commands.client import WRONG_USAGE, Failure

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def seconds(text: str, option: str) -> int:
    """`90m`, `24h`, `7d`, `1h30m` in seconds."""
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Failure(
            f"{option}: `{text}` is not a duration.",
            fix="Write it like 90m, 24h, 7d or 1h30m.",
            code=WRONG_USAGE,
        )
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def duration(number: int) -> str:
    """`1h30m`, as `seconds` reads it."""
    words = ""
    for unit in ("d", "h", "m", "s"):
        count, number = divmod(number, UNITS[unit])
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def moment(text: str, option: str, timezone: str) -> str:
    """An RFC 3339 time; one without an offset is in this time zone, and has to exist in it."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(
            f"{option}: `{text}` is not a time.",
            fix="Write it like 2026-12-01T02:00:00Z, or '2026-12-01 02:00' with --timezone.",
            code=WRONG_USAGE,
        ) from None
    if given.tzinfo is not None:
        return given.isoformat()
    zone = zone_of(timezone)
    local = given.replace(tzinfo=zone)
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != given:
        raise Failure(
            f"{option}: {text} does not exist in {timezone}: the clock jumps over it.",
            fix="Choose a time before or after.",
            code=WRONG_USAGE,
        )
    return local.isoformat()


@lru_cache
def zone_of(name: str) -> ZoneInfo:
    """The zone of this IANA name."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Failure(
            f"There is no time zone `{name}`.",
            fix="Use an IANA name, such as Europe/Berlin.",
            code=WRONG_USAGE,
        ) from None


def in_zone(text: str | None, timezone: str = "UTC") -> str:
    """A time of the API as the clock of a zone shows it: `Sat 2026-12-05 02:00 CET`."""
    if text is None:
        return "-"
    local = datetime.fromisoformat(text).astimezone(zone_of(timezone))
    clock = "%H:%M:%S" if local.second else "%H:%M"
    return local.strftime(f"%a %Y-%m-%d {clock} %Z")


def until(text: str | None) -> str:
    """`in 3h` for a time that comes, `3h ago` for one that has passed."""
    if text is None:
        return "-"
    gap = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    rest = abs(gap)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if rest >= size:
            words = f"{int(rest // size)}{unit}"
            break
    else:
        words = f"{int(rest)}s"
    return f"in {words}" if gap >= 0 else f"{words} ago"
