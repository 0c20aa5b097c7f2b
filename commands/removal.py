"""Removing something that people named: the one way to ask first and to say what it was."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.client import Api
from commands.output import cell, show

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def remove(
    api: Api, path: str, *, yes: bool, as_json: bool, called: str = "name", along: str = ""
) -> None:
    """Delete what lies at this path, unless its owner says no, and show it as it was.

    `called` is the field that people know it by; `along` tells what goes with it.
    """
    document = api.get(path)
    if not yes:
        typer.confirm(f"Remove {document[called]!a}{along}?", abort=True, err=True)
    api.delete(path)
    show(document, as_json, cell(f"Removed {document[called]}."))
