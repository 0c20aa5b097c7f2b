"""`cloudsweep target`: what native scans look at."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal
from commands.client import FAILED, Api, Failure, Row, connected
from commands.option_values import pairs_of
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
from contracts.vocabulary import TargetKind

app = typer.Typer(no_args_is_help=True, help="Targets of native scans: hosts, images and the like.")

Which = Annotated[str, typer.Argument(metavar="TARGET", help="Value, id or a part of the id.")]
Tag = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A tag; may be repeated.")]


def find(api: Api, text: str) -> str:
    """The id of the target that a person named."""
    return api.resolve("targets", text, "target")


@app.command("add")
def add(
    kind: Annotated[TargetKind, typer.Argument(help="What it is.")],
    value: Annotated[str, typer.Argument(help="Such as www.example.com:443 or 203.0.113.0/28.")],
    tag: Tag = None,
    as_json: AsJson = False,
) -> None:
    """Add a target; it has to lie in a scope, which an admin makes: cloudsweep scope add."""
    body: Row = {"kind": kind.value, "value": value}
    body |= {"tags": pairs_of(tag, "--tag")} if tag else {}
    with connected() as api:
        target = api.post("targets", body)
    show(target, as_json, _details(target))
    if not as_json:
        say(f"Next: cloudsweep target check '{target['value']}'")


@app.command("list")
def list_(
    kind: Annotated[list[TargetKind] | None, typer.Option(help="Only of this kind.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled")] = None,
    tag: Tag = None,
    q: Annotated[str | None, typer.Option("--q", "-q", help="Text in the value.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List targets, and the scope that each lies in."""
    parameters = {
        "kind": [one.value for one in kind or ()],
        "enabled": enabled,
        "tag": [f"{name}:{value}" for name, value in pairs_of(tag, "--tag").items()],
        "q": q,
    }
    with connected() as api:
        page = api.page("targets", parameters, limit, cursor)
    rows = table("ID", "KIND", "*VALUE", "STATE", "*SCOPE", "*TAGS", ">AGE")
    for target in page["items"]:
        scope = target["scope"]
        rows.add_row(
            short(target["id"]),
            cell(target["kind"]),
            cell(target["value"], None if target["enabled"] else "dim strike"),
            cell("on" if target["enabled"] else "off"),
            cell(scope["name"]) if scope else cell("none allows it", "red"),
            cell(_tags(target)),
            age(target["created_at"]),
        )
    show_page(page, as_json, rows, "No targets. Add one: cloudsweep target add KIND VALUE")


@app.command("show")
def show_(target: Which, as_json: AsJson = False) -> None:
    """Show a target, and the scope that it lies in."""
    with connected() as api:
        document = api.get(f"targets/{find(api, target)}")
    show(document, as_json, _details(document))


@app.command("check")
def check(target: Which, as_json: AsJson = False) -> None:
    """Look a target up now: which scope allows it and where, or what refuses it."""
    with connected() as api:
        answer = api.post(f"targets/{find(api, target)}/check")
    if not answer["ok"]:
        if as_json:
            show(answer, as_json)
            raise typer.Exit(FAILED)
        raise Failure(f"{answer['error']} (rule: {answer['rule']})", fix=answer["fix"])
    pairs: list[tuple[str, Any]] = [
        ("Target", answer["value"]),
        ("Allowed", cell(f"by the scope {answer['scope']['name']}", "green")),
        ("Addresses", ", ".join(answer["addresses"]) or None),
        ("Left out", ", ".join(f"port {port}" for port in answer["closed_ports"]) or None),
        ("Directory", answer["path"]),
    ]
    show(answer, as_json, fields((name, value) for name, value in pairs if value is not None))


@app.command("enable")
def enable(target: Which, as_json: AsJson = False) -> None:
    """Let a target be scanned again."""
    _patch(target, {"enabled": True}, as_json)


@app.command("disable")
def disable(target: Which, as_json: AsJson = False) -> None:
    """Take no new scans of a target."""
    _patch(target, {"enabled": False}, as_json)


@app.command("remove")
def remove(
    target: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a target."""
    with connected() as api:
        removal.remove(
            api, f"targets/{find(api, target)}", yes=yes, as_json=as_json, called="value"
        )


def _patch(target: str, body: Row, as_json: bool) -> None:
    with connected() as api:
        document = api.patch(f"targets/{find(api, target)}", body)
    show(document, as_json, _details(document))


def _tags(target: Row) -> str:
    return ", ".join(f"{name}={value}" for name, value in target["tags"].items())


def _details(target: Row) -> Any:
    scope = target["scope"]
    pairs: list[tuple[str, Any]] = [
        ("Target", target["value"]),
        ("Id", target["id"]),
        ("Kind", target["kind"]),
        ("Scope", cell(scope["name"]) if scope else cell("none allows it", "red")),
        ("Tags", _tags(target) or None),
        ("Enabled", "yes" if target["enabled"] else "no"),
        ("Added", f"{target['created_at']} ({age(target['created_at'])} ago)"),
    ]
    return fields((name, value) for name, value in pairs if value is not None)
