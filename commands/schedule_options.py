"""The options that say when a schedule fires and what it does: shared by add, preview, change."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from commands import accounts
from commands.client import Api, Row
from commands.moments import moment, seconds
from commands.option_values import list_of, pairs_of, tools_of, wrong
from contracts.vocabulary import OverlapPolicy

Options = dict[str, Any]


def when(
    cron: Annotated[
        list[str] | None,
        typer.Option(help="Five fields of cron or @daily; may be given several times."),
    ] = None,
    every: Annotated[str | None, typer.Option(help="An interval, such as 90m or 24h.")] = None,
    offset: Annotated[str | None, typer.Option(help="Shifts --every, such as 15m.")] = None,
    at: Annotated[
        str | None, typer.Option(help="Once, at this time, such as '2026-12-01 02:00'.")
    ] = None,
    on_expiry: Annotated[
        str | None, typer.Option(metavar="KIND", help="When tracked items of this kind expire.")
    ] = None,
    lead: Annotated[
        str | None, typer.Option(help="So long before they expire; else each item's own lead.")
    ] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help="Only items with this attribute."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="IANA name, of --cron and of times without an offset.")
    ] = None,
    starts: Annotated[str | None, typer.Option(help="Not before this time.")] = None,
    ends: Annotated[str | None, typer.Option(help="Not after this time.")] = None,
    max_runs: Annotated[int | None, typer.Option(help="Finished after so many runs.")] = None,
    jitter: Annotated[
        str | None, typer.Option(help="Start up to so much later, by chance, such as 5m.")
    ] = None,
    exclude_date: Annotated[
        list[str] | None,
        typer.Option(metavar="DATE", help="Not on 2026-12-25, or on 12-25 of every year."),
    ] = None,
    exclude_window: Annotated[
        list[str] | None,
        typer.Option(metavar="WINDOW", help="Not within '22:00-06:00', 'sat,sun 08:00-20:00'."),
    ] = None,
    exclude_period: Annotated[
        list[str] | None,
        typer.Option(metavar="START/END", help="Not from this time until before that."),
    ] = None,
    overlap: Annotated[
        OverlapPolicy | None, typer.Option(help="If the last run has not ended; else skip.")
    ] = None,
    catchup: Annotated[
        str | None, typer.Option(help="Drop runs missed by more than this; else 1h.")
    ] = None,
    pause_after: Annotated[
        int | None, typer.Option(help="Pause after so many failures in a row; 0: never.")
    ] = None,
) -> None:
    """When it fires, and what happens if a run cannot start."""


def what(
    account: Annotated[
        str | None,
        typer.Argument(metavar="ACCOUNT", help="The account to scan: name or id."),
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="Run this job instead of a scan; see `job list`.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of --job.")
    ] = None,
    regions: Annotated[str | None, typer.Option(help="Only these regions, with commas.")] = None,
    services: Annotated[str | None, typer.Option(help="Only these services, with commas.")] = None,
    checks: Annotated[str | None, typer.Option(help="Only these checks, with commas.")] = None,
    frameworks: Annotated[
        str | None, typer.Option(help="Only the checks of these frameworks, with commas.")
    ] = None,
    discovery: Annotated[
        bool | None, typer.Option("--discovery/--no-discovery", help="Read the inventory.")
    ] = None,
    compliance: Annotated[
        bool | None, typer.Option("--compliance/--no-compliance", help="Run the checks.")
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(help="Only these native tools on a cluster, with commas; `none`: no tool."),
    ] = None,
) -> None:
    """What it does: scan an account, or run a job."""


def taking(*groups: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these groups; it gets them as one dict, `options`."""
    given = [parameter for group in groups for parameter in _parameters(group)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in _parameters(command) if each.name != "options"]
        shared = [each for each in given if each.name not in {one.name for one in own}]

        @wraps(command)
        def run(**values: Any) -> None:
            options = {each.name: values.pop(each.name) for each in shared}
            command(**values, options=options)

        # Required ones are arguments and come first; --json, as everywhere, last.
        first = [each for each in own if each.default is inspect.Parameter.empty]
        parameters = [*first, *shared, *(each for each in own if each not in first)]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what Typer reads
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def target_of(api: Api, options: Options) -> Row | None:
    """The target that the options describe; None when none of them was given."""
    scope: Row = {
        name: list_of(options[name])
        for name in ("regions", "services", "checks", "frameworks")
        if options[name] is not None
    }
    scope |= {
        name: options[name] for name in ("discovery", "compliance") if options[name] is not None
    }
    if options["tools"] is not None:
        scope["tools"] = tools_of(options["tools"])
    if options["job"] is not None:
        if options["account"] is not None or scope:
            raise wrong("--job takes --param; an account and a scope are for scans.")
        params = params_of(api, options["param"])
        return {"kind": "job", "job": options["job"], "params": params}
    if options["param"]:
        raise wrong("--param belongs to --job.")
    if options["account"] is not None:
        account_id = accounts.find(api, options["account"])
        return {"kind": "cloud_scan", "account_id": account_id, "options": scope}
    if scope:
        raise wrong("The scope of a scan needs its account.", "Name the account as well.")
    return None


