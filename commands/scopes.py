"""`cloudsweep scope`: what a team may scan, by whose approval, and until when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal
from commands.client import WRONG_USAGE, Api, Failure, Row, connected
from commands.moments import in_zone, moment, until
from commands.output import AsJson, Cursor, Limit, cell, fields, short, show, show_page, table

app = typer.Typer(no_args_is_help=True, help="Scopes: what may be scanned. Admins approve them.")

Which = Annotated[str, typer.Argument(metavar="SCOPE", help="Name, id or a part of the id.")]
Cidr = Annotated[list[str] | None, typer.Option(help="A network, or an address.")]
Domain = Annotated[
    list[str] | None,
    typer.Option(help="A name; written '*.example.com', it is example.com and all names below it."),
]
Image = Annotated[list[str] | None, typer.Option(help="A registry, or the beginning of images.")]
Path = Annotated[list[str] | None, typer.Option(help="A directory on the workers.")]
Cluster = Annotated[list[str] | None, typer.Option(help="A cluster by its name.")]
ApprovedBy = Annotated[str | None, typer.Option(help="Who approved it; else the key's name.")]
Note = Annotated[str | None, typer.Option(help="Such as the contract that says so.")]
ValidUntil = Annotated[str | None, typer.Option(help="Until when, such as 2027-03-01.")]
Timezone = Annotated[str, typer.Option(help="Of times without an offset.")]


def find(api: Api, text: str) -> str:
    """The id of the scope that a person named."""
    return api.resolve("scopes", text, "scope")


def _entries(**given: list[str] | None) -> list[Row]:
    """What the options name, in the words of the API."""
    entries: list[Row] = []
    for kind, values in given.items():
        for value in values or ():
            is_whole = kind == "domain" and value.startswith("*.")
            entry = {"kind": kind, "value": value.removeprefix("*.") if is_whole else value}
            entries.append(entry | ({"subdomains": True} if is_whole else {}))
    return entries


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    cidr: Cidr = None,
    domain: Domain = None,
    image: Image = None,
    path: Path = None,
    cluster: Cluster = None,
    approved_by: ApprovedBy = None,
    note: Note = None,
    valid_until: ValidUntil = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Approve what the team may scan; each option may be repeated."""
    entries = _entries(cidr=cidr, domain=domain, image=image, path=path, cluster=cluster)
    if not entries:
        raise Failure(
            "Name what it allows.",
            fix="Use --cidr, --domain, --image, --path or --cluster.",
            code=WRONG_USAGE,
        )
    body = _given(approved_by, note, valid_until, timezone) | {"name": name, "allows": entries}
    with connected() as api:
        scope = api.post("scopes", body)
    show(scope, as_json, _details(scope))


@app.command("list")
def list_(
    valid: Annotated[bool | None, typer.Option("--valid/--ended")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List scopes, oldest first."""
    with connected() as api:
        page = api.page("scopes", {"valid": valid}, limit, cursor)
    rows = table("ID", "*NAME", "*ALLOWS", "*APPROVED BY", ">VALID")
    for scope in page["items"]:
        rows.add_row(
            short(scope["id"]),
            cell(scope["name"]),
            cell(_allows(scope)),
            cell(scope["approved_by"]),
            until(scope["valid_until"]),
        )
    show_page(page, as_json, rows, "No scopes. An admin adds one: cloudsweep scope add NAME --cidr")


@app.command("show")
def show_(scope: Which, as_json: AsJson = False) -> None:
    """Show a scope: what it allows, by whose approval, and until when."""
    with connected() as api:
        document = api.get(f"scopes/{find(api, scope)}")
    show(document, as_json, _details(document))


@app.command("change")
def change(
    scope: Which,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    cidr: Cidr = None,
    domain: Domain = None,
    image: Image = None,
    path: Path = None,
    cluster: Cluster = None,
    approved_by: ApprovedBy = None,
    note: Note = None,
    valid_until: ValidUntil = None,
    no_end: Annotated[bool, typer.Option("--no-end", help="Valid until it is changed.")] = False,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Change a scope. What it allows is replaced as a whole by what is named."""
    body = _given(approved_by, note, valid_until, timezone)
    entries = _entries(cidr=cidr, domain=domain, image=image, path=path, cluster=cluster)
    body |= {"allows": entries} if entries else {}
    body |= {} if name is None else {"name": name}
    if no_end and valid_until is not None:
        raise Failure("--valid-until and --no-end do not go together.", code=WRONG_USAGE)
    body |= {"valid_until": None} if no_end else {}
    if not body:
        raise Failure("Name what to change.", fix="See --help.", code=WRONG_USAGE)
    _patch(scope, body, as_json)


@app.command("end")
def end(scope: Which, as_json: AsJson = False) -> None:
    """End a scope now: what only it allows is refused from here on."""
    from datetime import UTC, datetime

    _patch(scope, {"valid_until": datetime.now(UTC).isoformat()}, as_json)


@app.command("remove")
def remove(
    scope: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a scope that no target relies on."""
    with connected() as api:
        removal.remove(api, f"scopes/{find(api, scope)}", yes=yes, as_json=as_json)


def _patch(scope: str, body: Row, as_json: bool) -> None:
    with connected() as api:
        document = api.patch(f"scopes/{find(api, scope)}", body)
    show(document, as_json, _details(document))


def _given(
    approved_by: str | None, note: str | None, valid_until: str | None, timezone: str
) -> Row:
    body: Row = {}
    body |= {} if approved_by is None else {"approved_by": approved_by}
    body |= {"note": note} if note is not None else {}
    if valid_until is not None:
        body["valid_until"] = moment(valid_until, "--valid-until", timezone)
    return body


def _allows(scope: Row) -> str:
    return ", ".join(
        f"*.{entry['value']}" if entry["subdomains"] else entry["value"]
        for entry in scope["allows"]
    )


def _details(scope: Row) -> Any:
    ends = scope["valid_until"]
    pairs: list[tuple[str, Any]] = [
        ("Scope", scope["name"]),
        ("Id", scope["id"]),
        ("Allows", _allows(scope)),
        ("Approved by", scope["approved_by"]),
        ("Note", scope["note"] or None),
        ("Valid", f"until {in_zone(ends)}  ({until(ends)})" if ends else "until it is changed"),
        ("Added by", scope["created_by"]),
    ]
    return fields((name, value) for name, value in pairs if value is not None)
