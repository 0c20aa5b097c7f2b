"""Cron expressions are read as Unix cron reads them, or refused with the fix."""

from __future__ import annotations

import pytest

from scheduling.cron import CronInvalid, parse_cron

ALL = {
    "minutes": tuple(range(60)),
    "hours": tuple(range(24)),
    "days": tuple(range(1, 32)),
    "months": tuple(range(1, 13)),
    "weekdays": tuple(range(7)),
    "day_or_weekday": False,
}


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("* * * * *", {}),
        ("0 2 * * *", {"minutes": (0,), "hours": (2,)}),
        ("  0\t2  * * * ", {"minutes": (0,), "hours": (2,)}),
        ("*/15 */6 * * *", {"minutes": (0, 15, 30, 45), "hours": (0, 6, 12, 18)}),
        ("50/3 * * * *", {"minutes": (50, 53, 56, 59)}),
        ("5-10/2,30,7 * * * *", {"minutes": (5, 7, 9, 30)}),
        ("* * * JAN-Mar,dec *", {"months": (1, 2, 3, 12)}),
        ("* * * * mon-FRI", {"weekdays": (1, 2, 3, 4, 5)}),
        ("* * * * 5-7", {"weekdays": (0, 5, 6)}),
        ("* * * * fri-sun", {"weekdays": (0, 5, 6)}),
        ("* * * * 7", {"weekdays": (0,)}),
        ("* * * * 0-7", {}),
        ("* * 1 * *", {"days": (1,)}),
        ("* * 1 * 1", {"days": (1,), "weekdays": (1,), "day_or_weekday": True}),
        ("* * 1-31 * 1", {"weekdays": (1,), "day_or_weekday": True}),
        ("* * */10 * 1", {"days": (1, 11, 21, 31), "weekdays": (1,)}),
        ("* * 1 * *,1", {"days": (1,)}),
        ("* * 31 2 1", {"days": (31,), "months": (2,), "weekdays": (1,), "day_or_weekday": True}),
        ("* * 29 2 *", {"days": (29,), "months": (2,)}),
        ("@hourly", {"minutes": (0,)}),
        ("@Daily", {"minutes": (0,), "hours": (0,)}),
        ("@midnight", {"minutes": (0,), "hours": (0,)}),
        ("@weekly", {"minutes": (0,), "hours": (0,), "weekdays": (0,)}),
        ("@monthly", {"minutes": (0,), "hours": (0,), "days": (1,)}),
        ("@yearly", {"minutes": (0,), "hours": (0,), "days": (1,), "months": (1,)}),
        ("@annually", {"minutes": (0,), "hours": (0,), "days": (1,), "months": (1,)}),
    ],
)
def test_fields_are_read_as_unix_cron_does(expression: str, fields: dict[str, object]) -> None:
    assert parse_cron(expression)._asdict() == ALL | fields


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "0 fields. Give five"),
        ("0 2 * *", "4 fields. Give five"),
        ("0 2", "2 fields. Give five"),
        ("0 0 2 * * *", "Seconds or years are not supported"),
        ("0 0 2 * * * 2027", "Seconds and years are not supported"),
        ("@every 90m", '"interval"'),
        ("@reboot", "interval trigger"),
        ("@daily 5", "Nothing may follow `@daily`"),
        ("@fortnightly", "Use @hourly, @daily"),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "set `timezone`"),
        ("TZ=UTC 0 2 * * *", "set `timezone`"),
        ("60 * * * *", "minute `60` is out of range: 0-59"),
        ("* 24 * * *", "hour `24` is out of range: 0-23"),
        ("* * 0 * *", "day of the month `0` is out of range: 1-31"),
        ("* * * 13 *", "month `13` is out of range: 1-12"),
        ("* * * * 8", "day of the week `8` is out of range: 0-7"),
        ("* 22-4 * * *", "Write it as two: `22-23,0-4`"),
        ("* * * * sat-mon", "Write it as two: `sat-6,0-mon`"),
        ("1,,2 * * * *", "empty part"),
        ("5- * * * *", "empty part"),
        ("*/0 * * * *", "step"),
        ("*/ * * * *", "step"),
        ("*/x * * * *", "step"),
        ("-5 * * * *", "empty part"),
        ("* * L * *", "`L` in the day of the month `L` is not Unix cron"),
        ("* * 15W * *", "`W`"),
        ("* * * * 5#2", "`#`"),
        ("* * ? * *", "Write `*` for any"),
        ("* * * * monday", "0-7 or sun-sat"),
        ("* * * foo *", "1-12 or jan-dec"),
        ("\u0661 * * * *", "not understood"),
        ("0 0 31 2 *", "no month in `2` has a day 31"),
        ("0 0 30 feb *", "no month in `feb` has a day 30"),
        ("0 0 31 4,6,9,11 *", "has a day 31"),
    ],
)
def test_what_is_no_unix_cron_is_refused_with_the_fix(expression: str, words: str) -> None:
    with pytest.raises(CronInvalid) as refused:
        parse_cron(expression)
    assert words in refused.value.message
    assert str(refused.value) == refused.value.message
