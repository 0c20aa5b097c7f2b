"""Schedules in plain English, and what people should know before they rely on one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

from contracts.schedules import (
    CronTrigger,
    ExcludedDates,
    ExcludedWindow,
    Exclusion,
    ExpiryTrigger,
    IntervalTrigger,
    OneTimeTrigger,
    ScheduleDefinition,
)
from contracts.vocabulary import OverlapPolicy, Weekday
from scheduling.clock_changes import ClockChange, clock_changes, zone_names
from scheduling.cron import CronFields, CronInvalid, parse_cron
from scheduling.exclusions import DAY, EPOCH, excluded
from scheduling.times import next_times

_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_OVERLAP: Final = {
    OverlapPolicy.SKIP: "if the last run is still going the new one is skipped",
    OverlapPolicy.QUEUE: "if the last run is still going the new one waits for its turn",
    OverlapPolicy.QUEUE_ONE: "if the last run is still going the new one waits, "
    "and further ones are skipped while it does",
    OverlapPolicy.CANCEL_PREVIOUS: "if the last run is still going it is cancelled first",
    OverlapPolicy.TERMINATE_PREVIOUS: "if the last run is still going it is terminated at once",
    OverlapPolicy.ALLOW: "runs may overlap",
}
_MOST_TIMES: Final = 6
"""Times of a day that are listed; more are left to the expression."""

_FREQUENT: Final = timedelta(minutes=5)


def in_words(schedule: ScheduleDefinition) -> str:
    """One sentence: when it fires, and what happens if a run cannot start."""
    parts = [
        _trigger_in_words(schedule),
        *_limits_in_words(schedule),
        _OVERLAP[schedule.overlap],
    ]
    if not isinstance(schedule.trigger, ExpiryTrigger):
        parts.append(
            f"a run missed by more than {duration_in_words(schedule.catchup_seconds)} is dropped"
        )
    if schedule.pause_after_failures:
        parts.append(f"it pauses itself after {_failures(schedule.pause_after_failures)}")
    return "; ".join(parts)


def warnings(schedule: ScheduleDefinition, *, now: datetime) -> list[str]:
    """What may surprise: clock changes of the next 13 months, and readings of cron."""
    trigger = schedule.trigger
    found: list[str] = []
    if isinstance(trigger, CronTrigger):
        crons = _parsed(trigger.expressions)
        found += _either_day_warnings(crons)
        if len(crons) < len(trigger.expressions) or trigger.timezone not in zone_names():
            return found  # its times cannot be told
        found += _clock_warnings(schedule, list(crons.values()), now)
    elif isinstance(trigger, IntervalTrigger):
        found += _drift_warnings(trigger)
    if schedule.target.kind == "cloud_scan" and not isinstance(trigger, ExpiryTrigger):
        found += _frequency_warnings(schedule, now)
    return found


def duration_in_words(seconds: int) -> str:
    """Seconds in the largest unit that divides them: 1 h, 90 min, 2 days."""
    if seconds and seconds % DAY == 0:
        return f"{seconds // DAY} day{'s' if seconds > DAY else ''}"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def moment_in_words(moment: datetime) -> str:
    """A time in UTC as people read it."""
    moment = (moment if moment.year in (1, 9999) else moment.astimezone(UTC)).replace(microsecond=0)
    return f"{moment:%Y-%m-%d %H:%M}" + (f":{moment:%S}" if moment.second else "") + " UTC"


# --- When --------------------------------------------------------------------------------------


def _trigger_in_words(schedule: ScheduleDefinition) -> str:
    trigger = schedule.trigger
    if isinstance(trigger, CronTrigger):
        return f"{_crons_in_words(trigger.expressions)} {trigger.timezone}"
    if isinstance(trigger, IntervalTrigger):
        offset = (
            f", shifted by {duration_in_words(trigger.offset_seconds)}"
            if trigger.offset_seconds
            else ""
        )
        return f"every {_period(trigger.every_seconds)}{offset}"
    if isinstance(trigger, OneTimeTrigger):
        return f"once, on {moment_in_words(trigger.at).replace(' ', ' at ', 1)}"
    return _expiry_in_words(trigger)


def _period(seconds: int) -> str:
    for size, unit in ((DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return f"{seconds} seconds"


def _expiry_in_words(trigger: ExpiryTrigger) -> str:
    if trigger.lead_seconds is None:
        before = "ahead of the expiry of each"
    elif trigger.lead_seconds == 0:
        before = "when each"
    else:
        before = f"{_lead(trigger.lead_seconds)} before each"
    only = " and ".join(f"{key}={value}" for key, value in trigger.filter.items())
    kind = trigger.item_kind.replace("_", " ")
    expires = " by its own lead" if trigger.lead_seconds is None else " expires"
    return f"{before} {kind}{expires}" + (f" (only those with {only})" if only else "")


def _lead(seconds: int) -> str:
    text = _period(seconds)
    return text if text[0].isdigit() else f"1 {text}"


def _crons_in_words(expressions: Sequence[str]) -> str:
    if len(expressions) == 1:
        return _cron_in_words(expressions[0])
    said = [_cron_in_words(expression) for expression in expressions]
    if any(text.startswith("at the times of") for text in said):
        return f"at the times of cron {_joined([f'`{each}`' for each in expressions])}"
    return _joined(said)


def _cron_in_words(expression: str) -> str:
    unclear = f"at the times of cron `{expression}`"
    try:
        fields = parse_cron(expression)
    except CronInvalid:
        return unclear
    days = _days_in_words(fields)
    times = _times_in_words(fields)
    if days is None or times is None:
        return unclear
    if times.startswith("every") and days == "every day":
        return times
    if times.startswith("every"):
        return f"{times}, {days}"
    return f"{days} {times}"


def _times_in_words(fields: CronFields) -> str | None:
    minutes, hours = fields.minutes, fields.hours
    if len(hours) == 24:
        return _within_hours(minutes)
    step = _step(hours, 24)
    if len(hours) * len(minutes) <= (4 if step else _MOST_TIMES):
        return f"at {_joined([f'{hour:02}:{minute:02}' for hour in hours for minute in minutes])}"
    if step and len(minutes) == 1:
        return f"every {step} hours" + (f" at :{minutes[0]:02}" if minutes[0] else "")
    run = hours[-1] - hours[0] + 1 == len(hours)
    within = _within_hours(minutes)
    if run and within:
        return f"{within} from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return None


def _within_hours(minutes: Sequence[int]) -> str | None:
    if len(minutes) == 60:
        return "every minute"
    if len(minutes) == 1:
        return "every hour" + (f" at :{minutes[0]:02}" if minutes[0] else "")
    step = _step(minutes, 60)
    if step:
        return f"every {step} minutes"
    if len(minutes) <= _MOST_TIMES:
        return f"every hour at {_joined([f':{minute:02}' for minute in minutes])}"
    return None


def _step(values: Sequence[int], size: int) -> int | None:
    step = values[1] - values[0] if len(values) > 1 else 0
    even = step > 0 and size % step == 0 and len(values) == size // step
    return step if even and values[0] == 0 and values[-1] == size - step else None


def _days_in_words(fields: CronFields) -> str | None:
    all_days, all_weekdays = len(fields.days) == 31, len(fields.weekdays) == 7
    months = ""
    if len(fields.months) < 12:
        if len(fields.months) > 4:
            return None
        months = _joined([_MONTHS[month - 1] for month in fields.months])
    if all_days and all_weekdays:
        return f"every day in {months}" if months else "every day"
    if fields.day_or_weekday or not (all_days or all_weekdays):
        return None
    if all_days:
        return _weekdays_in_words(fields.weekdays) + (f" in {months}" if months else "")
    if len(fields.days) > _MOST_TIMES:
        return None
    if len(fields.days) == 1 == len(fields.months):
        leap = "leap " if (fields.days[0], months) == (29, "February") else ""
        return f"every {leap}year on {months} {fields.days[0]}"
    days = f"on day{'s' if len(fields.days) > 1 else ''} {_joined(list(map(str, fields.days)))}"
    return f"{days} of {months or 'each month'}"


def _weekdays_in_words(weekdays: Sequence[int]) -> str:
    if tuple(weekdays) == (1, 2, 3, 4, 5):
        return "every weekday (Monday to Friday)"
    ordered = sorted(weekdays, key=lambda day: (day - 1) % 7)
    return f"every {_joined([_WEEKDAYS[day] for day in ordered])}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# --- The rest of the sentence --------------------------------------------------------------------


def _limits_in_words(schedule: ScheduleDefinition) -> Iterator[str]:
    if schedule.jitter_seconds:
        yield f"each run starts up to {duration_in_words(schedule.jitter_seconds)} later, by chance"
    if schedule.starts_at is not None:
        yield f"not before {moment_in_words(schedule.starts_at)}"
    if schedule.ends_at is not None:
        yield f"not after {moment_in_words(schedule.ends_at)}"
    if schedule.max_runs is not None:
        yield "only one run" if schedule.max_runs == 1 else f"at most {schedule.max_runs} runs"
    if schedule.exclude:
        yield f"except {_joined([_exclusion_in_words(each) for each in schedule.exclude])}"


def _exclusion_in_words(exclusion: Exclusion) -> str:
    if exclusion.name:
        return exclusion.name
    if isinstance(exclusion, ExcludedDates):
        if len(exclusion.dates) > _MOST_TIMES:
            return f"on {len(exclusion.dates)} dates"
        return f"on {_joined(exclusion.dates)}"
    if isinstance(exclusion, ExcludedWindow):
        times = f"from {exclusion.start:%H:%M} to {exclusion.end:%H:%M}"
        if set(exclusion.days) == set(Weekday):
            return times
        days = [day for day in Weekday if day in exclusion.days]
        return f"{times} on {_joined([day.value.capitalize() for day in days])}"
    return f"from {moment_in_words(exclusion.start)} to {moment_in_words(exclusion.end)}"


def _failures(count: int) -> str:
    return "a failure" if count == 1 else f"{count} failures in a row"


# --- Warnings ----------------------------------------------------------------------------------


def _parsed(expressions: Sequence[str]) -> dict[str, CronFields]:
    found = {}
    for expression in expressions:
        try:
            found[expression] = parse_cron(expression)
        except CronInvalid:
            continue
    return found


def _either_day_warnings(crons: dict[str, CronFields]) -> Iterator[str]:
    for expression, fields in crons.items():
        if fields.day_or_weekday and not fields.every_day:
            yield (
                f"`{expression}` names days of the month and days of the week: as in Unix cron "
                "it runs on either, not only when both match."
            )


def _clock_warnings(
    schedule: ScheduleDefinition, crons: Sequence[CronFields], now: datetime
) -> Iterator[str]:
    until = now + timedelta(days=396)
    for change in clock_changes(schedule.timezone, now.year, until.year):
        if not now.timestamp() < change.at <= until.timestamp():
            continue
        local = _local_times(schedule, crons, change)
        if local:
            yield _clock_warning(change, local, schedule.timezone)


def _local_times(
    schedule: ScheduleDefinition, crons: Sequence[CronFields], change: ClockChange
) -> list[int]:
    """The schedule's local times that this change skips or doubles; none if all hours fire."""
    wanted = [fields for fields in crons if not (fields.every_day and len(fields.hours) == 24)]
    out = excluded(schedule)
    found = []
    for local in range(-(-change.first_local // 60) * 60, change.end_local, 60):
        day = date.fromordinal(EPOCH + local // DAY)
        hour, minute = divmod(local % DAY // 60, 60)
        left_out = (
            out.has_date(day)
            or local % DAY // 60 in out.minutes[day.isoweekday() % 7]
            or out.period_end(local) is not None
        )
        if not left_out and any(
            hour in fields.hours and minute in fields.minutes and fields.on_day(day)
            for fields in wanted
        ):
            found.append(local)
    started = schedule.starts_at is None or schedule.starts_at.timestamp() < change.at
    ended = schedule.ends_at is not None and schedule.ends_at.timestamp() < change.at
    return found if started and not ended else []


def _clock_warning(change: ClockChange, local: Sequence[int], zone: str) -> str:
    clock = [f"{datetime.fromtimestamp(each, UTC):%H:%M}" for each in local]
    on = datetime.fromtimestamp(local[0], UTC).date()
    if change.goes_back:
        if len(clock) == 1:
            return f"On {on} the clock goes back in {zone}: {clock[0]} comes twice and runs twice."
        return (
            f"On {on} the clock goes back in {zone}: {clock[0]} to {clock[-1]} comes twice, "
            f"each of the {len(clock)} runs in it runs twice."
        )
    old, new = (
        f"{datetime.fromtimestamp(change.at + offset, UTC):%H:%M}"
        for offset in (change.before, change.after)
    )
    which = (
        f"the run at {clock[0]} is skipped"
        if len(clock) == 1
        else f"the {len(clock)} runs from {clock[0]} to {clock[-1]} are skipped"
    )
    return f"On {on} the clock jumps from {old} to {new} in {zone}: {which}."


def _drift_warnings(trigger: IntervalTrigger) -> Iterator[str]:
    every = trigger.every_seconds
    if every < DAY and DAY % every:
        yield (
            f"Every {_period(every)} does not divide a day: the times shift from day to day. "
            "For the same times each day use cron."
        )


def _frequency_warnings(schedule: ScheduleDefinition, now: datetime) -> Iterator[str]:
    times = next_times(schedule, after=now, count=20)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    if gaps and min(gaps) < _FREQUENT:
        yield (
            f"It scans again after {duration_in_words(int(min(gaps).total_seconds()))}. "
            "A scan takes longer than that on most accounts; its overlap policy then decides."
        )
