"""`cloudsweep up`, `demo` and `settings`: the embedded stack and what can be set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from commands.output import AsJson, console, plain, show_json

if TYPE_CHECKING:
    from runtime.settings import Settings


def up() -> None:
    """Run the whole stack on this machine, until Ctrl-C.

    PostgreSQL, Temporal, the API and workers keep their data in CLOUDSWEEP_DATA_DIR, and go on
    from it when they start again.
    """
    from runtime.embedded.stack import run_stack
    from runtime.settings import get_settings

    raise typer.Exit(run_stack(get_settings()))


def demo(
    full: Annotated[
        bool, typer.Option("--full", help="Run every check, not a minute's worth.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running at the end.")
    ] = False,
) -> None:
    """Scan a demo cloud on this machine; needs no account."""
    from commands.demo import run

    raise typer.Exit(run(full=full, keep=keep))


def settings(as_json: AsJson = False) -> None:
    """List every setting, its value and what it does.

    Set one in the environment. Temporal's address, TLS and key are the standard TEMPORAL_*
    variables.
    """
    from runtime.settings import get_settings

    rows = described(get_settings())
    if as_json:
        show_json({"items": rows})
        return
    from rich.text import Text

    for row in rows:
        value = "unset" if row["value"] is None else row["value"]
        default = "unset" if row["default"] is None else row["default"]
        console().print(
            Text.assemble(
                (plain(row["name"]), "bold"),
                " = ",
                (plain(value), "bold green" if row["is_set"] else ""),
                f"\n    {plain(row['description'])}",
                (f" Default: {plain(default)}", "dim") if row["is_set"] else "",
            )
        )


def described(values: Settings) -> list[dict[str, str | bool | None]]:
    """Every setting with its value; secrets are only said to be set."""
    from pydantic import SecretStr

    rows: list[dict[str, str | bool | None]] = []
    for name, field in type(values).model_fields.items():
        variable = f"CLOUDSWEEP_{name.upper()}"
        value = getattr(values, name)
        if isinstance(value, SecretStr):
            value = "********"
        rows.append(
            {
                "name": variable,
                "value": None if value is None else str(value),
                "default": None if field.default is None else str(field.default),
                "is_set": any(
                    each.upper() == variable and given for each, given in os.environ.items()
                ),
                "description": field.description,
            }
        )
    return rows
