"""`cloudsweep item`: what expires one day, so that schedules can act before it does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal
from commands.client import Api, Row, connected
from commands.moments import duration, in_zone, moment, seconds, until
from commands.option_values import pairs_of, wrong
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    cell,
    fields,
    say,
    short,
    show,
    show_page,
    table,
)

app = typer.Typer(no_args_is_help=True, help="Tracked items: what expires one day.")

Which = Annotated[str, typer.Argument(metavar="ITEM", help="Name, id or a part of the id.")]
Expires = Annotated[
    str, typer.Option(help="When, such as 2027-03-01 or '2027-03-01 12:00' with --timezone.")
]
Timezone = Annotated[str, typer.Option(help="Of times without an offset.")]
Lead = Annotated[str | None, typer.Option(help="It is due so long before, such as 30d.")]
Owner = Annotated[str | None, typer.Option(help="Whose it is.")]
Attribute = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="What schedules can filter by; may be repeated."),
]


def find(api: Api, text: str) -> str:
    """The id of the item that a person named."""
    return api.resolve("tracked-items", text, "item")


@app.command("add")
def add(
    kind: Annotated[str, typer.Argument(help="What it is, such as certificate.")],
    name: Annotated[str, typer.Argument(help="A name for it, unique in its kind.")],
    expires: Expires,
    lead: Lead = None,
    owner: Owner = None,
    attribute: Attribute = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Track an item: schedules with --on-expiry KIND fire before it expires."""
    body: Row = {"kind": kind, "name": name, "expires_at": moment(expires, "--expires", timezone)}
    body |= _given(lead, owner, attribute)
    with connected() as api:
        item = api.post("tracked-items", body)
    show(item, as_json, _details(item))
    if not as_json:
        say(f"Act before it expires: cloudsweep schedule add NAME ACCOUNT --on-expiry {kind}")


@app.command("list")
def list_(
    kind: Annotated[list[str] | None, typer.Option(help="Only of this kind.")] = None,
    owner: Annotated[list[str] | None, typer.Option(help="Only of this owner.")] = None,
    within: Annotated[
        str | None, typer.Option(help="Only what expires within this, such as 30d.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List items, those first that expire first."""
    parameters = {"kind": kind or [], "owner": owner or [], "expires_before": _from_now(within)}
    with connected() as api:
        page = api.page("tracked-items", parameters, limit, cursor)
    rows = table("ID", "KIND", "*NAME", "*OWNER", ">EXPIRES", ">DUE", ">LEAD")
    for item in page["items"]:
        rows.add_row(
            short(item["id"]),
            cell(item["kind"]),
            cell(item["name"]),
            cell(item["owner"]),
            until(item["expires_at"]),
            until(item["due_at"]),
            duration(item["lead_seconds"]),
        )
    show_page(
        page,
        as_json,
        rows,
        "No items match. Track one: cloudsweep item add KIND NAME --expires TIME",
    )


@app.command("show")
def show_(item: Which, as_json: AsJson = False) -> None:
    """Show an item: when it expires, and when it is due."""
    with connected() as api:
        document = api.get(f"tracked-items/{find(api, item)}")
    show(document, as_json, _details(document))


@app.command("renew")
def renew(
    item: Which,
    expires: Annotated[str | None, typer.Option(help="The new time of its expiry.")] = None,
    lead: Lead = None,
    owner: Owner = None,
    attribute: Attribute = None,
    timezone: Timezone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Renew an item: a later expiry fires once more. Also changes what else is named."""
    body = _given(lead, owner, attribute)
    body |= {} if expires is None else {"expires_at": moment(expires, "--expires", timezone)}
    if not body:
        raise wrong("Name the new --expires, or what else to change.")
    with connected() as api:
        document = api.patch(f"tracked-items/{find(api, item)}", body)
    show(document, as_json, _details(document))


@app.command("remove")
def remove(
    item: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stop tracking an item; what its expiry has started goes on."""
    with connected() as api:
        removal.remove(api, f"tracked-items/{find(api, item)}", yes=yes, as_json=as_json)


def _given(lead: str | None, owner: str | None, attribute: list[str] | None) -> Row:
    body: Row = {}
    body |= {} if lead is None else {"lead_seconds": seconds(lead, "--lead")}
    body |= {"owner": owner} if owner is not None else {}
    body |= {"attributes": pairs_of(attribute, "--attribute")} if attribute else {}
    return body


def _from_now(within: str | None) -> str | None:
    if within is None:
        return None
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(seconds=seconds(within, "--within"))).isoformat()


def _details(item: Row) -> Any:
    attributes = ", ".join(f"{name}={value}" for name, value in item["attributes"].items())
    pairs: list[tuple[str, Any]] = [
        ("Item", item["name"]),
        ("Id", item["id"]),
        ("Kind", item["kind"]),
        ("Owner", item["owner"] or None),
        ("Expires", f"{in_zone(item['expires_at'])}  ({until(item['expires_at'])})"),
        ("Due", f"{in_zone(item['due_at'])}  ({until(item['due_at'])})"),
        ("Lead", duration(item["lead_seconds"])),
        ("Attributes", attributes or None),
    ]
    return fields((name, value) for name, value in pairs if value is not None)
