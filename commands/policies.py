"""`cloudsweep policy`: how hard native scans may work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal
from commands.client import WRONG_USAGE, Api, Failure, Row, connected
from commands.output import AsJson, Cursor, Limit, cell, fields, show, show_page, table

app = typer.Typer(no_args_is_help=True, help="Scan policies: how hard native scans may work.")

Name = Annotated[str, typer.Argument(metavar="POLICY", help="Its name.")]
LIMITS = (
    *("timing", "rate", "parallelism", "ports", "checks", "time_limit_seconds"),
    *("memory_limit_mb", "output_limit_mb", "process_limit", "nice"),
)


@app.command("list")
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List the built-in policies and the team's own."""
    with connected() as api:
        page = api.page("scan-policies", {}, limit, cursor)
    rows = table("*NAME", ">TIMING", ">RATE", ">PARALLEL", "CHECKS", ">TIME LIMIT", "*SET BY")
    for policy in page["items"]:
        rows.add_row(
            cell(policy["name"]),
            str(policy["timing"]),
            f"{policy['rate']}/s",
            str(policy["parallelism"]),
            cell(policy["checks"]),
            f"{policy['time_limit_seconds']} s",
            cell(policy["changed_by"] or "built in"),
        )
    show_page(page, as_json, rows, "No policies.")


@app.command("show")
def show_(policy: Name, as_json: AsJson = False) -> None:
    """Show a policy: pace, ports, checks and limits."""
    with connected() as api:
        document = api.get(f"scan-policies/{policy}")
    show(document, as_json, _details(document))


@app.command("set")
def set_(
    policy: Name,
    like: Annotated[
        str | None,
        typer.Option(help="Begin with the limits of this policy, not with the defaults."),
    ] = None,
    timing: Annotated[int | None, typer.Option(help="nmap's pace: 2 polite to 4.")] = None,
    rate: Annotated[int | None, typer.Option(help="Packets or requests a second.")] = None,
    parallelism: Annotated[int | None, typer.Option(help="Hosts or requests at a time.")] = None,
    ports: Annotated[
        str | None, typer.Option(help="Of targets that name none: 22,80,8000-8100.")
    ] = None,
    checks: Annotated[str | None, typer.Option(help="quick, standard or thorough.")] = None,
    time_limit_seconds: Annotated[int | None, typer.Option(help="Of one run of a tool.")] = None,
    memory_limit_mb: Annotated[int | None, typer.Option(help="Of a tool.")] = None,
    output_limit_mb: Annotated[int | None, typer.Option(help="Its report.")] = None,
    process_limit: Annotated[int | None, typer.Option(help="Processes of a tool.")] = None,
    nice: Annotated[int | None, typer.Option(help="0 to 19, the most polite.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a policy, or change one of the team's own; what is not named stays. For admins."""
    values = (
        *(timing, rate, parallelism, ports, checks, time_limit_seconds),
        *(memory_limit_mb, output_limit_mb, process_limit, nice),
    )
    given = {name: value for name, value in zip(LIMITS, values, strict=True) if value is not None}
    if not given and not like:
        raise Failure("Name what to set.", fix="See --help.", code=WRONG_USAGE)
    with connected() as api:
        first = api.get(f"scan-policies/{like}") if like is not None else _as_it_is(api, policy)
        limits = {name: first[name] for name in LIMITS if name in first}
        document = api.put(f"scan-policies/{policy}", limits | given)
    show(document, as_json, _details(document))


@app.command("remove")
def remove(
    policy: Name,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove one of the team's own policies that no schedule uses."""
    with connected() as api:
        removal.remove(api, f"scan-policies/{policy}", yes=yes, as_json=as_json)


def _as_it_is(api: Api, name: str) -> Row:
    """The policy if there is one; else nothing, so that each limit has its default."""
    policies: list[Row] = api.page("scan-policies", {}, 500, None)["items"]
    return next((policy for policy in policies if policy["name"] == name), {})


def _details(policy: Row) -> Any:
    pairs: list[tuple[str, Any]] = [
        ("Policy", policy["name"]),
        ("Timing", policy["timing"]),
        ("Rate", f"{policy['rate']} packets or requests a second"),
        ("Parallel", policy["parallelism"]),
        ("Checks", policy["checks"]),
        ("Ports", policy["ports"]),
        ("Time limit", f"{policy['time_limit_seconds']} s"),
        ("Memory limit", f"{policy['memory_limit_mb']} MB"),
        ("Output limit", f"{policy['output_limit_mb']} MB"),
        ("Processes", policy["process_limit"]),
        ("Nice", policy["nice"]),
        ("Set by", policy["changed_by"] or "built in"),
    ]
    return fields(pairs)
