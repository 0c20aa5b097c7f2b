"""`cloudsweep schedule`: what recurs, when, and what becomes of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from commands import accounts, removal, runs
from commands.client import Api, Row, connected
from commands.moments import in_zone, moment, until
from commands.option_values import wrong
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    cell,
    console,
    plain,
    say,
    short,
    show,
    show_json,
    show_page,
    table,
)
from commands.scans import account_names
from commands.schedule_details import details, sentence, target_in_words, zone_of_schedule
from commands.schedule_options import (
    Options,
    params_of,
    taking,
    target_of,
    timing_of,
    what,
    when,
)
from contracts.vocabulary import OverlapPolicy, RunOutcome, ScheduleStatus

app = typer.Typer(
    no_args_is_help=True, help="Schedules: scans and jobs that recur, or run at a time."
)

Name = Annotated[str, typer.Argument(help="A name for it, unique in the team.")]
Which = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name, id or a part of the id.")]
Note = Annotated[str | None, typer.Option(help="A note that is kept with it.")]

NO_TRIGGER: Final = (
    "It needs a time.",
    "Give --cron '0 2 * * *', --every 24h, --at '2026-12-01 02:00' or --on-expiry KIND.",
)
NO_TARGET: Final = (
    "It needs something to do.",
    "Name an account to scan, or a job: --job NAME --param KEY=VALUE.",
)


def find(api: Api, text: str) -> str:
    """The id of the schedule that a person named."""
    return api.resolve("schedules", text, "schedule")


@app.command("add")
@taking(when, what)
def add(
    name: Name,
    options: Options,
    paused: Annotated[bool, typer.Option("--paused", help="Do not fire yet.")] = False,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Add a schedule: an account to scan or --job, and one of --cron, --every, --at, --on-expiry.

    Prints in words what will happen, and when next.
    """
    with connected() as api:
        body = _definition(api, name, options) | {"paused": paused}
        body |= {"note": note} if note else {}
        schedule = api.post("schedules", body)
        show(schedule, as_json, *_summary(api, schedule, as_json))
    if not as_json:
        say(f"See what becomes of it: cloudsweep schedule runs {schedule['name']}")


