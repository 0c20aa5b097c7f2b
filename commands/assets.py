"""`cloudsweep asset`: what is exposed, what is known and what is not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands.client import Api, Failure, Row, connected
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    fields,
    say,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import AssetSource, Exposure, Standing

app = typer.Typer(no_args_is_help=True, help="Assets: list, show and count what there is.")

Exposures = Annotated[list[Exposure] | None, typer.Option("--exposure", help="Only these.")]
Standings = Annotated[list[Standing] | None, typer.Option("--standing", help="Only these.")]
Sources = Annotated[list[AssetSource] | None, typer.Option("--source", help="Known to these.")]
Text = Annotated[str | None, typer.Option("--q", "-q", help="Text in the address or its names.")]
PORTS_SHOWN = 6
NOTHING = "No assets match. `cloudsweep scan hybrid --wait` looks for them."


@app.command("list")
def list_(
    exposure: Exposures = None,
    standing: Standings = None,
    source: Sources = None,
    q: Text = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List assets, newest first."""
    with connected() as api:
        page = api.page("assets", _filters(exposure, standing, source, q), limit, cursor)
    rows = table("ID", "*ASSET", "STANDING", "EXPOSURE", "*KNOWN TO", "*OPEN PORTS", ">SINCE")
    for asset in page["items"]:
        rows.add_row(
            short(asset["id"]),
            cell(" ".join([asset["value"], *asset["names"][:1]])),
            cell(asset["standing"], "bold" if asset["standing"] == Standing.UNMANAGED else None),
            cell(asset["exposure"]),
            cell(", ".join(asset["sources"])),
            cell(_ports(asset)),
            age(asset["first_seen_at"]),
        )
    show_page(page, as_json, rows, NOTHING)


@app.command("show")
def show_(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="Address, name, or id.")],
    as_json: AsJson = False,
) -> None:
    """Show an asset, with the resources and targets that it is."""
    with connected() as api:
        document = api.get(
            f"assets/{api.resolve('assets', asset.lower(), 'asset', {'q': asset}, {})}"
        )
        resources = [] if as_json else [_resource(api, each) for each in document["resource_ids"]]
        targets = [] if as_json else [_target(api, each) for each in document["target_ids"]]
    pairs: list[tuple[str, Any]] = [
        ("Asset", document["value"]),
        ("Names", ", ".join(document["names"]) or None),
        ("Standing", document["standing"]),
        ("Exposure", document["exposure"]),
        ("Known to", ", ".join(document["sources"])),
        ("Open ports", ", ".join(map(str, document["open_ports"])) or None),
        *(("Resource", each) for each in resources),
        *(("Target", each) for each in targets),
        ("First seen", document["first_seen_at"]),
        ("Changed", document["changed_at"]),
        ("Gone", document["gone_at"] or "no"),
        ("Id", document["id"]),
    ]
    show(document, as_json, fields((name, value) for name, value in pairs if value is not None))
    if not as_json and document["standing"] == Standing.UNMANAGED:
        value = document["value"]
        say(f"Scan it: cloudsweep target add host {value}, cloudsweep scan native {value}")


@app.command("summary")
def summary(
    exposure: Exposures = None,
    standing: Standings = None,
    source: Sources = None,
    q: Text = None,
    as_json: AsJson = False,
) -> None:
    """Count assets by exposure, standing, and who knows them."""
    with connected() as api:
        document = api.get("assets/summary", _filters(exposure, standing, source, q))
    rows = table("WHAT", ">ASSETS")
    for group in ("by_exposure", "by_standing", "by_source"):
        for name, count in document[group].items():
            rows.add_row(cell(f"{group.removeprefix('by_')}: {name}"), str(count))
    rows.add_row("exposed, and nobody answers for it", str(document["unmanaged_and_exposed"]))
    rows.add_row("all", str(document["total"]))
    show(document, as_json, rows)


def _filters(
    exposure: list[Exposure] | None,
    standing: list[Standing] | None,
    source: list[AssetSource] | None,
    q: str | None,
) -> Row:
    return {
        "exposure": [each.value for each in exposure or ()],
        "standing": [each.value for each in standing or ()],
        "source": [each.value for each in source or ()],
        "q": q,
    }


def _resource(api: Api, identity: str) -> str:
    resource = api.get(f"resources/{identity}")
    return f"{resource['type']} {resource['name'] or resource['uid']} ({short(identity)})"


def _target(api: Api, identity: str) -> str:
    try:
        target = api.get(f"targets/{identity}")
    except Failure:  # deleted since
        return short(identity)
    return f"{target['kind']} {target['value']} ({short(identity)})"


def _ports(asset: Row) -> str:
    ports = asset["open_ports"]
    more = f" and {len(ports) - PORTS_SHOWN} more" if len(ports) > PORTS_SHOWN else ""
    return ", ".join(map(str, ports[:PORTS_SHOWN])) + more
