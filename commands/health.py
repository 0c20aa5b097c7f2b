"""`cloudsweep health`: what is up, and whether the store, Temporal and the workers agree."""

from __future__ import annotations

from typing import Final

import typer

from commands.client import FAILED, UNREACHABLE, Row, connected
from commands.output import AsJson, age, cell, console, fields, say, show_json, table

READY: Final = "ready"
DOWN: Final = "down"


def health(as_json: AsJson = False) -> None:
    """Show what is up, and what the watchdog repaired or has given up.

    Exit code 1 when something is down or was given up, 3 when nothing works.
    """
    with connected() as api:
        readiness = api.readiness()
        is_down = readiness["status"] == DOWN
        consistency = None if is_down else api.get("health/consistency")
    if as_json:
        show_json({"readiness": readiness, "consistency": consistency})
    else:
        _show_readiness(readiness)
        if consistency is not None:
            _show_consistency(consistency)
    if is_down:
        raise typer.Exit(UNREACHABLE)
    if readiness["status"] != READY or (consistency and consistency["given_up"]):
        raise typer.Exit(FAILED)


def _show_readiness(readiness: Row) -> None:
    states = table("NEEDS", "STATE", "*WHAT TO DO")
    for each in readiness["dependencies"]:
        states.add_row(cell(each["name"]), cell(each["state"]), cell(each["detail"]))
    console().print(states)


def _show_consistency(consistency: Row) -> None:
    console().print(fields([("Watchdog", _in_a_line(consistency["last_run"]))]))
    shown = consistency["given_up"] + [
        each for each in consistency["repairs"] if each["given_up_until"] is None
    ]
    if not shown:
        say("Nothing had to be repaired.")
        return
    rows = table("REPAIR", "SUBJECT", ">LAST", ">TRIES", "STATE", "*WHAT")
    for each in shown:
        rows.add_row(
            cell(each["kind"]),
            cell(each["subject"]),
            cell(age(each["last_at"])),
            cell(each["attempts"]),
            cell(_state(each)),
            cell(each["error"] or each["words"]),
        )
    console().print(rows)


def _in_a_line(run: Row | None) -> str:
    """`completed, 3m ago: scan_lost 1`."""
    if run is None:
        return "has not run yet. Run it now: cloudsweep job run data_sync_watchdog"
    did = ", ".join(f"{kind} {number}" for kind, number in run["counts"].items())
    return f"{run['outcome']}, {age(run['ended_at'])} ago: {did or 'nothing to repair'}"


def _state(repair: Row) -> str:
    if repair["settled_at"]:
        return "settled"
    return "given up until tomorrow" if repair["given_up_until"] else "tried"
