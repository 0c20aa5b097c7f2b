"""`cloudsweep import`: findings that a scanner elsewhere wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from commands import accounts, scans
from commands.client import WRONG_USAGE, Failure, connected
from commands.output import AsJson, console, say, short, show_json

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 256 * 1024


def import_file(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Prowler's OCSF, also .gz; - for standard input.")
    ],
    account: Annotated[str, typer.Option(help="The account that the findings are of.")],
    complete: Annotated[
        bool,
        typer.Option(
            "--complete",
            help="Resolve what the file lacks of the checks and regions that it names.",
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also if this file was imported before.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Show the merge until it ends.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Import a file of findings: a JSON array of OCSF findings, or one a line.

    They are merged as those of a scan of the account. Without --complete nothing is resolved. A
    wrong line is named, and then nothing of the file is merged.
    """
    with connected() as api, _opened(file) as (source, size):
        parameters = {"account_id": accounts.find(api, account), "complete": complete,
                      "again": again}  # fmt: skip
        with _progress(size, quiet=as_json) as moved:
            status, scan = api.upload("imports", parameters, _chunks(source, moved))
        if not as_json:
            part = short(scan["id"])
            if status == 200:
                say(f"This file was imported before, as scan {part}. --again imports it again.")
            else:
                say(f"The file is read; scan {part} merges it.")
        if wait and status != 200:
            scans.follow_to_end(api, scan, as_json)
        elif as_json:
            show_json(scan)


@contextmanager
def _opened(name: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """The file, and its size where it has one."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(name)
    try:
        with path.open("rb") as source:
            yield source, path.stat().st_size
    except OSError as error:
        raise Failure(f"{name} cannot be read: {error.strerror}.", code=WRONG_USAGE) from error


def _chunks(source: IO[bytes], moved: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
        moved(len(chunk))


@contextmanager
def _progress(size: int | None, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    output = console(stderr=True)
    if quiet or not output.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns: list[Any] = ["Sending", BarColumn(), DownloadColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=output, transient=True) as bar:
        task = bar.add_task("", total=size)
        yield lambda count: bar.update(task, advance=count)
