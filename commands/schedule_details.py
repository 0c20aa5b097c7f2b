"""A schedule in words for people: what it does, when, and what became of its times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from commands import runs
from commands.client import Row
from commands.moments import in_zone, until
from commands.output import cell, fields, short


def details(schedule: Row, names: dict[str, str]) -> Any:
    """All of a schedule, as people read it."""
    counters = schedule["counters"]
    counted = ", ".join(f"{counters[name]} {name}" for name in ("fired", "failed", *runs.LEFT_OUT))
    zone = zone_of_schedule(schedule)
    last = schedule["last_run"]
    pairs: list[tuple[str, Any]] = [
        ("Schedule", schedule["name"]),
        ("Id", schedule["id"]),
        ("Status", cell(schedule["status"])),
        ("Note", schedule["note"] or None),
        ("Late", cell(schedule["late_reason"], "yellow") if schedule["late"] else None),
        ("Runs", target_in_words(schedule["target"], names)),
        *(("With", words) for words in _scope(schedule["target"])),
        ("When", sentence(schedule["in_words"])),
        *(
            ("Next" if not position else "", f"{in_zone(time, zone)}  ({until(time)})")
            for position, time in enumerate(schedule["next_runs"])
        ),
        ("Last run", runs.in_a_line(last) if last else "none yet"),
        ("So far", counted),
        (
            "Failures in a row",
            str(schedule["failures_in_a_row"]) if schedule["failures_in_a_row"] else None,
        ),
        (
            "Default",
            "made at start-up; it can be changed, not removed" if schedule["is_default"] else None,
        ),
        ("Finished", in_zone(schedule["finished_at"], zone) if schedule["finished_at"] else None),
    ]
    return fields((name, value) for name, value in pairs if value is not None)


def zone_of_schedule(schedule: Row) -> str:
    """The zone in which its times are shown."""
    return str(schedule["trigger"].get("timezone", "UTC"))


def sentence(words: str) -> str:
    """Words of the API as a sentence."""
    return f"{words[:1].upper()}{words[1:]}."


def target_in_words(target: Row, names: dict[str, str]) -> str:
    """What it does, with the account's name."""
    if target["kind"] == "job":
        account_id = target["params"].get("account_id")
        of = f" of {names.get(account_id, short(account_id))}" if account_id else ""
        return f"{target['job']}{of}"
    account_id = target["account_id"]
    return f"scan of {names.get(account_id, short(account_id))}"


def _scope(target: Row) -> Iterator[str]:
    if target["kind"] == "job":
        for name, value in target["params"].items():
            if name != "account_id":
                yield f"{name}: {value}"
        return
    for name, value in target["options"].items():
        if value not in (None, True):
            yield f"{name}: {', '.join(value) or 'none' if isinstance(value, list) else 'no'}"
