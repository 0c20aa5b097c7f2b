"""`cloudsweep job`: everything that can recur; run one now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import accounts, runs
from commands.client import Row, connected
from commands.moments import duration
from commands.option_values import wrong
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    cell,
    fields,
    show,
    show_page,
    table,
)
from commands.schedule_options import params_of

app = typer.Typer(no_args_is_help=True, help="Jobs that can recur: list, show, run now.")

Which = Annotated[str, typer.Argument(metavar="JOB", help="A name that `job list` shows.")]


@app.command("list")
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List the jobs that a schedule or a person can start."""
    with connected() as api:
        page = api.page("jobs", {}, limit, cursor)
    rows = table("NAME", "SCOPE", "*WHAT IT DOES", "PARAMETERS", "BY DEFAULT", "LAST")
    for job in page["items"]:
        last = job["last_run"]
        rows.add_row(
            cell(job["name"]),
            cell(job["scope"]),
            cell(job["description"]),
            cell(", ".join(_required(job))),
            cell(_default(job)),
            cell(last["outcome"] if last else None),
        )
    show_page(page, as_json, rows, "No jobs.")


@app.command("show")
def show_(job: Which, as_json: AsJson = False) -> None:
    """Show a job: what it does, and the parameters it takes."""
    with connected() as api:
        document = api.get(f"jobs/{job}")
    show(document, as_json, _details(document))


@app.command("run")
def run(
    job: Which,
    account: Annotated[str | None, typer.Option(help="The account, for jobs of one.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the job.")
    ] = None,
    wait: runs.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Run a job once, now. Exit code 1 when a rule left the run out.

    With --wait also when it failed or was cancelled.
    """
    with connected() as api:
        params = params_of(api, param)
        if account is not None:
            if "account_id" in params:
                raise wrong("--account and --param account_id=… say the same.", "Give one of them.")
            params["account_id"] = accounts.find(api, account)
        started = api.post(f"jobs/{job}/runs", {"params": params})
        runs.show_started(api, started, as_json, wait=wait)


@app.command("runs")
def runs_(
    job: Which,
    outcome: runs.Outcomes = None,
    trigger: runs.Triggers = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a job, newest first, whatever started them."""
    with connected() as api:
        parameters = {
            "outcome": [one.value for one in outcome or ()],
            "trigger": [one.value for one in trigger or ()],
        }
        page = api.page(f"jobs/{job}/runs", parameters, limit, cursor)
    runs.show_runs(page, as_json, f"No runs yet. Run it now: cloudsweep job run {job}")


def _required(job: Row) -> list[str]:
    return list(job["params_schema"].get("required", ()))


def _default(job: Row) -> str | None:
    if job["default"] is None:
        return None
    trigger = job["default"]["trigger"]
    every = trigger.get("every_seconds")
    return f"every {duration(every)}" if every else str(trigger.get("cron"))


def _details(job: Row) -> Any:
    schema, required = job["params_schema"], _required(job)
    pairs: list[tuple[str, Any]] = [
        ("Job", job["name"]),
        ("Does", job["description"]),
        ("For", "the whole installation" if job["scope"] == "installation" else "a team"),
        *(
            ("Parameter", f"{name}{' (required)' if name in required else ''}{_of(about)}")
            for name, about in schema.get("properties", {}).items()
        ),
        ("By default", _default(job)),
        ("Takes at most", duration(int(job["timeout_seconds"]))),
        ("Queue", job["task_queue"]),
        ("Last run", runs.in_a_line(job["last_run"]) if job["last_run"] else "none yet"),
    ]
    return fields((name, value) for name, value in pairs if value is not None)


def _of(about: Row) -> str:
    kinds = [about, *about.get("anyOf", ())]
    kind = next((str(each["type"]) for each in kinds if each.get("type")), "")
    words = about.get("description")
    return (f", {kind}" if kind else "") + (f": {words}" if words else "")
