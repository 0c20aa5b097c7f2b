"""`cloudsweep vuln accept` and the like: what people decide about a vulnerability."""

from __future__ import annotations

from typing import Annotated

import typer

from commands import vulnerabilities
from commands.client import Row, connected
from commands.moments import moment
from commands.output import AsJson, show
from commands.vulnerabilities import Which, details, find

app = vulnerabilities.app

Why = Annotated[str, typer.Option(help="Why; it lands in the history.")]
MaybeWhy = Annotated[str | None, typer.Option("--reason", help="Why; it lands in the history.")]


def _decide(vulnerability: str, as_json: bool, action: str, **fields: str | None) -> None:
    body: Row = {"action": action}
    body |= {name: value for name, value in fields.items() if value is not None}
    with connected() as api:
        whole = find(api, vulnerability)
        document = api.post(f"vulnerabilities/{whole}/decisions", body)
    show(document, as_json, *details(document))


@app.command("accept")
def accept(
    vulnerability: Which,
    reason: Why,
    until: Annotated[str, typer.Option(help="When the acceptance expires, such as 2027-03-01.")],
    timezone: Annotated[str, typer.Option(help="Of times without an offset.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Accept the risk until a time; then it is reopened."""
    _decide(
        vulnerability, as_json, "accept", reason=reason, until=moment(until, "--until", timezone)
    )


@app.command("false-positive")
def false_positive(vulnerability: Which, reason: Why, as_json: AsJson = False) -> None:
    """Say that it is none; no scan changes that."""
    _decide(vulnerability, as_json, "false_positive", reason=reason)


@app.command("begin")
def begin(vulnerability: Which, reason: MaybeWhy = None, as_json: AsJson = False) -> None:
    """Mark it as in progress."""
    _decide(vulnerability, as_json, "in_progress", reason=reason)


@app.command("reopen")
def reopen(vulnerability: Which, reason: MaybeWhy = None, as_json: AsJson = False) -> None:
    """Undo what was decided."""
    _decide(vulnerability, as_json, "reopen", reason=reason)


@app.command("comment")
def comment(
    vulnerability: Which, comment: Annotated[str, typer.Argument()], as_json: AsJson = False
) -> None:
    """Add to its history."""
    _decide(vulnerability, as_json, "comment", comment=comment)


@app.command("assign")
def assign(
    vulnerability: Which,
    owner: Annotated[str, typer.Argument(help="Whose it is; '' takes the owner away.")],
    reason: MaybeWhy = None,
    as_json: AsJson = False,
) -> None:
    """Say whose it is."""
    body: Row = {"action": "assign", "owner": owner or None, "reason": reason}
    with connected() as api:
        document = api.post(f"vulnerabilities/{find(api, vulnerability)}/decisions", body)
    show(document, as_json, *details(document))
