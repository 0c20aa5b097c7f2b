"""`cloudsweep schedule`, `job`, `run` and `item`: the API's words, as people type them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands.client import Failure
from commands.moments import duration, in_zone, moment, seconds
from tests.api.scripted import Script
from tests.cli.conftest import InProcess

NIGHTLY = ("--cron", "0 2 * * *", "--timezone", "Europe/Berlin")


async def test_a_schedule_is_added_listed_changed_and_removed(in_process: InProcess) -> None:
    await in_process("account add production")
    added = await in_process(
        "schedule add nightly production --services s3,iam --no-discovery --note agreed",
        *NIGHTLY,
    )
    assert added.code == 0, added.err
    assert "Every day at 02:00 Europe/Berlin; if the last run is still going" in added.out
    assert added.out.count(" 02:00 CE") == 5  # the next times, as Berlin's clock shows them
    assert "scan of production" in added.out
    assert "services: s3, iam" in added.out
    assert "cloudsweep schedule runs nightly" in added.err

    taken = await in_process("schedule add nightly production", *NIGHTLY)
    assert taken.code == 1
    assert "exists already" in taken.err

    listed = await in_process("schedule list --status active --account production")
    assert listed.code == 0, listed.err
    assert "every day at 02:00 Europe/Berlin" in listed.out
    paused = await in_process("schedule pause nightly", "--note", "until Friday")
    assert paused.err == "Schedule nightly is paused.\n"
    changed = await in_process(
        "schedule change nightly --name weekly --overlap queue --ends 2031-01-01 --discovery",
        *("--cron", "30 3 * * MON", "--exclude-window", "sat,sun 08:00-20:00"),
    )
    assert changed.code == 0, changed.err
    for words in ("Every Monday at 03:30 Europe/Berlin", "paused", "until Friday",
                  "not after 2030-12-31 23:00 UTC", "except from 08:00 to 20:00 on Sat and Sun",
                  "the new one waits for its turn", "services: s3, iam"):  # fmt: skip
        assert words in changed.out
    assert "discovery: no" not in changed.out
    resumed = await in_process("schedule resume weekly")
    assert "Schedule weekly is active. Next: Mon " in resumed.err
    shown = (await in_process("schedule show weekly --json")).json
    assert (shown["overlap"], shown["max_runs"]) == ("queue", None)
    removed = await in_process("schedule remove weekly --yes")
    assert removed.out == "Removed weekly.\n"
    assert "No schedules. Add one: " in (await in_process("schedule list")).err


DEFINITIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--cron", "@daily", "--cron", "0 12 * * SAT"),
     {"trigger": {"type": "cron", "cron": ["@daily", "0 12 * * SAT"], "timezone": "UTC"}}),
    (("--every", "1h30m", "--offset", "15m", "--jitter", "5m", "--max-runs", "3"),
     {"trigger": {"type": "interval", "every_seconds": 5400, "offset_seconds": 900},
      "jitter_seconds": 300, "max_runs": 3}),
    (("--at", "2031-07-01 02:00", "--timezone", "Europe/Berlin", "--catchup", "2d"),
     {"trigger": {"type": "one_time", "at": "2031-07-01T02:00:00+02:00"},
      "catchup_seconds": 172_800}),
    (("--on-expiry", "certificate", "--lead", "30d", "--filter", "env=prod", "--pause-after", "0"),
     {"trigger": {"type": "expiry", "item_kind": "certificate", "lead_seconds": 2_592_000,
                  "filter": {"env": "prod"}}, "pause_after_failures": 0}),
    (("--cron", "0 2 * * *", "--exclude-date", "12-25", "--exclude-date", "2031-01-01",
      "--exclude-window", "22:00-01:00", "--exclude-period", "2031-06-01/2031-06-08",
      "--starts", "2031-01-01T00:00:00Z"),
     {"exclude": [
         {"type": "dates", "dates": ["12-25", "2031-01-01"], "name": ""},
         {"type": "window", "start": "22:00:00", "end": "01:00:00", "name": "",
          "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
         {"type": "period", "start": "2031-06-01T00:00:00Z", "end": "2031-06-08T00:00:00Z",
          "name": ""}],
      "starts_at": "2031-01-01T00:00:00Z"}),
]  # fmt: skip


async def test_each_trigger_and_option_becomes_what_it_says(in_process: InProcess) -> None:
    await in_process("account add production")
    for number, (options, fields) in enumerate(DEFINITIONS):
        ran = await in_process(f"schedule add s{number} production --paused --json", *options)
        assert ran.code == 0, ran.err
        schedule = ran.json
        assert {name: schedule[name] for name in fields} == fields
        assert schedule["status"] == "paused"


async def test_a_preview_shows_times_words_and_warnings(in_process: InProcess) -> None:
    await in_process("account add production")
    night = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
    shown = await in_process("schedule preview production --count 3", *night)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("Every day at 02:30 Europe/Berlin; ")
    assert shown.out.count(" 02:30 CE") == 3
    assert "Note: On 20" in shown.out
    assert "comes twice and runs twice" in shown.out
    as_json = await in_process("schedule preview production -n 100 --json", *night)
    assert len(as_json.json["next_runs"]) == 100
    assert (await in_process("schedule list --json")).json["items"] == []


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("production",), "Give --cron '0 2 * * *', --every 24h"),
    (("--every", "24h"), "Name an account to scan, or a job"),
    (("production", "--every", "24h", "--at", "2031-01-01"), "do not go together"),
    (("production", "--every", "soon"), "--every: `soon` is not a duration."),
    (("production", "--at", "soon"), "--at: `soon` is not a time."),
    (("production", "--at", "2031-03-30 02:30", "--timezone", "Europe/Berlin"), "jumps over it"),
    (("production", "--at", "2031-01-01", "--timezone", "Mars"), "no time zone `Mars`"),
    (("production", "--cron", "@daily", "--lead", "1d"), "--lead belongs to --on-expiry."),
    (("production", "--every", "1d", "--filter", "a"), "--filter belongs to --on-expiry."),
    (("production", "--on-expiry", "x", "--filter", "a"), "`a` is not of the form KEY=VALUE."),
    (("production", "--job", "account_check", "--every", "1d"), "--job takes --param"),
    (("production", "--param", "a=1", "--every", "1d"), "--param belongs to --job."),
    (("production", "--cron", "@daily", "--exclude-window", "night"), "Write it like '22:00-"),
    (("production", "--every", "1d", "--timezone", "Asia/Tokyo", "--exclude-date", "12-25"),
     "the others do in UTC"),
    # What only the server knows comes with its field.
    (("production", "--cron", "0 2 * *", "--timezone", "Europ/Berlin"),
     "trigger.timezone: There is no time zone `Europ/Berlin`. Did you mean Europe/Berlin"),
    (("--job", "account_chek", "--every", "1d"), "target.job: There is no job `account_chek`."),
    (("--job", "account_check", "--every", "1d"), "target.params.account_id: It is required."),
]  # fmt: skip


async def test_wrong_options_end_with_2_and_the_fix(in_process: InProcess) -> None:
    await in_process("account add production")
    for options, words in WRONG:
        ran = await in_process("schedule preview", *options)
        assert ran.code == 2, (options, ran.out, ran.err)
        assert words in ran.err, (options, ran.err)
        assert "Traceback" not in ran.err
    problem = await in_process("schedule add x production --json --cron", "0 0 31 2 *")
    assert json.loads(problem.err)["errors"][0]["field"] == "trigger.cron"


async def test_a_schedule_is_triggered_and_its_runs_are_told(
    script: Script, in_process: InProcess
) -> None:
    await in_process("account add production")
    await in_process("schedule add nightly production", *NIGHTLY)
    first = await in_process("schedule trigger nightly")
    assert first.code == 0, first.err
    assert "running" in first.out
    assert "cloudsweep scan watch" in first.err
    second = await in_process("schedule trigger nightly")
    assert second.code == 1  # nothing was run
    assert "skipped" in second.out
    assert "has not ended (overlap: skip)." in second.out
    waiting = await in_process("schedule trigger nightly --overlap queue --json")
    assert waiting.json["overlap"] == "queue"
    cancelled = await in_process(f"run cancel {waiting.json['id'][-8:]}")
    assert cancelled.code == 0, cancelled.err
    while (await in_process("run list --outcome cancelled --json")).json["items"] == []:
        pass
    (running,) = (await in_process("run list --outcome running --json")).json["items"]
    script.go_on.set()
    assert (await in_process(f"scan watch {running['scan_id']}")).code == 0
    runs = await in_process("schedule runs nightly")
    assert "manual" in runs.out
    assert "skipped" in runs.out
    left_out = await in_process("schedule runs nightly --outcome skipped --json")
    assert [run["outcome"] for run in left_out.json["items"]] == ["skipped"]
    shown = await in_process(f"run show {left_out.json['items'][0]['id']}")
    assert "Why" in shown.out
    again = await in_process(f"run cancel {left_out.json['items'][0]['id']}")
    assert again.code == 1
    assert "has ended already" in again.err


async def test_jobs_are_shown_and_run(script: Script, in_process: InProcess) -> None:
    await in_process("account add production")
    listed = await in_process("job list")
    assert listed.code == 0, listed.err
    assert "account_check" in listed.out
    assert "every 5m" in listed.out
    shown = await in_process("job show account_check")
    assert "account_id (required), string" in shown.out
    ran = await in_process("job run account_check --account production --json")
    assert ran.code == 0, ran.err
    by_name = await in_process("job run account_check --param account_id=production --json")
    assert by_name.json["params"] == ran.json["params"]
    waited = await in_process("job run account_check --account production --wait")
    assert waited.code == 0, waited.err
    assert "completed" in waited.out
    script.credentials_are_accepted = False
    failed = await in_process("job run account_check --account production --wait")
    assert failed.code == 1
    assert "Mend its trust policy." in failed.out
    assert "123456789012" in (await in_process(f"run show {ran.json['id']}")).out
    runs = await in_process("job runs account_check")
    assert runs.out.count("account_check") == 4
    unknown = await in_process("job run account_chek")
    assert unknown.code == 2
    assert "Did you mean account_check?" in unknown.err
    refused = await in_process("job run schedule_reconciler --param full=true")
    assert refused.code == 2
    assert "whole installation" in refused.err


async def test_a_backfill_lists_its_times_first(in_process: InProcess) -> None:
    await in_process("account add production")
    await in_process("schedule add nightly production", *NIGHTLY)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    span = ("--start", f"{yesterday - timedelta(days=2)}", "--end", f"{yesterday} 02:00")
    listed = await in_process("schedule backfill nightly --dry-run", *span)
    assert listed.code == 0, listed.err
    assert listed.out.count(" 02:00 CE") == 3  # midnight and 02:00 are Berlin's
    assert listed.err == "3 would run.\n"
    wrong = await in_process("schedule backfill nightly --start 2031-01-01 --end 2031-01-02")
    assert wrong.code == 2
    assert "end: It is in the future." in wrong.err


async def test_items_are_tracked_and_renewed(in_process: InProcess) -> None:
    added = await in_process(
        "item add certificate shop.example.com --lead 30d --owner platform --attribute env=prod",
        *("--expires", "2031-03-01 12:00", "--timezone", "Europe/Berlin"),
    )
    assert added.code == 0, added.err
    assert "Sat 2031-03-01 11:00 UTC" in added.out
    assert "Thu 2031-01-30 11:00 UTC" in added.out
    assert "--on-expiry certificate" in added.err
    listed = await in_process("item list --kind certificate --owner platform")
    assert "shop.example.com" in listed.out
    assert "30d" in listed.out
    assert "No items" in (await in_process("item list --within 30d")).err
    renewed = await in_process("item renew shop.example.com --expires 2032-03-01 --json")
    assert renewed.json["expires_at"] == "2032-03-01T00:00:00Z"
    assert renewed.json["lead_seconds"] == 2_592_000
    assert (await in_process("item renew shop.example.com")).code == 2
    again = await in_process("item add certificate shop.example.com --expires 2031-01-01")
    assert again.code == 1
    assert "Renew that one" in again.err
    removed = await in_process("item remove shop.example.com --yes")
    assert removed.out == "Removed shop.example.com.\n"
    assert (await in_process("item show shop.example.com")).code == 2


@pytest.mark.parametrize(
    ("text", "number"), [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400),
                         ("2w", 1_209_600), ("0s", 0)],
)  # fmt: skip
def test_durations_are_read_and_written_alike(text: str, number: int) -> None:
    assert seconds(text, "--every") == number
    assert seconds(duration(number), "--every") == number


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "1h 30m", "-1h", "1y", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="is not a duration"):
        seconds(text, "--every")


def test_times_without_an_offset_are_in_the_zone() -> None:
    assert moment("2026-12-01 02:00", "--at", "Europe/Berlin") == "2026-12-01T02:00:00+01:00"
    assert moment("2026-07-01", "--at", "Europe/Berlin") == "2026-07-01T00:00:00+02:00"
    assert moment("2026-07-01T00:00:00Z", "--at", "Asia/Tokyo") == "2026-07-01T00:00:00+00:00"
    assert in_zone("2026-07-01T00:00:00Z", "Asia/Tokyo") == "Wed 2026-07-01 09:00 JST"
