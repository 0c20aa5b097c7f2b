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
    from runtime.settings import get_settings
    from scanners.prowler_install import PROWLER_VERSION

    settings = get_settings()
    has_prowler = settings.prowler_python.exists()
    rows = [
        {
            "name": "prowler",
            "version": PROWLER_VERSION,
            "state": "installed" if has_prowler else "missing",
            "where": str(settings.prowler_python),
            "fix": None if has_prowler else "cloudsweep scanners install prowler",
        },
        {
            "name": "steampipe",
            "version": None,
            "state": "configured" if settings.steampipe_url else "not configured",
            "where": None,
            "fix": None if settings.steampipe_url else "set CLOUDSWEEP_STEAMPIPE_URL",
        },
    ]
    if as_json:
        show_json({"items": rows})
        return
    made = table("NAME", "VERSION", "STATE", "*WHERE", "FIX")
    for row in rows:
        made.add_row(*(cell(row[name]) for name in ("name", "version", "state", "where", "fix")))
    console().print(made)


@app.command("install")
def install(
    name: Annotated[str, typer.Argument(help="prowler")],
    all_providers: Annotated[
        bool, typer.Option("--all-providers", help="Azure, GCP and Kubernetes too; larger.")
    ] = False,
) -> None:
    """Install a scanner into an environment of its own; does nothing when it is there."""
    if name != "prowler":
        raise Failure(f"`{name}` is not installed from here.", fix="prowler is.", code=WRONG_USAGE)
    from contracts.errors import CloudsweepError
    from runtime.settings import get_settings
    from scanners.prowler_install import environment_of, set_up

    settings = get_settings()
    target = environment_of(settings.prowler_python)
    say(f"Prowler goes to {target}; the first time takes a minute or two.")
    try:
        python = set_up(settings, full=all_providers)
    except CloudsweepError as error:
        raise Failure(error.message, fix=error.fix) from error
    console().print(cell(f"Prowler is installed: {python}"))
