"""`cloudsweep vuln`: what people work on, made of the findings of every scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import accounts
from commands.client import Api, Row, connected
from commands.moments import until
from commands.output import (
    SEVERITIES,
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    fields,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import SlaState, VulnerabilityStatus

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Vulnerabilities: list, count, show, decide.")

IN_WORK = [VulnerabilityStatus.OPEN, VulnerabilityStatus.IN_PROGRESS]

Which = Annotated[str, typer.Argument(metavar="VULNERABILITY", help="Id, or a part of it.")]
Account = Annotated[list[str] | None, typer.Option(help="Only in this account.")]
Status = Annotated[list[VulnerabilityStatus] | None, typer.Option(help="Only where it stands so.")]
Severities = Annotated[str | None, typer.Option("--severity", help="Such as critical,high.")]
Owner = Annotated[list[str] | None, typer.Option(help="Only of this owner.")]
Weakness = Annotated[str | None, typer.Option(help="Only of these checks or CVEs, with commas.")]
Sla = Annotated[list[SlaState] | None, typer.Option(help="Only with such a due date.")]
Query = Annotated[str | None, typer.Option("--q", "-q", help="Text in weakness, title, resource.")]


def find(api: Api, text: str) -> str:
    """The id of the vulnerability that a person named."""
    in_work = {"status": [status.value for status in IN_WORK]}
    return api.resolve("vulnerabilities", text, "vuln", in_work, {})


def values(options: list[Any] | None) -> list[str] | None:
    """The words of options, as the API has them."""
    return [option.value for option in options] if options else None


def filters(api: Api, account: list[str] | None, **other: Any) -> Row:
    """The filters as parameters of the API."""
    return {"account_id": [accounts.find(api, one) for one in account or ()], **other}


@app.command("list")
def list_vulnerabilities(
    account: Account = None,
    status: Status = None,
    severity: Severities = None,
    owner: Owner = None,
    weakness: Weakness = None,
    sla: Sla = None,
    q: Query = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List vulnerabilities, worst first. Without --status: those that somebody has to act on."""
    with connected() as api:
        parameters = filters(
            api,
            account,
            status=values(status or IN_WORK),
            severity=severity,
            owner=owner,
            weakness=weakness,
            sla=values(sla),
            q=q,
        )
        page = api.page("vulnerabilities", parameters, limit, cursor)
    show_page(page, as_json, _table(page["items"]), "No vulnerabilities match.")


def _table(items: list[Row]) -> Table:
    rows = table("SEVERITY", "STATUS", "*VULNERABILITY", "*RESOURCE", "*OWNER", ">DUE", "ID")
    for item in items:
        due = cell(until(item["due_at"]) if item["due_at"] else None)
        due.stylize(SLA_STYLES.get(item["sla"], ""))
        rows.add_row(
            cell(item["severity"]),
            cell(item["status"]),
            cell(item["title"]),
            cell(item["resource_uid"]),
            cell(item["owner"]),
            due,
            short(item["id"]),
        )
    return rows


SLA_STYLES = {"breached": "bold red", "due_soon": "yellow", "on_track": "green"}


@app.command("summary")
def summarize(
    account: Account = None,
    status: Status = None,
    severity: Severities = None,
    owner: Owner = None,
    weakness: Weakness = None,
    sla: Sla = None,
    q: Query = None,
    as_json: AsJson = False,
) -> None:
    """Count vulnerabilities by status, severity and how their due dates stand."""
    with connected() as api:
        parameters = filters(
            api,
            account,
            status=values(status),
            severity=severity,
            owner=owner,
            weakness=weakness,
            sla=values(sla),
            q=q,
        )
        summary = api.get("vulnerabilities/summary", parameters)
    parts: list[Any] = [cell(f"{summary['total']} vulnerabilities", "bold")]
    for group, order in (
        ("status", [status.value for status in VulnerabilityStatus]),
        ("severity", list(SEVERITIES)),
        ("sla", [state.value for state in reversed(SlaState)]),
    ):
        rows = table(f"{group.upper():<21}", ">COUNT")
        for name in order:
            if name in summary[group]:
                rows.add_row(cell(name, SLA_STYLES.get(name)), str(summary[group][name]))
        parts += ["", rows]
    show(summary, as_json, *parts)


@app.command("show")
def show_vulnerability(vulnerability: Which, as_json: AsJson = False) -> None:
    """Show a vulnerability with its findings and its history."""
    with connected() as api:
        document = api.get(f"vulnerabilities/{find(api, vulnerability)}")
    show(document, as_json, *details(document))


def details(document: Row) -> list[Any]:
    """A vulnerability as a person reads it."""
    occurrences = table("FINDING", "SOURCE", "SEVERITY", "STATE", ">OPENED", ">CLOSED")
    for each in document["occurrences"]:
        occurrences.add_row(
            short(each["finding_id"]),
            cell(each["source"]),
            cell(each["severity"]),
            cell("open" if each["is_open"] else "closed"),
            age(each["opened_at"]),
            age(each["closed_at"]),
        )
    history = table("AT", "WHO", "WHAT", "*WHY")
    for event in document["history"]:
        history.add_row(
            event["at"][:19].replace("T", " "),
            cell(event["who"]),
            cell(event["transition"]),
            cell("; ".join(filter(None, [event["reason"], _difference(event)]))),
        )
    due = f"{document['due_at']} ({document['sla']})" if document["due_at"] else None
    pairs: list[tuple[str, Any]] = [
        ("Severity", cell(document["severity"])),
        ("Status", cell(document["status"])),
        ("Accepted until", document["accepted_until"]),
        ("Owner", document["owner"]),
        ("Due", due),
        ("Weakness", document["weakness"]),
        ("Resource", document["resource_uid"]),
        ("Account", document["account_uid"]),
        ("First detected", document["first_detected_at"]),
        ("Reopened", document["reopened_at"]),
        ("Closed", document["closed_at"]),
        ("Id", document["id"]),
    ]
    return [
        cell(document["title"], "bold"),
        fields((name, value) for name, value in pairs if value is not None),
        "",
        occurrences,
        "",
        history,
    ]


def _difference(event: Row) -> str:
    before, after = event["before"] or {}, event["after"] or {}
    return ", ".join(
        f"{name}: {before.get(name, '-')} → {after.get(name, '-')}"
        for name in {**before, **after}
        if before
    )


@app.command("sync")
def sync(
    full: Annotated[bool, typer.Option("--full", help="Also look at what did not change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring vulnerabilities to what the findings say now, rather than with the next sync."""
    with connected() as api:
        document = api.post("vulnerabilities/sync", {"full": full})
    show(document, as_json, cell(f"Asked for: {document['workflow_id']}."))
