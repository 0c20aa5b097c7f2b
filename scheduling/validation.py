"""What is wrong with a schedule before it is saved, each with its field and its fix."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from itertools import pairwise
from uuid import UUID

from contracts.schedules import (
    CronTrigger,
    ExcludedDates,
    ExcludedPeriod,
    ExcludedWindow,
    ExpiryTrigger,
    IntervalTrigger,
    NewSchedule,
    OneTimeTrigger,
    ScheduleDefinition,
)
from scheduling.clock_changes import zone_names
from scheduling.cron import CronInvalid, parse_cron
from scheduling.exclusions import FIRST_YEAR, LAST_YEAR, date_of
from scheduling.times import next_times
from scheduling.words import moment_in_words

Problem = tuple[str, str]

LONGEST_PERIOD_DAYS = 366
_SAMPLED = 51
"""Times whose gaps are compared with the jitter."""


def problems(
    schedule: NewSchedule | ScheduleDefinition,
    *,
    now: datetime,
    earlier: ScheduleDefinition | None = None,
) -> list[Problem]:
    """Field and message of everything that is wrong; none: it can be saved, and it fires.

    What `earlier`, the schedule before a change, said already may lie in the past.
    """
    found = [
        *_name_problems(schedule.name),
        *_trigger_problems(schedule),
        *_bound_problems(schedule, now, earlier),
        *_exclusion_problems(schedule),
    ]
    if isinstance(schedule.trigger, OneTimeTrigger):
        found += _one_time_problems(schedule, schedule.trigger, now, earlier)
    if not found and not isinstance(schedule.trigger, ExpiryTrigger):
        found += _firing_problems(schedule, now, earlier)
    return found


def _name_problems(name: str) -> Iterator[Problem]:
    try:
        UUID(name)
    except ValueError:
        return
    yield "name", "A name must not read as an id: schedules are found by both. Choose words."


def _trigger_problems(schedule: ScheduleDefinition) -> Iterator[Problem]:
    trigger = schedule.trigger
    if isinstance(trigger, CronTrigger):
        if trigger.timezone not in zone_names():
            yield "trigger.timezone", _unknown_zone(trigger.timezone)
        single = isinstance(trigger.cron, str)
        for index, expression in enumerate(trigger.expressions):
            try:
                parse_cron(expression)
            except CronInvalid as error:
                yield "trigger.cron" if single else f"trigger.cron[{index}]", error.message
    elif isinstance(trigger, IntervalTrigger):
        if trigger.offset_seconds >= trigger.every_seconds:
            yield (
                "trigger.offset_seconds",
                f"It must be less than every_seconds ({trigger.every_seconds}): "
                f"{trigger.offset_seconds % trigger.every_seconds} gives the same times.",
            )
    elif isinstance(trigger, ExpiryTrigger):
        for field, given in (
            ("exclude", bool(schedule.exclude)),
            ("jitter_seconds", bool(schedule.jitter_seconds)),
        ):
            if given:
                yield field, "An expiry trigger does not support it. Leave it out."


def _unknown_zone(name: str) -> str:
    by_lower = {known.lower(): known for known in sorted(zone_names())}
    near = get_close_matches(name.lower().replace(" ", "_"), by_lower, n=3, cutoff=0.6)
    if not near:  # perhaps only the city
        near = [low for low in by_lower if low.rpartition("/")[2] == name.lower()][:3]
    hint = (
        f"Did you mean {' or '.join(by_lower[low] for low in near)}?"
        if near
        else "Use an IANA name, such as Europe/Berlin or UTC."
    )
    return f"There is no time zone `{name}`. {hint}"


def _bound_problems(
    schedule: ScheduleDefinition, now: datetime, earlier: ScheduleDefinition | None
) -> Iterator[Problem]:
    starts, ends = schedule.starts_at, schedule.ends_at
    for name, bound in (("starts_at", starts), ("ends_at", ends)):
        if bound is not None and not FIRST_YEAR <= bound.year < LAST_YEAR:
            yield name, f"Choose a time between the years {FIRST_YEAR} and {LAST_YEAR}."
    if ends is None:
        return
    if starts is not None and ends <= starts:
        yield "ends_at", f"It must be after starts_at ({moment_in_words(starts)})."
    if ends <= now and (earlier is None or earlier.ends_at != ends):
        yield "ends_at", "It has passed. Choose a later time, or leave it out."


def _one_time_problems(
    schedule: ScheduleDefinition,
    trigger: OneTimeTrigger,
    now: datetime,
    earlier: ScheduleDefinition | None,
) -> Iterator[Problem]:
    at = trigger.at
    if at <= now and (earlier is None or earlier.trigger != trigger):
        yield "trigger.at", "It has passed. Choose a later time."
    elif at.year >= LAST_YEAR:
        yield "trigger.at", f"Choose a time before the year {LAST_YEAR}."
    if schedule.starts_at is not None and at < schedule.starts_at:
        yield "trigger.at", "It is before starts_at: it would never fire. Leave out starts_at."
    if schedule.ends_at is not None and at > schedule.ends_at:
        yield "trigger.at", "It is after ends_at: it would never fire. Leave out ends_at."


def _exclusion_problems(schedule: ScheduleDefinition) -> Iterator[Problem]:
    for index, exclusion in enumerate(schedule.exclude):
        field = f"exclude[{index}]"
        if isinstance(exclusion, ExcludedDates):
            for number, text in enumerate(exclusion.dates):
                if date_of(text) is None:
                    yield (
                        f"{field}.dates[{number}]",
                        f"There is no {text}. Give a date such as 2026-12-25, or 12-25 for "
                        "every year.",
                    )
        elif isinstance(exclusion, ExcludedWindow):
            yield from _window_problems(field, exclusion)
        else:
            yield from _period_problems(field, exclusion)


def _window_problems(field: str, window: ExcludedWindow) -> Iterator[Problem]:
    for name, given in (("start", window.start), ("end", window.end)):
        if given.tzinfo is not None:
            yield f"{field}.{name}", "Give it without an offset: it is in the schedule's zone."
    start, end = window.start, window.end
    if (start.hour, start.minute) == (end.hour, end.minute):
        yield (
            f"{field}.end",
            "The window is empty: it starts and ends in the same minute. "
            "For a whole day use two windows, or exclude dates.",
        )


def _period_problems(field: str, period: ExcludedPeriod) -> Iterator[Problem]:
    if period.end <= period.start:
        yield f"{field}.end", "It must be after start."
    elif (period.end - period.start).total_seconds() > LONGEST_PERIOD_DAYS * 86_400:
        yield (
            f"{field}.end",
            f"A period may have at most {LONGEST_PERIOD_DAYS} days. "
            "Split it, or use starts_at and ends_at.",
        )
    elif not (period.start.year >= FIRST_YEAR and period.end.year <= LAST_YEAR):
        yield f"{field}.start", f"A period must lie between {FIRST_YEAR} and {LAST_YEAR}."


def _firing_problems(
    schedule: ScheduleDefinition, now: datetime, earlier: ScheduleDefinition | None
) -> Iterator[Problem]:
    times = next_times(schedule, after=now, count=_SAMPLED if schedule.jitter_seconds else 1)
    if not times:
        if earlier is None or _timing_of(schedule) != _timing_of(earlier):
            yield _never_fires(schedule, now)
        return
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times)]
    if gaps and schedule.jitter_seconds >= min(gaps):
        yield (
            "jitter_seconds",
            f"Two of its times are only {int(min(gaps))} s apart. Choose a smaller jitter.",
        )


def _never_fires(schedule: ScheduleDefinition, now: datetime) -> Problem:
    free = schedule.model_copy(update={"exclude": []})
    if schedule.exclude and next_times(free, after=now, count=1):
        return "exclude", "It never fires: every time within ten years is excluded. Exclude less."
    if schedule.ends_at is not None:
        return "ends_at", "It never fires: no time is left before it ends. Choose a later end."
    if schedule.starts_at is not None:
        return "starts_at", "It never fires: no time comes within ten years. Start earlier."
    return "trigger", "It never fires: no time comes within ten years."


def _timing_of(schedule: ScheduleDefinition) -> tuple[object, ...]:
    return schedule.trigger, schedule.starts_at, schedule.ends_at, schedule.exclude
