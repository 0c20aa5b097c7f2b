"""`cloudsweep mute`: rules for findings that nobody has to act on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import accounts
from commands.client import Api, Row, connected
from commands.moments import moment, until
from commands.output import (
    SEVERITIES,
    AsJson,
    Cursor,
    Limit,
    cell,
    fields,
    short,
    show,
    show_page,
    table,
)

app = typer.Typer(no_args_is_help=True, help="Mute rules: preview, add, list, remove.")

CheckId = Annotated[str | None, typer.Option(help="Only this check.")]
Resource = Annotated[
    str | None, typer.Option(help="Only resources with this UID or name; * is any text.")
]
Region = Annotated[str | None, typer.Option(help="Only in this region.")]
Tag = Annotated[str | None, typer.Option(help="Only resources with this tag, such as env:test.")]
Account = Annotated[str | None, typer.Option(help="Only in this account.")]
CRITERIA = ("check_id", "resource", "region", "tag", "account_id")


def _criteria(api: Api, account: str | None, **given: str | None) -> Row:
    body: Row = {name: value for name, value in given.items() if value is not None}
    return body | ({} if account is None else {"account_id": accounts.find(api, account)})


@app.command("preview")
def preview(
    check_id: CheckId = None,
    resource: Resource = None,
    region: Region = None,
    tag: Tag = None,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Count the open findings that a rule would mute now."""
    with connected() as api:
        body = _criteria(api, account, check_id=check_id, resource=resource, region=region, tag=tag)
        document = api.post("mute-rules/preview", body)
    rows = table("SEVERITY", ">FINDINGS")
    for severity in SEVERITIES:
        if severity in document["severity"]:
            rows.add_row(cell(severity), str(document["severity"][severity]))
    words = f"{document['total']} open findings in {document['accounts']} accounts would be muted."
    show(document, as_json, cell(words, "bold"), *([rows] if document["total"] else []))


@app.command("add")
def add(
    reason: Annotated[str, typer.Option(help="Why nobody has to act on these.")],
    check_id: CheckId = None,
    resource: Resource = None,
    region: Region = None,
    tag: Tag = None,
    account: Account = None,
    expires: Annotated[
        str | None, typer.Option(help="Until when, such as 2027-03-01; else until it is removed.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of times without an offset.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Mute findings that match all that is named: those that are stored, and those to come."""
    with connected() as api:
        body = _criteria(api, account, check_id=check_id, resource=resource, region=region, tag=tag)
        body["reason"] = reason
        if expires is not None:
            body["until"] = moment(expires, "--expires", timezone)
        document = api.post("mute-rules", body)
    show(document, as_json, _details(document))


@app.command("list")
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List rules, newest first."""
    with connected() as api:
        page = api.page("mute-rules", {}, limit, cursor)
    rows = table("ID", "ENABLED", "*MUTES", "*REASON", "BY", ">EXPIRES")
    for item in page["items"]:
        rows.add_row(
            short(item["id"]),
            cell("yes" if item["enabled"] else "no"),
            cell(_mutes(item)),
            cell(item["reason"]),
            cell(item["created_by"]),
            until(item["until"]),
        )
    show_page(page, as_json, rows, "No mute rules. Preview one: cloudsweep mute preview")


@app.command("remove")
def remove(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Id, or a part of it.")],
    as_json: AsJson = False,
) -> None:
    """Remove a rule; what only it muted gets its own state back."""
    with connected() as api:
        whole = api.resolve("mute-rules", rule, "mute")
        document = api.get(f"mute-rules/{whole}")
        api.delete(f"mute-rules/{whole}")
    show(document, as_json, cell(f"Removed: {_mutes(document)}."))


def _mutes(rule: Row) -> str:
    return ", ".join(f"{name} {rule[name]}" for name in CRITERIA if rule[name] is not None)


def _details(rule: Row) -> Any:
    pairs = [(name, rule[name]) for name in (*CRITERIA, "reason", "until", "created_by", "id")]
    return fields((name, value) for name, value in pairs if value is not None)
