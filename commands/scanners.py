"""`cloudsweep scanners`: what this machine can scan with."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.client import WRONG_USAGE, Failure
from commands.output import AsJson, cell, console, say, show_json, table

app = typer.Typer(no_args_is_help=True, help="Scanners of this machine: list and install.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the scanners, and whether this machine has them."""
    import asyncio

    from runtime.settings import get_settings
    from scanners.inventory import Inventory

    rows = [each.model_dump(mode="json") for each in asyncio.run(Inventory().list(get_settings()))]
    if as_json:
        show_json({"items": rows})
        return
    made = table("NAME", "STATE", "VERSION", "LICENCE", "*SCANS", "*TO HAVE IT")
    for row in rows:
        made.add_row(
            *(cell(row[key]) for key in ("name", "state", "version", "licence", "scans", "fix"))
        )
    console().print(made)


@app.command("install")
def install(
    name: Annotated[str, typer.Argument(help="prowler, sslyze or checkov")],
    all_providers: Annotated[
        bool,
        typer.Option("--all-providers", help="Prowler: Azure, GCP and Kubernetes too; larger."),
    ] = False,
) -> None:
    """Install a scanner into an environment of its own; does nothing when it is there."""
    from contracts.errors import CloudsweepError
    from runtime.settings import get_settings
    from scanners.processes.python_tools import RECIPES, install_tool
    from scanners.processes.python_tools import environment_of as environment_of_tool
    from scanners.prowler.prowler_environment import environment_of
    from scanners.prowler.prowler_install import set_up

    if name != "prowler" and name not in RECIPES:
        raise Failure(
            f"`{name}` is not installed from here.",
            fix="prowler, sslyze and checkov are; `cloudsweep scanners list` tells of the others.",
            code=WRONG_USAGE,
        )
    settings = get_settings()
    is_prowler = name == "prowler"
    target = environment_of(settings.prowler_python) if is_prowler else environment_of_tool(name)
    say(f"{name} goes to {target}; the first time takes a minute or two.")
    try:
        made = set_up(settings, full=all_providers) if is_prowler else install_tool(name)
    except CloudsweepError as error:
        raise Failure(error.message, fix=error.fix) from error
    console().print(cell(f"{name} is installed: {made}"))
