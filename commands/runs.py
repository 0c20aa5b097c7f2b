"""`cloudsweep run`: every time that a job was due, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from commands import live
from commands.client import FAILED, Api, Row, connected
from commands.moments import in_zone
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    clock,
    fields,
    say,
    short,
    show,
    show_json,
    show_page,
    table,
)
from contracts.vocabulary import RunOutcome, RunTrigger

app = typer.Typer(no_args_is_help=True, help="Runs of schedules and jobs: list, show, cancel.")

Which = Annotated[str, typer.Argument(metavar="RUN", help="Id, a part of it, or `last`.")]
Outcomes = Annotated[list[RunOutcome] | None, typer.Option(help="Only with this outcome.")]
Triggers = Annotated[list[RunTrigger] | None, typer.Option(help="Only started so.")]

Wait = Annotated[bool, typer.Option("--wait", help="Return when it has ended.")]

LEFT_OUT: Final = ("skipped", "missed", "refused")
UNSUCCESSFUL: Final = (*LEFT_OUT, "failed", "cancelled", "timed_out", "terminated")


def find(api: Api, text: str) -> str:
    """The id of the run that a person named; `last` is the newest but for maintenance."""
    if text == "last":
        newest = api.page("runs", {"job": _jobs_of_teams(api)}, 1)["items"]
        if newest:
            return str(newest[0]["id"])
    return api.resolve("runs", text, "run")


@app.command("list")
def list_(
    schedule: Annotated[str | None, typer.Option(help="Only of this schedule.")] = None,
    job: Annotated[str | None, typer.Option(help="Only of this job.")] = None,
    outcome: Outcomes = None,
    trigger: Triggers = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also runs of the installation's maintenance jobs.")
    ] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first: also times that were skipped, missed or refused."""
    with connected() as api:
        own = not (everything or job or schedule)
        parameters = {
            "schedule_id": None
            if schedule is None
            else api.resolve("schedules", schedule, "schedule"),
            "job": _jobs_of_teams(api) if own else job,
            "outcome": [one.value for one in outcome or ()],
            "trigger": [one.value for one in trigger or ()],
        }
        page = api.page("runs", parameters, limit, cursor)
    show_runs(page, as_json, "No runs. Run a job now: cloudsweep job run NAME")


@app.command("show")
def show_(run: Which, as_json: AsJson = False) -> None:
    """Show a run: when it was due, how it went, and which rule decided."""
    with connected() as api:
        document = api.get(f"runs/{find(api, run)}")
    show(document, as_json, details(document))


@app.command("cancel")
def cancel(run: Which, as_json: AsJson = False) -> None:
    """Stop a run and its work; a scan keeps what was merged."""
    with connected() as api:
        document = api.post(f"runs/{find(api, run)}/cancel")
    if as_json:
        show_json(document)
    else:
        say(f"Run {short(document['id'])} of {document['job']} stops within seconds.")


def _jobs_of_teams(api: Api) -> list[str]:
    """Without the jobs of the installation, one of which runs every minute."""
    jobs = api.page("jobs", {}, 500)["items"]
    return [job["name"] for job in jobs if job["scope"] == "team"]


def show_runs(page: Row, as_json: bool, nothing: str) -> None:
    """A page of runs as a table."""
    rows = table("ID", "*JOB", "TRIGGER", ">DUE (UTC)", "OUTCOME", ">DELAY", ">TOOK", "*WHY")
    for run in page["items"]:
        rows.add_row(
            short(run["id"]),
            cell(run["job"]),
            cell(run["trigger"]),
            in_zone(run["nominal_at"])[4:].removesuffix(" UTC"),
            cell(run["outcome"]),
            clock(run["delay_seconds"]) if run["trigger"] == "schedule" else "-",
            clock(run["duration_seconds"]),
            cell((run["error"] or {}).get("message") or run["reason"]),
        )
    show_page(page, as_json, rows, nothing)


def show_started(api: Api, run: Row, as_json: bool, *, wait: bool) -> None:
    """A run that was just asked for; ends with 1 when a rule left it out, or it did not succeed."""
    if wait:
        run = live.follow_run(api, run)
    show(run, as_json, details(run))
    if run["outcome"] in (LEFT_OUT if not wait else UNSUCCESSFUL):
        raise typer.Exit(FAILED)
    if wait:
        return
    if not as_json and run["scan_id"]:
        say(f"Watch it: cloudsweep scan watch {short(run['scan_id'])}")
    elif not as_json:
        say(f"See how it ends: cloudsweep run show {short(run['id'])}")


def in_a_line(run: Row) -> str:
    """`completed, 2h ago, 3m 05s`."""
    took = f", took {clock(run['duration_seconds'])}" if run["duration_seconds"] else ""
    why = (run["error"] or {}).get("message") or run["reason"]
    return f"{run['outcome']}, {age(run['queued_at'])} ago{took}" + (f": {why}" if why else "")


def details(run: Row) -> Any:
    """Everything of a run that a person may want to know."""
    error, item = run["error"] or {}, run["item"] or {}
    pairs: list[tuple[str, Any]] = [
        ("Run", run["id"]),
        ("Job", run["job"]),
        ("Outcome", cell(run["outcome"])),
        ("Why", run["reason"]),
        ("Error", error.get("message")),
        ("Fix", error.get("fix")),
        ("Trigger", run["trigger"]),
        ("Schedule", run["schedule_id"]),
        ("Item", f"{item['kind']} {item['name']}" if item else None),
        ("Due", in_zone(run["nominal_at"])),
        ("Started", in_zone(run["started_at"]) if run["started_at"] else None),
        ("Took", clock(run["duration_seconds"]) if run["ended_at"] else None),
        *((name.capitalize(), f"{value}") for name, value in _flat(run["summary"] or {})),
        ("Scan", run["scan_id"]),
        ("Web UI", run["temporal_url"]),
    ]
    return fields((name, value) for name, value in pairs if value is not None)


def _flat(summary: Row) -> list[tuple[str, str]]:
    """What a job says it did, a line for each of its parts."""
    lines = []
    for name, value in summary.items():
        if isinstance(value, dict):
            words = [f"{key} {each}" for key, each in value.items() if not isinstance(each, dict)]
            lines += [(name, ", ".join(words))] if words else []
            lines += _flat({key: each for key, each in value.items() if isinstance(each, dict)})
        elif value not in (None, [], ""):
            words = [str(each) for each in value] if isinstance(value, list) else [str(value)]
            lines.append((name, ", ".join(words)))
    return lines
