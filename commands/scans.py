"""`cloudsweep scan`: start, follow and steer scans."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import typer

from commands import accounts, scopes, targets
from commands.client import Api, Row, connected
from commands.live import OF_THE_TEAM
from commands.option_values import list_of, tools_of
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
from contracts.vocabulary import ScanKind, ScanStatus, TriggerKind

app = typer.Typer(no_args_is_help=True, help="Scans: start, watch, pause, resume, cancel.")

TARGETS_NAMED = 5
"""Targets of a scan that are told by name; of more their number is told."""

Which = Annotated[str, typer.Argument(metavar="SCAN", help="Id, or a part of it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show the progress until it ends.")]


def find(api: Api, text: str) -> str:
    """The id of the scan that a person named; `last` is the newest."""
    if text == "last":
        newest = api.page("scans", {}, 1)["items"]
        if newest:
            return str(newest[0]["id"])
    return api.resolve("scans", text, "scan")


@app.command("start")
def start(
    account: accounts.Which,
    regions: Annotated[str | None, typer.Option(help="Only these regions, with commas.")] = None,
    services: Annotated[str | None, typer.Option(help="Only these services, with commas.")] = None,
    checks: Annotated[str | None, typer.Option(help="Only these checks, with commas.")] = None,
    frameworks: Annotated[
        str | None, typer.Option(help="Only the checks of these frameworks, with commas.")
    ] = None,
    discovery: Annotated[
        bool, typer.Option("--discovery/--no-discovery", help="Read the inventory.")
    ] = True,
    compliance: Annotated[
        bool, typer.Option("--compliance/--no-compliance", help="Run the checks.")
    ] = True,
    tools: Annotated[
        str | None,
        typer.Option(help="Only these native tools on a cluster, with commas; `none`: no tool."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key gives the same scan.")
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Start a scan of an account; without options, of all of it.

    With --wait the exit code is 1 when the scan failed or was cancelled.
    """
    scope = {
        "regions": list_of(regions),
        "services": list_of(services),
        "checks": list_of(checks),
        "frameworks": list_of(frameworks),
    }
    with connected() as api:
        body: Row = {
            "account_id": accounts.find(api, account),
            "discovery": discovery,
            "compliance": compliance,
            **{name: value for name, value in scope.items() if value is not None},
        }
        if tools is not None:
            body["tools"] = tools_of(tools)
        _start(api, "scans", body, idempotency_key, wait, as_json)


