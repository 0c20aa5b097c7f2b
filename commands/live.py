"""A scan as it runs: bars and shards on a terminal, a line at each change elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from commands.client import UNREACHABLE, Api, Failure, Row
from commands.output import cell, clock, console, plain, say, short
from contracts.vocabulary import RunOutcome, ScanKind, ScanStatus, TaskKind, TaskStatus

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

OF_THE_TEAM: Final = {ScanKind.NATIVE: "targets", ScanKind.HYBRID: "assets"}
"""Scans of no account and no inventory, and what they are called where an account's name stands."""

LOOK_EVERY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 300.0
"""How long the API may be away before watching ends; the scan itself goes on without it."""

SHARDS_SHOWN: Final = 8
INTERRUPTED: Final = 130  # what a shell reports for Ctrl-C

TITLES = {TaskKind.DISCOVERY: "Inventory", TaskKind.COMPLIANCE: "Checks", TaskKind.NATIVE: "Tools"}


def follow(api: Api, scan: Row, *, quiet: bool = False) -> Row:
    """Show the scan until it ends and return it; Ctrl-C leaves it running."""
    identity = scan["id"]
    output = console(stderr=True)
    is_live = output.is_terminal and not quiet
    view = _live() if is_live else None
    context: AbstractContextManager[Live | None] = view or nullcontext()
    last_line = ""
    try:
        with context:
            while True:
                tasks = _tasks(api, identity)
                scan = _patiently(api, f"scans/{identity}")
                if view is not None:
                    view.update(_picture(scan, tasks))
                elif not quiet and (line := _line(scan, tasks)) != last_line:
                    last_line = line
                    say(f"{datetime.now(UTC):%H:%M:%S} {line}")
                if ScanStatus(scan["status"]).ended:
                    return scan
                time.sleep(LOOK_EVERY_SECONDS)
    except KeyboardInterrupt:
        part = short(identity)
        say(f"The scan goes on. Watch it: cloudsweep scan watch {part}")
        say(f"Stop it: cloudsweep scan cancel {part}")
        raise typer.Exit(INTERRUPTED) from None


def follow_run(api: Api, run: Row) -> Row:
    """The run once it has ended, a line at each change; Ctrl-C leaves it running."""
    last = ""
    try:
        while not RunOutcome(run["outcome"]).ended:
            words = f"{run['outcome']}: {run['reason']}" if run["reason"] else run["outcome"]
            if words != last:
                last = words
                say(f"{datetime.now(UTC):%H:%M:%S} {words}")
            time.sleep(LOOK_EVERY_SECONDS)
            run = _patiently(api, f"runs/{run['id']}")
    except KeyboardInterrupt:
        say(f"The run goes on. See how it ends: cloudsweep run show {short(run['id'])}")
        raise typer.Exit(INTERRUPTED) from None
    return run


def _patiently(api: Api, path: str, parameters: Row | None = None) -> Row:
    """GET, again and again while the API is away: it restarts, the scan goes on."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return api.get(path, parameters)
        except Failure as failure:
            if failure.code != UNREACHABLE or time.monotonic() > give_up_at:
                raise
            time.sleep(LOOK_EVERY_SECONDS)


def _tasks(api: Api, identity: str) -> list[Row]:
    found: list[Row] = []
    cursor: str | None = None
    while True:
        page = _patiently(api, f"scans/{identity}/tasks", {"limit": 500, "cursor": cursor})
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _live() -> Live:
    from rich.live import Live

    return Live(console=console(stderr=True), refresh_per_second=4, transient=True)


def _ended(task: Row) -> bool:
    return task["status"] not in (TaskStatus.PENDING, TaskStatus.RUNNING)


def _share(tasks: list[Row]) -> float:
    """Work that is done, a running shard counted by its own progress."""
    return sum(1.0 if _ended(task) else task["progress"] / 100 for task in tasks)


def _words(scan: Row) -> str:
    if scan["waiting_for"]:
        return f"waits: {scan['waiting_for']}"
    return str(scan["status"])


def _counts(scan: Row) -> str:
    if scan["kind"] == ScanKind.HYBRID:  # what it brought stands in its notes
        return ""
    found = scan["counts"]["findings"]
    resources = f"{scan['counts']['resources']} resources · "
    return (
        f"{'' if scan['kind'] in OF_THE_TEAM else resources}findings: {found['new']} new, "
        f"{found['changed']} changed, {found['resolved']} resolved, {found['unchanged']} unchanged"
    )


def _picture(scan: Row, tasks: list[Row]) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    elapsed = None
    if scan["started_at"]:
        began = datetime.fromisoformat(scan["started_at"])
        elapsed = (datetime.now(UTC) - began).total_seconds()
    head = Text.assemble(
        ("Scan ", "bold"),
        (short(scan["id"]), "bold"),
        "  ",
        cell(_words(scan), None if scan["waiting_for"] else ""),
        f"  {scan['progress']:.0f} %  {clock(elapsed)}",
    )
    bars = Table.grid(padding=(0, 2))
    for kind, title in TITLES.items():
        own = [task for task in tasks if task["kind"] == kind]
        if own:
            failed = sum(task["status"] == TaskStatus.FAILED for task in own)
            bars.add_row(
                title,
                ProgressBar(total=len(own), completed=_share(own), width=30),
                f"{sum(map(_ended, own))}/{len(own)}",
                Text(f"{failed} failed", style="red") if failed else Text(""),
            )
    running = [task for task in tasks if task["status"] == TaskStatus.RUNNING]
    names = [
        Text(
            f"  • {plain(task['key'])}  {task['progress']:.0f} %", style="dim", overflow="ellipsis"
        )
        for task in running[:SHARDS_SHOWN]
    ]
    if len(running) > SHARDS_SHOWN:
        names.append(Text(f"  … and {len(running) - SHARDS_SHOWN} more", style="dim"))
    return Group(head, bars, *names, Text(_counts(scan)))


def _line(scan: Row, tasks: list[Row]) -> str:
    parts = [_words(scan)]
    states = Counter((task["kind"], _ended(task)) for task in tasks)
    for kind, title in TITLES.items():
        total = states[kind, True] + states[kind, False]
        if total:
            parts.append(f"{title.lower()} {states[kind, True]}/{total}")
    if scan["counts"]["tasks"]["failed"]:
        parts.append(f"{scan['counts']['tasks']['failed']} failed")
    parts.append(_counts(scan))
    return " · ".join(filter(None, parts))
