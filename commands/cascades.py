"""`cloudsweep cascade`: rules that start a scan of targets from what another scan found."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal, scans
from commands.client import WRONG_USAGE, Api, Failure, Row, connected
from commands.option_values import pairs_of
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    cell,
    fields,
    say,
    short,
    show,
    show_json,
    show_page,
    table,
)
from contracts.vocabulary import MadeTarget, NetworkTool, Severity

app = typer.Typer(
    no_args_is_help=True, help="Cascades: rules that start a scan from what another found."
)

Which = Annotated[str, typer.Argument(metavar="RULE", help="Name, id or a part of the id.")]
Pair = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")]


def find(api: Api, text: str) -> str:
    """The id of the rule that a person named."""
    return api.resolve("cascades", text, "cascade")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it, such as new-shops.")],
    tool: Annotated[list[str], typer.Option(help="The tool that looks; may be repeated.")],
    source: Annotated[
        list[NetworkTool] | None, typer.Option(help="On new findings of this tool.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="Of this check; * stands for any characters.")
    ] = None,
    severity: Annotated[list[Severity] | None, typer.Option(help="Only so severe.")] = None,
    ports: Annotated[str | None, typer.Option(help="Only on these, such as 443,8000-8999.")] = None,
    type: Annotated[
        list[str] | None, typer.Option(help="On new resources of this type; * as above.")
    ] = None,
    attribute: Pair = None,
    tag: Pair = None,
    host: Annotated[
        str | None, typer.Option(help="The attribute that has the name or address.")
    ] = None,
    target: Annotated[MadeTarget, typer.Option(help="What to make of it.")] = MadeTarget.HOST_PORT,
    scheme: Annotated[str | None, typer.Option(help="Of a URL: https or http.")] = None,
    port: Annotated[int | None, typer.Option(help="Where what was found names none.")] = None,
    policy: Annotated[str, typer.Option(help="How hard: gentle, normal, fast.")] = "normal",
    max_targets: Annotated[int, typer.Option(help="Targets in one chain at most.")] = 20,
    enable: Annotated[bool, typer.Option("--enable", help="At once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a rule: on new findings (--source, --check) or on new resources (--type).

    It does nothing until it is enabled; see first what it would start: cascade preview.
    """
    then = _given(scheme=scheme, port=port)
    body: Row = {
        "name": name,
        "enabled": enable,
        "when": _when(source, check, severity, ports, type, attribute, tag, host),
        "then": {"tools": tool, "policy": policy, "target": target.value} | then,
        "max_targets": max_targets,
    }
    with connected() as api:
        rule = api.post("cascades", body)
    show(rule, as_json, _details(rule))
    if not as_json and not enable:
        say(f"Next: cloudsweep cascade preview SCAN --rule {rule['name']}")


def _when(
    source: list[NetworkTool] | None,
    check: list[str] | None,
    severity: list[Severity] | None,
    ports: str | None,
    type: list[str] | None,
    attribute: list[str] | None,
    tag: list[str] | None,
    host: str | None,
) -> Row:
    of_finding = _given(
        source=[each.value for each in source or ()],
        check_id=check,
        severity=[each.value for each in severity or ()],
        ports=ports,
    )
    of_resource = _given(
        types=type,
        attributes=pairs_of(attribute, "--attribute"),
        tags=pairs_of(tag, "--tag"),
        host=host,
    )
    if bool(of_finding) == bool(of_resource):
        raise Failure(
            "Name what it waits for: findings, or resources.",
            fix="Use --source and --check; or --type, --attribute and --tag.",
            code=WRONG_USAGE,
        )
    return {"on": "finding", **of_finding} if of_finding else {"on": "resource", **of_resource}


def _given(**options: Any) -> Row:
    return {name: value for name, value in options.items() if value}


@app.command("list")
def list_(limit: Limit = 50, cursor: Cursor = None, as_json: AsJson = False) -> None:
    """List rules, oldest first. Those that come with Cloudsweep are off until you enable them."""
    with connected() as api:
        page = api.page("cascades", {}, limit, cursor)
    rows = table("ID", "*NAME", "STATE", "*WHEN", "*THEN", ">MOST")
    for rule in page["items"]:
        rows.add_row(
            short(rule["id"]),
            cell(rule["name"]),
            cell("on", "green") if rule["enabled"] else cell("off", "dim"),
            cell(_waits_for(rule["when"])),
            cell(_starts(rule["then"])),
            str(rule["max_targets"]),
        )
    show_page(page, as_json, rows, "No rules.")