@app.command("native")
def native(
    target: Annotated[list[str], typer.Argument(metavar="TARGET", help="Ids, or values.")],
    tool: Annotated[
        list[str] | None, typer.Option(help="Only this tool; `scanners list` shows them.")
    ] = None,
    policy: Annotated[str, typer.Option(help="How hard: see `cloudsweep policy list`.")] = "normal",
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key gives the same scan.")
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Start a scan of targets: hosts, URLs, images, repositories.

    Without --tool: with every tool that suits the target and is installed. With --wait the exit
    code is 1 when the scan failed or was cancelled.
    """
    with connected() as api:
        body: Row = {"targets": [targets.find(api, each) for each in target], "policy": policy}
        body |= {"tools": tool} if tool else {}
        _start(api, "scans/native", body, idempotency_key, wait, as_json)


@app.command("hybrid")
def hybrid(
    scope: Annotated[
        list[str] | None, typer.Option(help="Only the networks of this scope: name or id.")
    ] = None,
    policy: Annotated[str, typer.Option(help="How hard: see `cloudsweep policy list`.")] = "normal",
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key gives the same scan.")
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Look who answers in approved networks; join that with inventory and targets into assets."""
    with connected() as api:
        body: Row = {"policy": policy}
        body |= {"scopes": [scopes.find(api, each) for each in scope]} if scope else {}
        _start(api, "scans/hybrid", body, idempotency_key, wait, as_json)


def _start(
    api: Api, path: str, body: Row, idempotency_key: str | None, wait: bool, as_json: bool
) -> None:
    scan = api.post(path, body, {"Idempotency-Key": idempotency_key or f"cli-{uuid4()}"})
    if wait:
        follow_to_end(api, scan, as_json)
        return
    _show(api, scan, as_json)
    if not as_json:
        say(f"Watch it: cloudsweep scan watch {short(scan['id'])}")


@app.command("list")
def list_(
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    status: Annotated[list[ScanStatus] | None, typer.Option(help="Only with this status.")] = None,
    trigger: Annotated[list[TriggerKind] | None, typer.Option(help="Only started so.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List scans, newest first."""
    with connected() as api:
        parameters = {
            "account_id": None if account is None else accounts.find(api, account),
            "status": [one.value for one in status or ()],
            "trigger": [one.value for one in trigger or ()],
        }
        page = api.page("scans", parameters, limit, cursor)
        names = {} if as_json else account_names(api)
    rows = table("ID", "*ACCOUNT", "STATUS", ">DONE", ">TOOK", ">NEW", ">RESOLVED", ">AGE")
    for scan in page["items"]:
        found = scan["counts"]["findings"]
        rows.add_row(
            short(scan["id"]),
            cell(OF_THE_TEAM.get(scan["kind"]) or _account(scan, names)),
            cell(scan["status"]),
            f"{scan['progress']:.0f} %",
            clock(scan["duration_seconds"]),
            str(found["new"]),
            str(found["resolved"]),
            age(scan["queued_at"]),
        )
    show_page(page, as_json, rows, "No scans. Start one: cloudsweep scan start ACCOUNT")


def _account(scan: Row, names: dict[str, str]) -> str:
    return names.get(scan["account_id"], short(scan["account_id"]))


def account_names(api: Api) -> dict[str, str]:
    """Id -> name, for tables."""
    return {row["id"]: row["name"] for row in api.page("accounts", {}, 500)["items"]}


@app.command("show")
def show_(scan: Which, as_json: AsJson = False) -> None:
    """Show a scan: where it stands, what it found, why it failed."""
    with connected() as api:
        _show(api, api.get(f"scans/{find(api, scan)}"), as_json)


@app.command("tasks")
def tasks(
    scan: Which,
    limit: Limit = 500,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List a scan's shards: state, coverage, failures."""
    with connected() as api:
        page = api.page(f"scans/{find(api, scan)}/tasks", {}, limit, cursor)
    rows = table("*SHARD", "KIND", "STATUS", ">DONE", ">TRY", ">ROWS", ">CHECKS")
    notes = []
    for task in page["items"]:
        covered = task["coverage"]
        rows.add_row(
            cell(task["key"]),
            cell(task["kind"]),
            cell(task["status"]),
            f"{task['progress']:.0f} %",
            str(task["attempt"]),
            str(task["rows"]),
            f"{covered['run']}/{covered['planned']}" if covered else "-",
        )
        if task["error"]:
            notes.append(f"{task['key']}: {task['error']['message']}")
        notes += [
            f"{task['key']}: {problem['service']} {problem['region'] or ''}: "
            f"{problem['error_class']}, {problem['count']} times. {problem['message']}"
            for problem in (covered or {}).get("problems", ())
            if problem["error_class"] != "not_implemented"
        ]
    show_page(page, as_json, rows, "This scan has no shards yet.")
    if not as_json:
        for note in notes:
            say(note)


@app.command("cancel")
def cancel(scan: Which, as_json: AsJson = False) -> None:
    """Stop a scan; what it merged stays, and resume runs the rest."""
    _steer(scan, "cancel", "It stops within seconds; what was merged stays.", as_json)


@app.command("pause")
def pause(scan: Which, as_json: AsJson = False) -> None:
    """Start no new shards; those that run go on to their end."""
    _steer(scan, "pause", "It starts no new shards; those that run go on to their end.", as_json)


@app.command("resume")
def resume(scan: Which, as_json: AsJson = False) -> None:
    """Go on: also with what an ended scan left undone, or was throttled or cut off in."""
    _steer(scan, "resume", "It goes on.", as_json)


@app.command("watch")
def watch(scan: Which, as_json: AsJson = False) -> None:
    """Show a scan's progress until it ends."""
    with connected() as api:
        follow_to_end(api, api.get(f"scans/{find(api, scan)}"), as_json)


def _steer(scan: str, action: str, words: str, as_json: bool) -> None:
    with connected() as api:
        document = api.post(f"scans/{find(api, scan)}/{action}")
    if as_json:
        show_json(document)
    else:
        say(f"Scan {short(document['id'])}: {words}")


def follow_to_end(api: Api, scan: Row, as_json: bool) -> None:
    """Show a scan until it ends; exit code 1 when it failed or was cancelled."""
    from commands.live import follow

    scan = follow(api, scan, quiet=as_json)
    _show(api, scan, as_json)
    if scan["status"] in (ScanStatus.FAILED, ScanStatus.CANCELLED):
        raise typer.Exit(1)
    if not as_json:
        reading = "finding list --status fail"
        if scan["kind"] == ScanKind.HYBRID:
            reading = "asset list --standing unmanaged"
        say(f"Next: cloudsweep {reading}   or   cloudsweep scan tasks {short(scan['id'])}")


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else "no"


def _follows(trigger: Row) -> str | None:
    if trigger["kind"] != TriggerKind.CASCADE:
        return None
    root, parent = trigger["root_scan_id"], trigger["parent_scan_id"]
    begun = "" if root == parent else f", in the chain of scan {root}"
    return f"scan {parent}, by the rule {trigger['rule']}{begun}"


def _show(api: Api, scan: Row, as_json: bool) -> None:
    """The scan as it is, or as a person reads it: with its targets by their values."""
    ids = [] if as_json else scan["options"].get("targets") or []
    names = [api.get(f"targets/{each}")["value"] for each in ids[:TARGETS_NAMED]]
    if len(ids) > len(names):
        names.append(f"{len(ids) - len(names)} more")
    options = {**scan["options"], "targets": names} if names else scan["options"]
    show(scan, as_json, _details(scan, options))


def _details(scan: Row, shown: Row) -> Any:
    options = [
        f"{name}: {_in_words(value)}" for name, value in shown.items() if value not in (None, True)
    ]
    error = scan["error"] or {}
    counts, found = scan["counts"], scan["counts"]["findings"]
    shards = counts["tasks"]
    findings = (
        f"{found['new']} new, {found['changed']} changed, {found['resolved']} resolved, "
        f"{found['unchanged']} unchanged"
    )
    pairs: list[tuple[str, Any]] = [
        ("Scan", scan["id"]),
        ("Status", cell(scan["status"])),
        ("Follows", _follows(scan["trigger"])),
        ("Waits for", scan["waiting_for"]),
        ("Error", error.get("message")),
        ("Fix", error.get("fix")),
        (
            "Progress",
            f"{scan['progress']:.0f} %, {shards['done']} of {shards['total']} shards done",
        ),
        ("Failed shards", str(shards["failed"]) if shards["failed"] else None),
        ("Took", clock(scan["duration_seconds"]) if scan["duration_seconds"] else None),
        ("Resources", str(counts["resources"]) if scan["kind"] not in OF_THE_TEAM else None),
        ("Findings", None if scan["kind"] == ScanKind.HYBRID else findings),
        ("Scope", "; ".join(options) or "everything"),
        *(("Note", note) for note in scan.get("notes", ())),
        ("Web UI", scan["temporal_url"]),
    ]
    return fields((name, value) for name, value in pairs if value is not None)
