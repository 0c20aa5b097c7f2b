"""`cloudsweep resource` and `cloudsweep check`: what there is, and what is looked for."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import typer

from commands import accounts
from commands.client import connected
from commands.findings import Account, Region, Service, Severities, Source, cell_of, requirements
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    fields,
    plain,
    say,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import Provider

resource = typer.Typer(no_args_is_help=True, help="The inventory: list and show resources.")
check = typer.Typer(no_args_is_help=True, help="Checks: what is looked for, and how to fix it.")


@resource.command("list")
def list_resources(
    account: Account = None,
    type_: Annotated[str | None, typer.Option("--type", help="Such as s3_bucket.")] = None,
    region: Region = None,
    q: Annotated[str | None, typer.Option("--q", "-q", help="Text in name or uid.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="key:value, all of them.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List the inventory."""
    with connected() as api:
        parameters = {
            "account_id": [accounts.find(api, one) for one in account or ()],
            "type": type_,
            "region": region,
            "q": q,
            "tag": tag,
        }
        page = api.page("resources", parameters, limit, cursor)
    rows = table("TYPE", "*NAME", "REGION", "*TAGS", ">SEEN", "ID")
    for item in page["items"]:
        rows.add_row(
            cell(item["type"]),
            cell(item["name"] or item["uid"], "dim strike" if item["gone_at"] else None),
            cell(item["region"]),
            cell(" ".join(f"{name}:{value}" for name, value in item["tags"].items())),
            age(item["last_seen_at"]),
            short(item["id"]),
        )
    nothing = "No resources match. Without Steampipe, scans skip the inventory."
    show_page(page, as_json, rows, nothing)


@resource.command("show")
def show_resource(
    identity: Annotated[str, typer.Argument(metavar="RESOURCE", help="Id, or a part of it.")],
    as_json: AsJson = False,
) -> None:
    """Show a resource with its tags and attributes."""
    with connected() as api:
        document = api.get(f"resources/{api.resolve('resources', identity, 'resource')}")
    show(
        document,
        as_json,
        fields(
            [
                ("Name", document["name"]),
                ("Uid", document["uid"]),
                ("Type", document["type"]),
                ("Region", document["region"]),
                ("Cloud", document["provider"]),
                *((f"Tag {plain(name)}", value) for name, value in document["tags"].items()),
                ("First seen", document["first_seen_at"]),
                ("Last seen", document["last_seen_at"]),
                ("Gone", document["gone_at"] or "no"),
                ("Attributes", cell_of(json.dumps(document["attributes"], indent=2))),
                ("Id", document["id"]),
            ]
        ),
    )


@check.command("list")
def list_checks(
    source: Source = None,
    provider: Annotated[list[Provider] | None, typer.Option(help="Only of this cloud.")] = None,
    service: Service = None,
    severity: Severities = None,
    framework: Annotated[str | None, typer.Option(help="Such as cis_5.0_aws.")] = None,
    q: Annotated[str | None, typer.Option("--q", "-q", help="Text in id or title.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List the checks that scans have brought so far."""
    parameters = {
        "source": source,
        "provider": [one.value for one in provider or ()],
        "service": service,
        "severity": severity,
        "framework": framework,
        "q": q,
    }
    with connected() as api:
        page = api.page("checks", parameters, limit, cursor)
    rows = table("SEVERITY", "SERVICE", "*CHECK", "*TITLE")
    for item in page["items"]:
        rows.add_row(
            cell(item["severity"]),
            cell(item["service"]),
            cell(item["check_id"]),
            cell(item["title"]),
        )
    show_page(page, as_json, rows, "No checks match. The first scan brings them.")


@check.command("show")
def show_check(
    check_id: Annotated[str, typer.Argument(help="Its id.")], as_json: AsJson = False
) -> None:
    """Show what a check means, its risk and its remediation."""
    with connected() as api:
        document = api.get(f"checks/{quote(check_id, safe='')}")
    show(
        document,
        as_json,
        cell(document["title"], "bold"),
        fields(
            [
                ("Check", document["check_id"]),
                ("Severity", cell(document["severity"])),
                ("Service", f"{document['service']} ({document['provider']})"),
                ("Source", document["source"]),
                ("Description", cell_of(document["description"])),
                ("Risk", cell_of(document["risk"])),
                ("Remediation", cell_of(document["remediation"])),
                ("Categories", ", ".join(document["categories"])),
                ("Requirements", cell_of(requirements(document))),
                ("Read more", cell_of("\n".join(document["references"]))),
            ]
        ),
    )
    if not as_json:
        say(f"Its findings: cloudsweep finding list --check-id {document['check_id']}")
