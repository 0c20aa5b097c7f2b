"""How results look: tables for people, JSON for machines, text from clouds kept harmless."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.client import Failure, Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from commands.rows import Rows

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Rows to show at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on from this next_cursor.")]

STYLES = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "informational": "dim",
    "fail": "red",
    "pass": "green",
    "manual": "yellow",
    "not_assessed": "magenta",
    "completed": "green",
    "completed_with_errors": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
    "running": "bold cyan",
    "paused": "yellow",
    "pending": "dim",
    "open": "red",
    "resolved": "green",
    "active": "green",
    "finished": "dim",
    "queued": "dim",
    "timed_out": "bold red",
    "terminated": "magenta",
    "skipped": "yellow",
    "missed": "red",
    "refused": "red",
}
PIPE_WIDTH = 200  # nobody looks at a pipe: `grep` finds what an ellipsis would have cut off
SEVERITIES = ("critical", "high", "medium", "low", "informational")


def console(*, stderr: bool = False) -> Console:
    """A console on what stdout or stderr is now; markup is off, since clouds name things [red]."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPE_WIDTH
    return made


def plain(value: object) -> str:
    """One line that no terminal obeys: control, direction and line characters shown as �."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(char if char.isprintable() else "�" for char in text)


def paragraph(value: object) -> str:
    """Text of several lines, each of them harmless."""
    return "\n".join(plain(line) if line else "" for line in str(value or "-").splitlines())


def cell(value: object, style: str | None = None) -> Text:
    """A piece of untrusted text for a table."""
    from rich.text import Text

    text = plain(value)
    return Text(text, style=style or STYLES.get(text, ""))


def short(identity: str) -> str:
    """The end of an id, which differs between neighbours; commands take it wherever an id goes."""
    return identity[-8:]


def age(moment: str | None) -> str:
    """`3d` for a time three days ago."""
    if moment is None:
        return "-"
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def clock(seconds: float | None) -> str:
    """`2m 05s`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def table(*columns: str) -> Rows:
    """A table without lines; column `>x` is aligned to the right, `*x` takes the room there is."""
    from commands.rows import Rows

    return Rows(columns)


def fields(pairs: Iterable[tuple[str, str | Text | None]]) -> Table:
    """Name and value, a line each; values wrap."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value if isinstance(value, Text) else cell(value))
    return made


def show_json(document: Any) -> None:
    """Print a document as the API gave it; escaped, so that a terminal can show it safely."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def show(document: Row, as_json: bool, *parts: RenderableType) -> None:
    """Print the document for machines, or its parts for people."""
    if as_json:
        show_json(document)
    else:
        console().print(*parts, sep="\n")


def show_page(page: Row, as_json: bool, rows: Table, nothing: str) -> None:
    """Print one page of a list, and how to see the rest."""
    if as_json:
        show_json(page)
        return
    if not page["items"]:
        console(stderr=True).print(nothing)
        return
    console().print(rows)
    if page["next_cursor"]:
        console(stderr=True).print(
            f"{len(page['items'])} rows shown; there are more: use --limit, "
            f"or --cursor {page['next_cursor']}",
            style="dim",
            soft_wrap=True,
        )


def say(message: str) -> None:
    """A remark that is not the result: on stderr."""
    console(stderr=True).print(plain(message), soft_wrap=True)


def complain(failure: Failure, as_json: bool) -> None:
    """Say on stderr what went wrong and what to do; as problem+json where JSON was asked for."""
    if as_json:
        sys.stderr.write(json.dumps(failure.problem) + "\n")
        return
    from rich.text import Text

    errors: Sequence[Row] = failure.problem.get("errors") or []
    message = plain(failure.message)
    whole = f"{failure.message} {failure.fix}" if failure.fix else failure.message
    if [error["message"] for error in errors] in (
        [whole],
        [failure.message],
    ):  # what is wrong with one field, said once
        field = errors[0]["field"]
        message = message if field == "body" else f"{plain(field)}: {message}"
        errors = []
    lines = [Text.assemble(("Error: ", "bold red"), message)]
    lines += [
        Text.assemble("  ", (plain(error["field"]), "bold"), ": ", plain(error["message"]))
        for error in errors
    ]
    if failure.fix:
        lines.append(Text.assemble(("Fix: ", "bold green"), plain(failure.fix)))
    if failure.problem.get("status") == 500:
        lines.append(Text(f"Request: {plain(failure.problem.get('request_id'))}", style="dim"))
    console(stderr=True).print(*lines, sep="\n", soft_wrap=True)