def params_of(api: Api, pairs: list[str] | None) -> Row:
    """`key=value` pairs; values are read as JSON where they are JSON, and accounts by name."""
    import json

    params: Row = {}
    for name, text in pairs_of(pairs, "--param").items():
        if name == "account_id":
            params[name] = accounts.find(api, text)
            continue
        try:
            params[name] = json.loads(text)
        except ValueError:
            params[name] = text
    return params


def timing_of(options: Options, timezone: str = "UTC") -> Row:
    """The fields of a schedule that the options set; those left out are not in it."""
    zone = options["timezone"] or timezone
    fields: Row = {
        "trigger": _trigger_of(options, zone),
        "starts_at": _moment(options, "starts", zone),
        "ends_at": _moment(options, "ends", zone),
        "max_runs": options["max_runs"],
        "jitter_seconds": _seconds(options, "jitter"),
        "catchup_seconds": _seconds(options, "catchup"),
        "exclude": _exclusions_of(options, zone) or None,
        "overlap": options["overlap"].value if options["overlap"] else None,
        "pause_after_failures": options["pause_after"],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _trigger_of(options: Options, zone: str) -> Row | None:
    triggers = {
        "--cron": options["cron"],
        "--every": options["every"],
        "--at": options["at"],
        "--on-expiry": options["on_expiry"],
    }
    given = [name for name, value in triggers.items() if value]
    if len(given) > 1:
        raise wrong(f"{' and '.join(given)} do not go together.", "Make a schedule of each.")
    for option, owner in (
        ("offset", "--every"),
        ("lead", "--on-expiry"),
        ("filter_", "--on-expiry"),
    ):
        if options[option] and given != [owner]:
            raise wrong(f"--{option.rstrip('_')} belongs to {owner}.")
    match given:
        case ["--cron"]:
            crons = options["cron"]
            cron = crons[0] if len(crons) == 1 else crons
            return {"type": "cron", "cron": cron, "timezone": zone}
        case ["--every"]:
            every = {"type": "interval", "every_seconds": _seconds(options, "every")}
            offset = _seconds(options, "offset")
            return every | ({"offset_seconds": offset} if offset else {})
        case ["--at"]:
            return {"type": "one_time", "at": _moment(options, "at", zone)}
        case ["--on-expiry"]:
            expiry = {"type": "expiry", "item_kind": options["on_expiry"]}
            lead = _seconds(options, "lead")
            expiry |= {"lead_seconds": lead} if lead is not None else {}
            only = pairs_of(options["filter_"], "--filter")
            return expiry | ({"filter": only} if only else {})
        case _:
            return None


def _exclusions_of(options: Options, zone: str) -> list[Row]:
    found: list[Row] = []
    if options["exclude_date"]:
        found.append({"type": "dates", "dates": options["exclude_date"]})
    for window in options["exclude_window"] or ():
        days, _, hours = window.rpartition(" ")
        start, dash, end = hours.partition("-")
        if not dash:
            raise wrong(
                f"--exclude-window: `{window}` is not a window.",
                "Write it like '22:00-06:00', or 'sat,sun 08:00-20:00'.",
            )
        on = {"days": [day.strip().lower() for day in days.split(",")]} if days else {}
        found.append({"type": "window", "start": start, "end": end, **on})
    for period in options["exclude_period"] or ():
        first, slash, last = period.partition("/")
        if not slash:
            raise wrong(f"--exclude-period: `{period}` is not of the form START/END.")
        found.append(
            {
                "type": "period",
                "start": moment(first, "--exclude-period", zone),
                "end": moment(last, "--exclude-period", zone),
            }
        )
    local = options["exclude_date"] or options["exclude_window"]
    if local and zone != "UTC" and (options["every"] or options["at"]):
        raise wrong(
            "Only --cron excludes dates and windows in a time zone; the others do in UTC.",
            "Use --cron, or leave out --timezone and say them in UTC.",
        )
    return found


def _moment(options: Options, name: str, zone: str) -> str | None:
    text = options[name]
    return None if text is None else moment(text, f"--{name}", zone)


def _seconds(options: Options, name: str) -> int | None:
    text = options[name]
    return None if text is None else seconds(text, f"--{name}")
