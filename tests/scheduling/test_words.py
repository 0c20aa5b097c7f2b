"""A schedule reads as a sentence, and warns of what may surprise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.schedules import NewSchedule
from contracts.vocabulary import OverlapPolicy
from scheduling.words import in_words, warnings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
JOB = {"kind": "job", "job": "retention"}
SCAN = {"kind": "cloud_scan", "account_id": "0198c5a0-0000-7000-8000-000000000000"}


def _schedule(trigger: str | list[str] | dict[str, Any], **fields: Any) -> NewSchedule:
    if not isinstance(trigger, dict):
        trigger = {"type": "cron", "cron": trigger, "timezone": "Europe/Berlin"}
    return NewSchedule.model_validate(
        {"name": "nightly", "target": JOB, "trigger": trigger, **fields}
    )


def test_a_schedule_reads_as_one_sentence() -> None:
    assert in_words(_schedule("0 2 * * *")) == (
        "every day at 02:00 Europe/Berlin; if the last run is still going the new one is skipped; "
        "a run missed by more than 1 h is dropped; it pauses itself after 5 failures in a row"
    )


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ("* * * * *", "every minute Europe/Berlin"),
        ("*/15 * * * *", "every 15 minutes Europe/Berlin"),
        ("@hourly", "every hour Europe/Berlin"),
        ("15 * * * *", "every hour at :15 Europe/Berlin"),
        ("5,25 * * * *", "every hour at :05 and :25 Europe/Berlin"),
        ("@daily", "every day at 00:00 Europe/Berlin"),
        ("0 6,18 * * *", "every day at 06:00 and 18:00 Europe/Berlin"),
        ("0 */4 * * *", "every 4 hours Europe/Berlin"),
        ("30 */2 * * 0", "every 2 hours at :30, every Sunday Europe/Berlin"),
        ("0 9 * * 1-5", "every weekday (Monday to Friday) at 09:00 Europe/Berlin"),
        ("30 9 * * fri,mon", "every Monday and Friday at 09:30 Europe/Berlin"),
        ("0 3 * * 0,1,6", "every Monday, Saturday and Sunday at 03:00 Europe/Berlin"),
        ("0 3 1 * *", "on day 1 of each month at 03:00 Europe/Berlin"),
        ("0 3 1,15 * *", "on days 1 and 15 of each month at 03:00 Europe/Berlin"),
        ("0 3 1 1,7 *", "on day 1 of January and July at 03:00 Europe/Berlin"),
        ("@yearly", "every year on January 1 at 00:00 Europe/Berlin"),
        ("0 0 29 2 *", "every leap year on February 29 at 00:00 Europe/Berlin"),
        ("0 3 * 6-8 *", "every day in June, July and August at 03:00 Europe/Berlin"),
        (
            "*/10 8-18 * * 1-5",
            "every 10 minutes from 08:00 to 18:59, every weekday (Monday to Friday) Europe/Berlin",
        ),
        (
            ["0 2 * * *", "0 14 * * 6"],
            "every day at 02:00 and every Saturday at 14:00 Europe/Berlin",
        ),
        ("0 3 13 * 5", "at the times of cron `0 3 13 * 5` Europe/Berlin"),
        ("1-59/7 3 * * *", "at the times of cron `1-59/7 3 * * *` Europe/Berlin"),
        (
            ["0 2 * * *", "0 3 13 * 5"],
            "at the times of cron `0 2 * * *` and `0 3 13 * 5` Europe/Berlin",
        ),
        ({"type": "interval", "every_seconds": 5400}, "every 90 minutes"),
        ({"type": "interval", "every_seconds": 3600}, "every hour"),
        (
            {"type": "interval", "every_seconds": 2 * 86_400, "offset_seconds": 3600},
            "every 2 days, shifted by 1 h",
        ),
        ({"type": "one_time", "at": "2026-12-01T02:00:00Z"}, "once, on 2026-12-01 at 02:00 UTC"),
        (
            {"type": "one_time", "at": "2026-12-01T02:00:07+01:00"},
            "once, on 2026-12-01 at 01:00:07 UTC",
        ),
        (
            {
                "type": "expiry",
                "item_kind": "certificate",
                "lead_seconds": 30 * 86_400,
                "filter": {"env": "prod"},
            },
            "30 days before each certificate expires (only those with env=prod)",
        ),
        (
            {"type": "expiry", "item_kind": "api_key", "lead_seconds": 3600},
            "1 hour before each api key expires",
        ),
        (
            {"type": "expiry", "item_kind": "certificate", "lead_seconds": 0},
            "when each certificate expires",
        ),
        (
            {"type": "expiry", "item_kind": "certificate"},
            "ahead of the expiry of each certificate by its own lead",
        ),
    ],
)
def test_each_trigger_has_words(trigger: str | list[str] | dict[str, Any], words: str) -> None:
    assert in_words(_schedule(trigger)).split("; ")[0] == words


def test_every_overlap_policy_has_words_of_its_own() -> None:
    said = {in_words(_schedule("0 2 * * *", overlap=policy)) for policy in OverlapPolicy}
    assert len(said) == len(OverlapPolicy)


def test_limits_are_part_of_the_sentence() -> None:
    words = in_words(
        _schedule(
            "0 2 * * *",
            jitter_seconds=90,
            starts_at="2026-07-01T00:00:00+02:00",
            ends_at="2026-08-01T00:00:00Z",
            max_runs=3,
            pause_after_failures=0,
            catchup_seconds=172_800,
            exclude=[
                {"type": "dates", "dates": ["12-25"], "name": "holidays"},
                {"type": "window", "start": "22:00", "end": "04:00", "days": ["fri", "mon"]},
                {"type": "dates", "dates": ["12-25", "2026-12-31"]},
            ],
        )
    )
    assert words.split("; ")[1:] == [
        "each run starts up to 90 s later, by chance",
        "not before 2026-06-30 22:00 UTC",
        "not after 2026-08-01 00:00 UTC",
        "at most 3 runs",
        "except holidays, from 22:00 to 04:00 on Mon and Fri and on 12-25 and 2026-12-31",
        "if the last run is still going the new one is skipped",
        "a run missed by more than 2 days is dropped",
    ]


@pytest.mark.parametrize(
    ("trigger", "fields", "words"),
    [
        ("0 12 * * *", {}, []),
        ("@hourly", {}, []),
        ("*/5 2 * * 1-5", {}, []),
        (
            "30 2 * * *",
            {},
            [
                "On 2026-10-25 the clock goes back in Europe/Berlin: 02:30 comes twice and runs "
                "twice.",
                "On 2027-03-28 the clock jumps from 02:00 to 03:00 in Europe/Berlin: the run at "
                "02:30 is skipped.",
            ],
        ),
        (
            "*/20 0-5 * * *",
            {"ends_at": "2027-01-01T00:00:00Z"},
            [
                "On 2026-10-25 the clock goes back in Europe/Berlin: 02:00 to 02:40 comes twice, "
                "each of the 3 runs in it runs twice."
            ],
        ),
        ("30 2 * * *", {"exclude": [{"type": "dates", "dates": ["10-25", "2027-03-28"]}]}, []),
        (
            "0 12 13 * 5",
            {},
            [
                "`0 12 13 * 5` names days of the month and days of the week: as in Unix cron it "
                "runs on either, not only when both match."
            ],
        ),
        (
            {"type": "interval", "every_seconds": 7 * 3600},
            {},
            [
                "Every 7 hours does not divide a day: the times shift from day to day. For the "
                "same times each day use cron."
            ],
        ),
        ("* * * * *", {}, []),
        (
            "* * * * *",
            {"target": SCAN},
            [
                "It scans again after 1 min. A scan takes longer than that on most accounts; its "
                "overlap policy then decides."
            ],
        ),
        ({"type": "expiry", "item_kind": "certificate"}, {"target": SCAN}, []),
    ],
)
def test_what_may_surprise_is_said_before(
    trigger: str | list[str] | dict[str, Any], fields: dict[str, Any], words: list[str]
) -> None:
    assert warnings(_schedule(trigger, **fields), now=NOW) == words
