"""`cloudsweep key`: who may call the API."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from commands.client import connected
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    say,
    short,
    show,
    show_json,
    show_page,
    table,
)
from contracts.vocabulary import Role

app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke (admins).")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.VIEWER,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is printed once, alone on stdout, so that a script can keep it."""
    with connected() as api:
        key = api.post("keys", {"name": name, "role": role.value})
    if as_json:
        show_json(key)
        return
    say(f"Key {name}, role {role}. It is shown only now:")
    sys.stdout.write(key["key"] + "\n")


@app.command("list")
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List keys, without their secrets."""
    with connected() as api:
        page = api.page("keys", {}, limit, cursor)
    rows = table("ID", "*NAME", "ROLE", "BEGINS", ">AGE", ">USED", ">REVOKED")
    for key in page["items"]:
        style = "dim strike" if key["revoked_at"] else None
        rows.add_row(
            short(key["id"]),
            cell(key["name"], style),
            cell(key["role"]),
            cell(f"{key['prefix']}…"),
            age(key["created_at"]),
            age(key["last_used_at"]),
            age(key["revoked_at"]),
        )
    show_page(page, as_json, rows, "No keys.")


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Name, id or a part of the id.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key at once and for good."""
    with connected() as api:
        document = api.delete(f"keys/{api.resolve('keys', key, 'key')}")
    show(document, as_json, cell(f"Revoked {document['name']}."))