@app.command("show")
def show_(rule: Which, as_json: AsJson = False) -> None:
    """Show a rule: what it waits for, and what it starts."""
    with connected() as api:
        document = api.get(f"cascades/{find(api, rule)}")
    show(document, as_json, _details(document))


@app.command("enable")
def enable(rule: Which, as_json: AsJson = False) -> None:
    """Let a rule start scans, from the next scan that ends."""
    _switch(rule, True, as_json)


@app.command("disable")
def disable(rule: Which, as_json: AsJson = False) -> None:
    """Let a rule start nothing more; what it started goes on."""
    _switch(rule, False, as_json)


def _switch(rule: str, enabled: bool, as_json: bool) -> None:
    with connected() as api:
        document = api.patch(f"cascades/{find(api, rule)}", {"enabled": enabled})
    show(document, as_json, _details(document))


@app.command("remove")
def remove(
    rule: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a rule of your own; what it started goes on."""
    with connected() as api:
        removal.remove(api, f"cascades/{find(api, rule)}", yes=yes, as_json=as_json)


@app.command("preview")
def preview(
    scan: scans.Which,
    rule: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what rules would make of a scan, also those that are off. Starts nothing."""
    with connected() as api:
        body: Row = {"scan_id": scans.find(api, scan)}
        body |= {} if rule is None else {"rule_id": find(api, rule)}
        document = api.post("cascades/preview", body)
    rows = table("*RULE", "STATE", "*TARGET", "*SCOPE OR RULE", "*BECAUSE OF")
    for plan in document["rules"]:
        state = cell("on", "green") if plan["enabled"] else cell("off", "dim")
        for target in plan["targets"]:
            rows.add_row(
                cell(plan["rule"]),
                state,
                cell(target["value"]),
                cell(target["scope"]["name"]),
                cell(target["because"]["uid"]),
            )
        for refused in plan["refused"]:
            rows.add_row(
                cell(plan["rule"]),
                state,
                cell(refused["value"]),
                cell(f"refused: {refused['rule']}", "red"),
                cell(refused["because"]["uid"]),
            )
    if as_json:
        show_json(document)
        return
    every = [each for plan in document["rules"] for each in plan["targets"] + plan["refused"]]
    page = {"items": every, "next_cursor": None}
    show_page(page, False, rows, "Nothing would follow this scan.")
    for plan in document["rules"]:
        say(f"{plan['rule']}: {_told(plan)}")


def _told(plan: Row) -> str:
    if plan["why_not"]:
        return str(plan["why_not"])
    count = len(plan["targets"])
    words = f"{', '.join(plan['tools'])} ({plan['policy']}) on {count} "
    words += "target" if count == 1 else "targets"
    words += f", {plan['left_out']} more are left out" if plan["left_out"] else ""
    return words if plan["enabled"] else f"off; enabled, it starts {words}"


def _waits_for(when: Row) -> str:
    if when["on"] == "finding":
        parts = [f"new {', '.join(when['check_id'])} of {', '.join(when['source'])}"]
        parts += [f"severity {', '.join(when['severity'])}"] if when["severity"] else []
        parts += [f"ports {when['ports']}"] if when["ports"] else []
        return "; ".join(parts)
    pairs = [*when["attributes"].items(), *when["tags"].items()]
    said = [f"new {', '.join(when['types'])}", *(f"{name}={value}" for name, value in pairs)]
    return "; ".join(said)


def _starts(then: Row) -> str:
    return f"{', '.join(then['tools'])} ({then['policy']}) on its {then['target']}"


def _details(rule: Row) -> Any:
    pairs: list[tuple[str, Any]] = [
        ("Rule", rule["name"]),
        ("Id", rule["id"]),
        ("State", "on" if rule["enabled"] else "off"),
        ("Waits for", _waits_for(rule["when"])),
        ("Starts", _starts(rule["then"])),
        ("At most", f"{rule['max_targets']} targets, once in a chain of scans"),
        ("Comes with Cloudsweep", "yes" if rule["predefined"] else None),
    ]
    return fields((name, value) for name, value in pairs if value is not None)
