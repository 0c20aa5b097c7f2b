"""`cloudsweep finding`: what the scans found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands import accounts, scans
from commands.client import Api, Row, connected
from commands.output import (
    SEVERITIES,
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    console,
    fields,
    paragraph,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import FindingState, FindingStatus

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Findings: list, count, show.")

WIDE = 110
"""Columns from which a finding fits on one line."""

Account = Annotated[list[str] | None, typer.Option(help="Only of this account.")]
Scan = Annotated[str | None, typer.Option(help="Only what this scan saw last.")]
Source = Annotated[list[str] | None, typer.Option(help="Only of this scanner.")]
Status = Annotated[list[FindingStatus] | None, typer.Option(help="Only with this verdict.")]
State = Annotated[list[FindingState] | None, typer.Option(help="Only in this state.")]
Severities = Annotated[str | None, typer.Option("--severity", help="Such as critical,high.")]
Service = Annotated[str | None, typer.Option(help="Only of these services, with commas.")]
Region = Annotated[str | None, typer.Option(help="Only in these regions, with commas.")]
CheckId = Annotated[str | None, typer.Option(help="Only of these checks, with commas.")]
ResourceUid = Annotated[list[str] | None, typer.Option(help="Only of this resource (ARN).")]
Query = Annotated[str | None, typer.Option("--q", "-q", help="Text in title, detail, resource.")]
Since = Annotated[str | None, typer.Option(help="First seen after this time (RFC 3339).")]


def values(options: list[Any] | None) -> list[str] | None:
    """The words of options that may be given several times."""
    return [getattr(option, "value", option) for option in options] if options else None


def filters(api: Api, account: list[str] | None, scan: str | None, **other: Any) -> Row:
    """The query parameters of these filters: accounts and scans by their ids."""
    return {
        "account_id": [accounts.find(api, one) for one in account or ()],
        "scan_id": None if scan is None else scans.find(api, scan),
        **other,
    }


@app.command("list")
def list_findings(
    account: Account = None,
    scan: Scan = None,
    source: Source = None,
    status: Status = None,
    state: State = None,
    severity: Severities = None,
    service: Service = None,
    region: Region = None,
    check_id: CheckId = None,
    resource_uid: ResourceUid = None,
    q: Query = None,
    first_seen_after: Since = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List findings, worst first.

    Without --status and --state: those that fail and are open.
    """
    if status is None and state is None:
        status, state = [FindingStatus.FAIL], [FindingState.OPEN]
    with connected() as api:
        parameters = filters(
            api,
            account,
            scan,
            source=source,
            status=values(status),
            state=values(state),
            severity=severity,
            service=service,
            region=region,
            check_id=check_id,
            resource_uid=resource_uid,
            q=q,
            first_seen_after=first_seen_after,
        )
        page = api.page("findings", parameters, limit, cursor)
    show_page(page, as_json, finding_table(page["items"]), "No findings match.")


def finding_table(items: list[Row]) -> Table:
    """Findings as a person reads them; on a narrow terminal the resource stands below the title."""
    from rich.text import Text

    if console().width >= WIDE:
        rows = table("SEVERITY", "STATUS", "*FINDING", "*RESOURCE", "REGION", ">AGE", "ID")
    else:
        rows = table("SEVERITY", "*FINDING", "REGION", ">AGE", "ID")
        rows.columns[1].no_wrap = False
    for item in items:
        severity = cell(item["severity"])
        title = cell(item["title"])
        resource = cell(item["resource"]["name"] or item["resource"]["uid"])
        rest = (cell(item["region"]), age(item["first_seen_at"]), short(item["id"]))
        if console().width >= WIDE:
            rows.add_row(severity, cell(item["status"]), title, resource, *rest)
        else:
            severity.truncate(8)
            resource.stylize("dim")
            rows.add_row(severity, Text("\n").join([title, resource]), *rest)
    return rows


