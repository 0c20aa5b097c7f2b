"""Timings to try: those that people write, those that are hard, and any others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from contracts.schedules import Timing
from scheduling.cron import CronInvalid, parse_cron
from scheduling.exclusions import date_of

NOW = datetime(2027, 1, 20, tzinfo=UTC)
"""Specs made then name the clock changes of 2027 and 2028."""

ZONES = [
    *("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Australia/Lord_Howe"),
    *("America/Havana", "America/St_Johns", "Africa/Cairo", "Antarctica/Troll"),
    *("Pacific/Chatham", "Atlantic/Azores", "Asia/Kolkata", "America/Nuuk"),
]
HOLIDAYS = {"type": "dates", "dates": ["12-25", "12-26", "01-01", "2027-05-06", "02-29"]}
NIGHT = {"type": "window", "start": "22:00", "end": "05:45", "days": ["mon", "fri", "sat"]}
NOON = {"type": "window", "start": "12:00", "end": "12:30"}
FREEZE = {"type": "period", "start": "2027-03-27T13:20:30Z", "end": "2027-04-03T00:30:15Z"}
DOUBLED = {"type": "period", "start": "2027-10-31T00:30:00Z", "end": "2027-10-31T09:00:00Z"}
UNTIL_DOUBLED = {"type": "period", "start": "2027-10-30T00:30:00Z", "end": "2027-10-31T01:20:00Z"}


def cron(expressions: str | list[str], zone: str = "UTC", **more: Any) -> Timing:
    """A cron timing."""
    trigger = {"type": "cron", "cron": expressions, "timezone": zone}
    return Timing.model_validate({"trigger": trigger, **more})


def interval(every: int, offset: int = 0, **more: Any) -> Timing:
    """An interval timing."""
    trigger = {"type": "interval", "every_seconds": every, "offset_seconds": offset}
    return Timing.model_validate({"trigger": trigger, **more})


def one_time(at: str, **more: Any) -> Timing:
    """A timing of one time."""
    return Timing.model_validate({"trigger": {"type": "one_time", "at": at}, **more})


HARD = {
    "nightly": cron("0 2 * * *", "Europe/Berlin"),
    "in the doubled and skipped hour": cron("30 2 * * *", "Europe/Berlin"),
    "in the hour before": cron("30 1 * * *", "Europe/Berlin"),
    "in the hour after": cron("15 3 * * *", "Europe/Berlin"),
    "every quarter": cron("*/15 * * * *", "Europe/Berlin"),
    "every quarter of the night": cron("*/15 0-5 * * *", "Europe/Berlin"),
    "uneven minutes": cron("5,7,40 * * * *", "Europe/London"),
    "every minute of an hour": cron("* 2 * * *", "Europe/Berlin"),
    "every hour with holidays": cron("@hourly", "Europe/Berlin", exclude=[HOLIDAYS, NIGHT]),
    "hourly on Sundays": cron("0 * * * sun", "Europe/Berlin"),
    "New York doubled": cron("30 1 * * *", "America/New_York"),
    "New York skipped": cron("30 2 * * *", "America/New_York"),
    "half an hour": cron("45 1 * * *", "Australia/Lord_Howe"),
    "half an hour skipped": cron("0,15 2 * * *", "Australia/Lord_Howe"),
    "half an hour, hourly": cron("20 * * * *", "Australia/Lord_Howe"),
    "no midnight": cron("0 0,3 * * sun", "America/Havana"),
    "no midnight in the east": cron("0 0,3 * * *", "Africa/Cairo"),
    "two hours": cron("0 */2 * * *", "Antarctica/Troll"),
    "quarters of offset": cron("50 2,3 * * *", "Pacific/Chatham"),
    "either day": cron("0 3 1,15 * 1", "America/New_York"),
    "both days, as a star says so": cron("0 3 */2 * 1", "UTC"),
    "either day, each full": cron("0 3 1-31 * 1", "UTC"),
    "leap day": cron("0 12 29 2 *", "Europe/Berlin"),
    "last days": cron("0 6 29-31 * *", "Asia/Kolkata"),
    "some months": cron("0 6 * feb,mar,nov 7", "UTC"),
    "union": cron(["0 2 * * *", "0 2 * * 1", "30 14 * * fri-sun"], "Europe/Berlin"),
    "twelve": cron([f"{n} {n} * * *" for n in range(12)], "Europe/Berlin"),
    "all exclusions": cron(
        "*/10 * * * *", "Europe/Berlin", exclude=[HOLIDAYS, NIGHT, NOON, FREEZE]
    ),
    "all exclusions, east": cron(
        "*/20 1-4 * * *", "Pacific/Chatham", exclude=[HOLIDAYS, NIGHT, NOON, FREEZE, DOUBLED]
    ),
    "excluded from the first pass on": cron("*/10 2 * * *", "Europe/Berlin", exclude=[DOUBLED]),
    "excluded into the second pass": cron("*/10 2 * * *", "Europe/Berlin", exclude=[UNTIL_DOUBLED]),
    "bounded": cron(
        "*/30 * * * *",
        "Europe/Berlin",
        starts_at="2027-03-28T00:30:00Z",
        ends_at="2027-10-31T01:00:00Z",
    ),
    "bounded by parts of seconds": interval(
        60, starts_at="2027-03-28T00:30:00.4Z", ends_at="2027-03-28T01:30:00.6Z"
    ),
    "every 90 minutes": interval(5400),
    "every 7 s": interval(7, 3),
    "every week from Thursday": interval(7 * 86_400, 3600),
    "every 366 days": interval(366 * 86_400, 86_399),
    "interval with exclusions": interval(1800, 60, exclude=[HOLIDAYS, NIGHT, FREEZE]),
    "jitter": interval(3600, jitter_seconds=600),
    "once": one_time("2027-10-31T01:30:07Z"),
    "once, elsewhere": one_time("2027-10-31T01:30:00.5+05:30", exclude=[NOON]),
    "once, excluded": one_time("2027-12-25T01:30:00Z", exclude=[HOLIDAYS]),
}


def _values(first: int, last: int) -> st.SearchStrategy[str]:
    value = st.integers(first, last)
    spans = st.tuples(value, value).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.sampled_from([2, 3, 5, 15])
    return st.one_of(
        st.just("*"),
        st.lists(value, min_size=1, max_size=4).map(lambda each: ",".join(map(str, each))),
        spans,
        st.builds("{}/{}".format, st.just("*") | spans, steps),
    )


_CRONS = st.builds(
    "{} {} {} {} {}".format,
    _values(0, 59),
    _values(0, 23) | st.sampled_from(["0-4", "1,2", "2", "*", "*/2"]),
    st.just("*") | _values(1, 31),
    st.just("*") | _values(1, 12),
    st.just("*") | _values(0, 7),
).filter(lambda expression: _is_valid(expression))

_MOMENTS = st.datetimes(
    datetime.fromisoformat("2026-11-01"),
    datetime.fromisoformat("2028-12-01"),
    timezones=st.just(UTC),
) | st.sampled_from(  # near changes of European clocks
    [datetime(2027, month, day, 0, 47, 11, tzinfo=UTC) for month, day in ((3, 28), (10, 31))]
)
_PERIODS = st.builds(
    lambda start, span: {"type": "period", "start": start, "end": start + span},
    _MOMENTS,
    st.timedeltas(timedelta(seconds=1), timedelta(days=300)),
)
_DATES = st.builds("{:02}-{:02}".format, st.integers(1, 12), st.integers(1, 31)).filter(
    lambda text: date_of(text) is not None
)
_TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
_WINDOWS = st.fixed_dictionaries(
    {"type": st.just("window"), "start": _TIMES, "end": _TIMES},
    optional={"days": st.lists(st.sampled_from(["mon", "sat", "sun"]), min_size=1, unique=True)},
)
_EXCLUSIONS = st.one_of(
    st.lists(_DATES, min_size=1, max_size=5).map(lambda dates: {"type": "dates", "dates": dates}),
    _WINDOWS,
    _PERIODS,
)
_TRIGGERS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("cron"),
            "cron": st.lists(_CRONS, min_size=1, max_size=3),
            "timezone": st.sampled_from(ZONES),
        }
    ),
    st.integers(60, 30 * 86_400).flatmap(
        lambda every: st.fixed_dictionaries(
            {
                "type": st.just("interval"),
                "every_seconds": st.just(every),
                "offset_seconds": st.integers(0, every - 1),
            }
        )
    ),
    st.fixed_dictionaries({"type": st.just("one_time"), "at": _MOMENTS}),
)
TIMINGS = st.fixed_dictionaries(
    {"trigger": _TRIGGERS, "exclude": st.lists(_EXCLUSIONS, max_size=3)},
    optional={"starts_at": _MOMENTS, "ends_at": _MOMENTS},
).map(Timing.model_validate)
"""Any timing that Temporal accepts."""


def _is_valid(expression: str) -> bool:
    try:
        parse_cron(expression)
    except CronInvalid:
        return False
    return True
