"""Whatever is wrong with a schedule is named with its field and its fix."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.schedules import NewSchedule
from scheduling.validation import problems
from scheduling.words import in_words, warnings

NOW = datetime(2027, 1, 20, tzinfo=UTC)
NIGHTLY = {"type": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}
PAST, SOON, LATER = "2026-01-01T00:00:00Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"


def schedule(**fields: Any) -> NewSchedule:
    """A schedule with these fields."""
    target = {"kind": "job", "job": "retention"}
    body = {"name": "nightly", "target": target, "trigger": NIGHTLY, **fields}
    return NewSchedule.model_validate(body)


def _cron(expression: str | list[str], zone: str = "UTC") -> dict[str, Any]:
    return {"type": "cron", "cron": expression, "timezone": zone}


def _interval(every: int, offset: int = 0) -> dict[str, Any]:
    return {"type": "interval", "every_seconds": every, "offset_seconds": offset}


def _dates(*dates: str) -> list[dict[str, Any]]:
    return [{"type": "dates", "dates": list(dates)}]


def _window(start: str, end: str) -> list[dict[str, Any]]:
    return [{"type": "window", "start": start, "end": end}]


def _period(start: str, end: str) -> list[dict[str, Any]]:
    return [{"type": "period", "start": start, "end": end}]


_EXPIRY = {"type": "expiry", "item_kind": "certificate"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"trigger": _EXPIRY},
        {"trigger": _cron(["0 2 * * *", "@hourly"]), "jitter_seconds": 3599},
        {"trigger": _interval(60, 59), "starts_at": PAST, "ends_at": SOON},
        {"trigger": {"type": "one_time", "at": SOON}, "starts_at": SOON, "ends_at": LATER},
        {"exclude": [*_dates("02-29", "2028-02-29"), *_window("22:00", "00:00")]},
        {"exclude": _period(PAST, "2027-01-02T00:00:00Z")},
    ],
)
def test_a_good_schedule_has_no_problems(fields: dict[str, Any]) -> None:
    assert problems(schedule(**fields), now=NOW) == []


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"trigger": _cron("0 0 2 * * *")}, "trigger.cron", "6 fields"),
        ({"trigger": _cron(["@daily", "61 * * * *"])}, "trigger.cron[1]", "out of range"),
        ({"trigger": _cron("@daily", "Europe/Berln")}, "trigger.timezone", "Europe/Berlin"),
        ({"trigger": _cron("@daily", "berlin")}, "trigger.timezone", "Europe/Berlin"),
        ({"trigger": _cron("@daily", "europe/berlin")}, "trigger.timezone", "Europe/Berlin"),
        ({"trigger": _cron("@daily", "../etc/passwd")}, "trigger.timezone", "no time zone"),
        ({"trigger": _cron("@daily", "Qqqqq")}, "trigger.timezone", "IANA"),
        ({"trigger": _interval(60, 60)}, "trigger.offset_seconds", "0 gives the same"),
        ({"trigger": {"type": "one_time", "at": PAST}}, "trigger.at", "passed"),
        (
            {"trigger": {"type": "one_time", "at": "9999-12-31T23:59:59-14:00"}},
            "trigger.at",
            "2100",
        ),
        (
            {"trigger": {"type": "one_time", "at": SOON}, "starts_at": LATER},
            "trigger.at",
            "before starts_at",
        ),
        (
            {"trigger": {"type": "one_time", "at": LATER}, "ends_at": SOON},
            "trigger.at",
            "after ends_at",
        ),
        ({"starts_at": LATER, "ends_at": SOON}, "ends_at", "after starts_at"),
        ({"starts_at": SOON, "ends_at": SOON}, "ends_at", "after starts_at"),
        ({"ends_at": PAST}, "ends_at", "passed"),
        ({"exclude": _dates("12-25", "02-30")}, "exclude[0].dates[1]", "no 02-30"),
        ({"exclude": _dates("2027-02-29")}, "exclude[0].dates[0]", "no 2027-02-29"),
        ({"exclude": _dates("00-10")}, "exclude[0].dates[0]", "no 00-10"),
        ({"exclude": _window("10:00", "10:00")}, "exclude[0].end", "empty"),
        ({"exclude": _window("10:00Z", "11:00")}, "exclude[0].start", "offset"),
        ({"exclude": _period(LATER, SOON)}, "exclude[0].end", "after start"),
        ({"exclude": _period(PAST, LATER)}, "exclude[0].end", "366 days"),
        (
            {"exclude": _period("0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00Z")},
            "exclude[0].start",
            "2000",
        ),
        (
            {"exclude": _window("00:00", "12:00") + _window("12:00", "00:00")},
            "exclude",
            "never fires",
        ),
        ({"exclude": _window("01:00", "03:00")}, "exclude", "never fires"),
        ({"ends_at": "2027-01-20T00:30:00Z"}, "ends_at", "never fires"),
        ({"starts_at": "2099-01-20T00:30:00Z", "ends_at": None}, None, ""),
        ({"starts_at": "2200-01-20T00:30:00Z"}, "starts_at", "2100"),
        ({"trigger": _interval(600), "jitter_seconds": 600}, "jitter_seconds", "600 s apart"),
        (
            {"trigger": _cron(["0 2 * * *", "5 2 * * *"]), "jitter_seconds": 300},
            "jitter_seconds",
            "300 s apart",
        ),
        ({"trigger": _EXPIRY, "jitter_seconds": 5}, "jitter_seconds", "Leave it out"),
        ({"trigger": _EXPIRY, "exclude": _dates("12-25")}, "exclude", "Leave it out"),
        ({"name": "0198c5a0-0000-7000-8000-000000000000"}, "name", "id"),
    ],
)
def test_a_problem_is_named_with_its_field_and_fix(
    fields: dict[str, Any], field: str | None, words: str
) -> None:
    found = problems(schedule(**fields), now=NOW)
    assert [each for each, _ in found] == ([field] if field else [])
    assert all(words in message and message.endswith((".", "?")) for _, message in found)


def test_what_a_schedule_said_already_may_have_passed() -> None:
    for fields in (
        {"trigger": {"type": "one_time", "at": PAST}},
        {"ends_at": PAST},
    ):
        assert problems(schedule(**fields), now=NOW)
        renamed = schedule(**fields, max_runs=3)
        assert problems(renamed, now=NOW, earlier=schedule(**fields)) == []


_EDGES = st.sampled_from(
    [
        *("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"),
        *("2027-01-20T00:00:00Z", "2027-03-28T01:00:00.999999Z", "2100-12-31T23:00:00-05:00"),
        *("2101-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", SOON, LATER),
    ]
)
_EXPRESSIONS = st.text(alphabet="0123456789*/,-@L#? \u0661monjan", min_size=1, max_size=30)
_TRIGGERS = st.one_of(
    st.builds(_cron, _EXPRESSIONS, st.sampled_from(["UTC", "Europe/Berlin", "x", "../x", "/x"])),
    st.builds(_cron, st.lists(st.sampled_from(["@hourly", "* * * * *"]), min_size=1)),
    st.builds(_interval, st.integers(1, 366 * 86_400), st.integers(0, 10**12)),
    _EDGES.map(lambda at: {"type": "one_time", "at": at}),
    st.just(_EXPIRY),
)
_EXCLUDED = st.one_of(
    st.from_regex(r"\A([0-9]{4}-)?[0-9]{2}-[0-9]{2}\Z").map(lambda text: _dates(text)[0]),
    st.times().map(lambda at: _window(at.isoformat(), "10:00")[0]),
    st.tuples(_EDGES, _EDGES).map(lambda pair: _period(*pair)[0]),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    fields=st.fixed_dictionaries(
        {"trigger": _TRIGGERS, "exclude": st.lists(_EXCLUDED, max_size=3)},
        optional={
            "starts_at": _EDGES,
            "ends_at": _EDGES,
            "jitter_seconds": st.integers(0, 86_400),
        },
    )
)
def test_no_schedule_that_the_contract_accepts_is_too_much(fields: dict[str, Any]) -> None:
    try:
        accepted = schedule(**fields)
    except ValidationError:
        return
    assert all(field and message for field, message in problems(accepted, now=NOW))
    assert problems(accepted, now=NOW, earlier=accepted) is not None
    assert in_words(accepted)
    assert isinstance(warnings(accepted, now=NOW), list)