@app.command("preview")
@taking(when, what)
def preview(
    options: Options,
    name: Annotated[str, typer.Option(help="The name it would have.")] = "preview",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="Times.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule would fire, without saving it. Takes the options of `add`."""
    with connected() as api:
        body = _definition(api, name, options)
        document = api.post(f"schedules/preview?count={count}", body)
    if as_json:
        show_json(document)
        return
    zone = body["trigger"].get("timezone", "UTC")
    out = console()
    out.print(plain(sentence(document["in_words"])))
    for time in document["next_runs"]:
        out.print(f"  {in_zone(time, zone)}  ({until(time)})")
    if not document["next_runs"] and body["trigger"]["type"] == "expiry":
        out.print("  It fires as items expire: cloudsweep item list")
    for warning in document["warnings"]:
        out.print(cell(f"Note: {warning}", "yellow"), soft_wrap=True)


@app.command("list")
def list_(
    status: Annotated[
        list[ScheduleStatus] | None, typer.Option(help="Only with this status.")
    ] = None,
    job: Annotated[str | None, typer.Option(help="Only of this job, such as cloud_scan.")] = None,
    account: Annotated[str | None, typer.Option(help="Only for this account.")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Only these: cron, interval, one_time, expiry.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List schedules, with their next and their last run."""
    with connected() as api:
        parameters = {
            "status": [one.value for one in status or ()],
            "job": job,
            "account_id": None if account is None else accounts.find(api, account),
            "trigger": trigger,
        }
        page = api.page("schedules", parameters, limit, cursor)
        names = {} if as_json else account_names(api)
    rows = table("ID", "*NAME", "STATUS", "*RUNS", "*WHEN", ">NEXT", "LAST", ">FIRED", ">FAILED")
    late = []
    for schedule in page["items"]:
        last = schedule["last_run"]
        upcoming = schedule["next_runs"]
        rows.add_row(
            short(schedule["id"]),
            cell(schedule["name"]),
            cell(schedule["status"]),
            cell(target_in_words(schedule["target"], names)),
            cell(schedule["in_words"].split("; ")[0]),
            "late" if schedule["late"] else until(upcoming[0] if upcoming else None),
            cell(last["outcome"] if last else None),
            str(schedule["counters"]["fired"]),
            str(schedule["counters"]["failed"]),
        )
        if schedule["late"]:
            late.append(f"{schedule['name']} is late: {schedule['late_reason']}")
    nothing = "No schedules. Add one: cloudsweep schedule add NAME ACCOUNT --cron '0 2 * * *'"
    show_page(page, as_json, rows, nothing)
    if not as_json:
        for words in late:
            say(words)


@app.command("show")
def show_(schedule: Which, as_json: AsJson = False) -> None:
    """Show a schedule: in words, its next times, its last run, its counters."""
    with connected() as api:
        document = api.get(f"schedules/{find(api, schedule)}")
        names = {} if as_json else account_names(api)
    show(document, as_json, details(document, names))


@app.command("change")
@taking(when, what)
def change(
    which: Which,
    options: Options,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    account: Annotated[str | None, typer.Option(help="Scan this account.")] = None,
    note: Note = None,
    no_starts: Annotated[bool, typer.Option("--no-starts", help="From now on.")] = False,
    no_ends: Annotated[bool, typer.Option("--no-ends", help="Without an end.")] = False,
    no_max_runs: Annotated[bool, typer.Option("--no-max-runs", help="Without a limit.")] = False,
    no_exclude: Annotated[bool, typer.Option("--no-exclude", help="Exclude nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a schedule; what is not named stays as it is, and a paused one stays paused.

    The exclusions that are named replace those it had.
    """
    with connected() as api:
        schedule_id = find(api, which)
        current = api.get(f"schedules/{schedule_id}")
        zone = current["trigger"].get("timezone", "UTC")
        body = timing_of(options, zone)
        if options["timezone"] and "trigger" not in body and "timezone" in current["trigger"]:
            body["trigger"] = current["trigger"] | {"timezone": options["timezone"]}
        target = _changed_target(api, current["target"], options | {"account": account})
        body |= {"target": target} if target else {}
        body |= {} if name is None else {"name": name}
        body |= {"note": note} if note is not None else {}
        for option, field, clear, kept in (
            ("starts", "starts_at", no_starts, None),
            ("ends", "ends_at", no_ends, None),
            ("max-runs", "max_runs", no_max_runs, None),
            ("exclude", "exclude", no_exclude, []),
        ):
            if clear and field in body:
                raise wrong(f"--{option} and --no-{option} do not go together.", "Give one.")
            body |= {field: kept} if clear else {}
        if not body:
            raise wrong("Name what to change.")
        schedule = api.patch(f"schedules/{schedule_id}", body)
        show(schedule, as_json, *_summary(api, schedule, as_json))


@app.command("pause")
def pause(schedule: Which, note: Note = None, as_json: AsJson = False) -> None:
    """Fire nothing until it is resumed; a run that is going goes on."""
    _steer(schedule, "pause", note, as_json)


@app.command("resume")
def resume(schedule: Which, note: Note = None, as_json: AsJson = False) -> None:
    """Fire again from the next time on; what was due meanwhile is not made up for."""
    _steer(schedule, "resume", note, as_json)


@app.command("trigger")
def trigger(
    schedule: Which,
    overlap: Annotated[
        OverlapPolicy | None,
        typer.Option(help="If the last run has not ended; else as the schedule says."),
    ] = None,
    wait: runs.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Run a schedule now, whatever its times. Exit code 1 when a rule left the run out.

    With --wait also when it failed or was cancelled.
    """
    with connected() as api:
        body = {"overlap": overlap.value} if overlap else {}
        run = api.post(f"schedules/{find(api, schedule)}/trigger", body)
        runs.show_started(api, run, as_json, wait=wait)


@app.command("backfill")
def backfill(
    schedule: Which,
    start: Annotated[str, typer.Option(help="The first time, such as '2026-12-01 02:00'.")],
    end: Annotated[str, typer.Option(help="The last time; both count.")],
    timezone: Annotated[
        str | None, typer.Option(help="Of times without an offset; else the schedule's.")
    ] = None,
    overlap: Annotated[
        OverlapPolicy, typer.Option(help="Between these runs, and with others.")
    ] = OverlapPolicy.QUEUE,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Also times at which a run started already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the times.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a schedule for times that have passed, one after the other."""
    with connected() as api:
        document = api.get(f"schedules/{find(api, schedule)}")
        zone = timezone or document["trigger"].get("timezone", "UTC")
        body = {
            "start": moment(start, "--start", zone),
            "end": moment(end, "--end", zone),
            "overlap": overlap.value,
            "rerun": rerun,
            "dry_run": dry_run,
        }
        answer = api.post(f"schedules/{document['id']}/backfill", body)
    if as_json:
        show_json(answer)
        return
    for time in answer["times"]:
        console().print(in_zone(time, zone))
    count = len(answer["times"])
    ran = f", {answer['already_ran']} ran already" if answer["already_ran"] else ""
    if dry_run:
        say(f"{count} would run{ran}.")
    elif not count:
        say(f"Nothing to run{ran}; --rerun runs them again.")
    else:
        say(f"{count} started{ran}: cloudsweep schedule runs {document['name']}")


@app.command("runs")
def runs_(
    schedule: Which,
    outcome: Annotated[list[RunOutcome] | None, typer.Option(help="Only these.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List what became of each of its times, newest first."""
    with connected() as api:
        parameters = {"outcome": [one.value for one in outcome or ()]}
        page = api.page(f"schedules/{find(api, schedule)}/runs", parameters, limit, cursor)
    runs.show_runs(page, as_json, "No runs yet.")


@app.command("remove")
def remove(
    schedule: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a schedule; its runs stay in the record."""
    with connected() as api:
        removal.remove(api, f"schedules/{find(api, schedule)}", yes=yes, as_json=as_json)


def _definition(api: Api, name: str, options: Options) -> Row:
    body = timing_of(options)
    if "trigger" not in body:
        raise wrong(*NO_TRIGGER)
    target = target_of(api, options)
    if target is None:
        raise wrong(*NO_TARGET)
    return {"name": name, "target": target, **body}


def _changed_target(api: Api, current: Row, options: Options) -> Row | None:
    """The new target: what the options say, over what it is."""
    if options["param"] and not options["job"] and current["kind"] == "job":
        return current | {"params": current["params"] | params_of(api, options["param"])}
    if options["job"] is not None or current["kind"] != "cloud_scan":
        return target_of(api, options)
    account = current["account_id"] if options["account"] is None else options["account"]
    asked = target_of(api, options | {"account": account})
    if asked is None or asked == {
        "kind": "cloud_scan",
        "account_id": current["account_id"],
        "options": {},
    }:
        return None
    return asked | {"options": current["options"] | asked["options"]}


def _steer(which: str, action: str, note: str | None, as_json: bool) -> None:
    with connected() as api:
        body = {"note": note} if note else {}
        document = api.post(f"schedules/{find(api, which)}/{action}", body)
    if as_json:
        show_json(document)
        return
    upcoming = document["next_runs"]
    when_next = f" Next: {in_zone(upcoming[0], zone_of_schedule(document))}." if upcoming else ""
    say(f"Schedule {document['name']} is {document['status']}.{when_next}")


def _summary(api: Api, schedule: Row, as_json: bool) -> list[Any]:
    return [] if as_json else [details(schedule, account_names(api))]
