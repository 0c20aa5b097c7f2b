"""`cloudsweep sla`: when vulnerabilities are due, and what people were told."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands.client import WRONG_USAGE, Failure, Row, connected
from commands.output import (
    SEVERITIES,
    AsJson,
    Cursor,
    Limit,
    cell,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import NoticeKind

app = typer.Typer(no_args_is_help=True, help="SLA: show, set, notices.")


@app.command("show")
def show_policy(as_json: AsJson = False) -> None:
    """Show within how many days vulnerabilities have to be gone."""
    with connected() as api:
        document = api.get("sla")
    show(document, as_json, *_parts(document))


@app.command("set")
def set_policy(
    days: Annotated[
        list[str] | None,
        typer.Argument(metavar="SEVERITY=DAYS", help="Such as critical=7, or low=never."),
    ] = None,
    restart: Annotated[
        bool | None,
        typer.Option(help="Count the days anew when a vulnerability is reopened."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the policy; what is not named stays. Due dates change with it."""
    if not days and restart is None:
        raise Failure(
            "Name what to change.", fix="Such as critical=7, or --restart.", code=WRONG_USAGE
        )
    with connected() as api:
        policy = api.get("sla")
        for pair in days or ():
            severity, _, number = pair.partition("=")
            if severity not in SEVERITIES or not (number == "never" or number.isdecimal()):
                raise Failure(
                    f"`{pair}` is not a severity and its days.",
                    fix=f"Write it like critical=7 or low=never. Severities: "
                    f"{', '.join(SEVERITIES)}.",
                    code=WRONG_USAGE,
                )
            policy["days"][severity] = None if number == "never" else int(number)
        if restart is not None:
            policy["restart_on_reopen"] = restart
        document = api.put("sla", policy)
    show(document, as_json, *_parts(document))


@app.command("notices")
def notices(
    kind: Annotated[list[NoticeKind] | None, typer.Option(help="Only of this kind.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List what became due, overdue or is no longer accepted, newest first."""
    with connected() as api:
        parameters = {"kind": [each.value for each in kind or ()]}
        page = api.page("notices", parameters, limit, cursor)
    rows = table("AT", "WHAT", "SEVERITY", "*VULNERABILITY", "*RESOURCE", "*OWNER", "DATE", "ID")
    for item in page["items"]:
        rows.add_row(
            item["at"][:16].replace("T", " "),
            cell(item["kind"]),
            cell(item["severity"]),
            cell(item["title"]),
            cell(item["resource_uid"]),
            cell(item["owner"]),
            item["due_at"][:10],
            short(item["vulnerability_id"]),
        )
    show_page(page, as_json, rows, "No notices.")


def _parts(policy: Row) -> list[Any]:
    rows = table("SEVERITY", ">DUE WITHIN")
    for severity in SEVERITIES:
        days = policy["days"][severity]
        rows.add_row(cell(severity), "never" if days is None else f"{days} days")
    again = "count anew" if policy["restart_on_reopen"] else "go on"
    return [rows, "", cell(f"When a vulnerability is reopened, its days {again}.")]