@app.command("summary")
def summarize(
    account: Account = None,
    scan: Scan = None,
    source: Source = None,
    status: Status = None,
    state: State = None,
    severity: Severities = None,
    service: Service = None,
    region: Region = None,
    check_id: CheckId = None,
    resource_uid: ResourceUid = None,
    q: Query = None,
    first_seen_after: Since = None,
    as_json: AsJson = False,
) -> None:
    """Count findings by severity, status, state, service and region."""
    with connected() as api:
        parameters = filters(
            api,
            account,
            scan,
            source=source,
            status=values(status),
            state=values(state),
            severity=severity,
            service=service,
            region=region,
            check_id=check_id,
            resource_uid=resource_uid,
            q=q,
            first_seen_after=first_seen_after,
        )
        summary = api.get("findings/summary", parameters)
    show(summary, as_json, *summary_parts(summary))


def summary_parts(summary: Row) -> list[Any]:
    """The counts as bars, biggest first, severities worst first."""
    from rich.text import Text

    parts: list[Any] = [cell(f"{summary['total']} findings", "bold")]
    for group in ("severity", "status", "state", "service", "region"):
        counts: dict[str, int] = summary[group]
        if group == "severity":
            names = [name for name in SEVERITIES if name in counts]
        else:
            names = sorted(counts, key=lambda name: (-counts[name], name))
        most = max(counts.values(), default=0) or 1
        rows = table(f"{group.upper():<21}", ">COUNT", "")
        for name in names[:15]:
            bar = Text("█" * round(30 * counts[name] / most), style="dim")
            rows.add_row(cell(name), f"{counts[name]:>9}", bar)
        if len(names) > 15:
            rest = sum(counts[name] for name in names[15:])
            rows.add_row(f"{len(names) - 15} others", f"{rest:>9}", "")
        parts += ["", rows]
    return parts


@app.command("show")
def show_finding(
    identity: Annotated[str, typer.Argument(metavar="FINDING", help="Id, or a part of it.")],
    as_json: AsJson = False,
) -> None:
    """Show a finding with its check's text, remediation and history."""
    with connected() as api:
        open_first = {"status": "fail", "state": "open"}
        whole = api.resolve("findings", identity, "finding", open_first, {})
        document = api.get(f"findings/{whole}")
    text = document["check"] or {}
    history = table("AT", "WHAT", "*WHY")
    for event in document["history"]:
        changed = {**(event["before"] or {}), **(event["after"] or {})}
        reason = event["reason"] or ", ".join(
            f"{name}: {(event['before'] or {}).get(name, '-')} → "
            f"{(event['after'] or {}).get(name, '-')}"
            for name in changed
        )
        history.add_row(event["at"][:19].replace("T", " "), cell(event["transition"]), cell(reason))
    show(
        document,
        as_json,
        cell(document["title"], "bold"),
        fields(
            [
                ("Severity", cell(document["severity"])),
                ("Status", cell(document["status"])),
                ("State", cell(document["state"])),
                ("Resource", document["resource"]["name"]),
                ("", document["resource"]["uid"]),
                ("Region", document["region"]),
                ("Account", document["account_uid"]),
                ("Check", f"{document['check_id']} ({document['source']})"),
                ("Detail", document["detail"]),
                ("First seen", f"{document['first_seen_at']} ({age(document['first_seen_at'])})"),
                ("Last seen", f"{document['last_seen_at']} ({age(document['last_seen_at'])})"),
                ("Risk", cell_of(text.get("risk"))),
                ("Remediation", cell_of(text.get("remediation"))),
                ("Read more", cell_of("\n".join(text.get("references", [])))),
                ("Requirements", cell_of(requirements(text))),
                ("Id", document["id"]),
            ]
        ),
        "",
        history,
    )


def cell_of(text: str | None) -> Any:
    """Text of several lines, for a field."""
    from rich.text import Text

    return Text(paragraph(text))


def requirements(text: Row) -> str:
    return "\n".join(
        f"{name} {', '.join(numbers)}" for name, numbers in text.get("frameworks", {}).items()
    )
