"""Cron expressions: what they say, and what is wrong with those that say nothing."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NUMBER: Final = re.compile(r"[0-9]{1,4}")


class CronInvalid(ValueError):
    """An expression that cannot be used; `message` names what is wrong and the fix."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CronFields(NamedTuple):
    """The values at which each field matches, ascending; weekdays from 0, which is Sunday.

    `day_or_weekday`: a day matches by its day of the month *or* its weekday, else by both. As in
    Unix cron that is so when neither field begins with `*`.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    day_or_weekday: bool

    @property
    def every_day(self) -> bool:
        """True when no day is left out."""
        if len(self.months) < 12:
            return False
        days, weekdays = len(self.days) == 31, len(self.weekdays) == 7
        return (days or weekdays) if self.day_or_weekday else (days and weekdays)

    def on_day(self, day: date) -> bool:
        """True when it fires on this day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (by_day or by_weekday) if self.day_or_weekday else (by_day and by_weekday)


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: dict[str, int]


_FIELDS: Final = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of the month", 1, 31, {}),
    _Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    _Field("day of the week", 0, 7, {name: n for n, name in enumerate(_WEEKDAYS)}),
)


@lru_cache(maxsize=4096)
def parse_cron(expression: str) -> CronFields:
    """Read a Unix cron expression; CronInvalid if it is none or never fires."""
    text = expression.strip()
    if re.match(r"(CRON_)?TZ=", text, re.IGNORECASE):
        raise CronInvalid(
            "A cron expression cannot carry its time zone here. "
            "Leave out the part with `TZ=` and set `timezone`."
        )
    if text.startswith("@"):
        text = _of_nickname(text)
    parts = text.split()
    if len(parts) != 5:
        raise CronInvalid(_wrong_count(len(parts)))
    minutes, hours, days, months, weekdays = map(_values, parts, _FIELDS)
    fields = CronFields(
        minutes,
        hours,
        days,
        months,
        tuple(sorted({day % 7 for day in weekdays})),
        day_or_weekday=not (parts[2].startswith("*") or parts[4].startswith("*")),
    )
    if not fields.day_or_weekday and days[0] > max(_LONGEST[month - 1] for month in months):
        raise CronInvalid(
            f"It never fires: no month in `{parts[3]}` has a day {days[0]}. "
            "Choose a day that exists in one of these months."
        )
    return fields


def _of_nickname(text: str) -> str:
    known = _NICKNAMES.get(text.lower())
    if known is not None:
        return known
    word = text.split()[0].lower()
    if word == "@every":
        raise CronInvalid(
            "`@every` is not Unix cron. Use the trigger "
            '{"type": "interval", "every_seconds": ...} instead.'
        )
    if word == "@reboot":
        raise CronInvalid(
            "`@reboot` names no time. Use the interval trigger, or a cron expression with times."
        )
    if word in _NICKNAMES:
        raise CronInvalid(f"Nothing may follow `{word}`. Use it alone, or five fields instead.")
    raise CronInvalid(
        f"`{word}` is not known. Use {', '.join(list(_NICKNAMES)[:-1])} or {list(_NICKNAMES)[-1]}."
    )


def _wrong_count(count: int) -> str:
    form = "minute, hour, day of the month, month, day of the week"
    if count in (6, 7):
        what = "Seconds and years are" if count == 7 else "Seconds or years are"
        return f"It has {count} fields. {what} not supported: give five, {form}."
    return f"It has {count} field{'' if count == 1 else 's'}. Give five: {form}."


def _values(text: str, field: _Field) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(part, text, field))
    return tuple(sorted(found))


def _part(part: str, text: str, field: _Field) -> range:
    if part == "":
        raise CronInvalid(
            f"The {field.name} `{text}` has an empty part. Take out the comma that is too many."
        )
    span, slash, step_text = part.partition("/")
    step = _step(step_text, part, field) if slash else 1
    if span == "*":
        return range(field.first, _last(field) + 1, step)
    start_text, dash, end_text = span.partition("-")
    start = _value(start_text, part, field)
    if not dash:
        # A single value with a step goes on to the end, as Temporal and most crons read it.
        return range(start, (max(start, _last(field)) if slash else start) + 1, step)
    end = _value(end_text, part, field)
    if field.last == 7 and end == 0 < start:
        end = 7  # a week may also end on Sunday: fri-sun
    if end < start:
        raise CronInvalid(
            f"The range `{span}` of the {field.name} runs backwards. "
            f"Write it as two: `{start_text}-{_last(field)},{field.first}-{end_text}`."
        )
    return range(start, end + 1, step)


def _last(field: _Field) -> int:
    return 6 if field.last == 7 else field.last


def _step(text: str, part: str, field: _Field) -> int:
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise CronInvalid(
            f"The step of `{part}` in the {field.name} is not a number from 1. "
            f"Write for example `*/{5 if field.last > 12 else 2}`."
        )
    return int(text)


def _value(text: str, part: str, field: _Field) -> int:
    named = field.names.get(text.lower())
    if named is not None:
        return named
    last = field.last
    if _NUMBER.fullmatch(text):
        number = int(text)
        if field.first <= number <= last:
            return number
        raise CronInvalid(f"The {field.name} `{text}` is out of range: {field.first}-{last}.")
    if text == "":
        raise CronInvalid(
            f"The {field.name} `{part}` has an empty part. "
            f"Give a value from {field.first} to {last}."
        )
    if re.search(r"[LlWw#?]", text) and re.fullmatch(r"[0-9A-Za-z#?]*", text):
        letter = next(letter for letter in text if letter in "LlWw#?")
        raise CronInvalid(
            f"`{letter}` in the {field.name} `{part}` is not Unix cron. "
            + (
                "Write `*` for any."
                if letter == "?"
                else f"Give numbers from {field.first} to {last}, or `*`."
            )
        )
    names = f" or {next(iter(field.names))}-{list(field.names)[-1]}" if field.names else ""
    raise CronInvalid(
        f"The {field.name} `{part}` is not understood. Use {field.first}-{last}{names}, "
        "`*`, lists, ranges and steps."
    )
