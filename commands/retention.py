"""`cloudsweep retention`: how long what is over is kept, and legal holds."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from commands import accounts
from commands.client import WRONG_USAGE, Failure, Row, connected
from commands.output import (
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
from contracts.vocabulary import RetentionKind, Severity

app = typer.Typer(no_args_is_help=True, help="Retention: show, set, preview, hold.")
hold = typer.Typer(no_args_is_help=True, help="Legal holds: list, add, lift.")
app.add_typer(hold, name="hold")

KINDS: Final = tuple(kind.value for kind in RetentionKind)
Days = Annotated[
    list[str] | None,
    typer.Argument(metavar="KIND=DAYS", help="Such as events=90, or runs=never."),
]


@app.command("show")
def show_policies(as_json: AsJson = False) -> None:
    """Show for how many days each kind is kept, and what was deleted of it last."""
    with connected() as api:
        document = api.get("retention")
    show(document, as_json, _policies(document["items"]))


@app.command("set")
def set_policies(
    days: Annotated[
        list[str], typer.Argument(metavar="KIND=DAYS", help="Such as events=90, or runs=never.")
    ],
    as_json: AsJson = False,
) -> None:
    """Change how long kinds are kept; what is not named stays. Preview it first."""
    wanted = _parsed(days)
    with connected() as api:
        api.post(
            "retention/preview", {"keep_days": wanted}
        )  # all of them make sense, or none is set
        for kind, number in wanted.items():
            api.put(f"retention/{kind}", {"keep_days": number})
        document = api.get("retention")
    show(document, as_json, _policies(document["items"]))


@app.command("preview")
def preview(days: Days = None, as_json: AsJson = False) -> None:
    """Count what the next cycle would delete, by the stored policies but for those given here."""
    with connected() as api:
        document = api.post("retention/preview", {"keep_days": _parsed(days or [])})
    rows = table("KIND", ">KEPT", ">DELETES", "OLDEST", ">HELD", ">NEEDED")
    for item in document["kinds"]:
        rows.add_row(
            cell(item["kind"]),
            _kept(item["keep_days"]),
            cell(item["deletes"], "bold red" if item["deletes"] else None),
            cell((item["oldest_at"] or "-")[:10]),
            str(item["held"]),
            str(item["needed"]),
        )
    words = "HELD: by a legal hold. NEEDED: old, but something else still needs it."
    show(document, as_json, rows, cell(words, "dim"))


@hold.command("list")
def list_holds(
    lifted: Annotated[bool, typer.Option("--lifted", help="Those that were lifted.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List legal holds, newest first."""
    with connected() as api:
        page = api.page("retention/holds", {"lifted": lifted}, limit, cursor)
    rows = table("ID", "*NAME", "*HOLDS", "*REASON", "*BY", ">AGE", *(["LIFTED BY"] * lifted))
    for item in page["items"]:
        rows.add_row(
            short(item["id"]),
            cell(item["name"]),
            cell(_holds(item)),
            cell(item["reason"]),
            cell(item["created_by"]),
            age(item["created_at"]),
            *([cell(item["lifted_by"])] * lifted),
        )
    show_page(page, as_json, rows, "No legal holds.")


@hold.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    reason: Annotated[str, typer.Option(help="Why these are not to be deleted.")],
    kind: Annotated[list[RetentionKind] | None, typer.Option(help="Only of this kind.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    check_id: Annotated[str | None, typer.Option(help="Only of this check.")] = None,
    severity: Annotated[list[Severity] | None, typer.Option(help="Only of this severity.")] = None,
    region: Annotated[str | None, typer.Option(help="Only in this region.")] = None,
    resource: Annotated[
        str | None, typer.Option(help="Only resources with this UID or name; * is any text.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option(help="Only resources with this tag, such as env:prod.")
    ] = None,
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold back rows that match all that is named, until the hold is lifted."""
    with connected() as api:
        given: Row = {
            "kinds": [each.value for each in kind or ()] or None,
            "account_id": None if account is None else accounts.find(api, account),
            "severity": [each.value for each in severity or ()] or None,
            "check_id": check_id,
            "region": region,
            "resource": resource,
            "tag": tag,
            "job": job,
        }
        body = {name: value for name, value in given.items() if value is not None}
        document = api.post("retention/holds", {"name": name, "reason": reason, **body})
    pairs = [("name", document["name"]), ("holds", _holds(document)), ("reason", reason)]
    show(
        document, as_json, fields([*pairs, ("by", document["created_by"]), ("id", document["id"])])
    )


@hold.command("lift")
def lift(
    which: Annotated[str, typer.Argument(metavar="HOLD", help="Name, id, or a part of the id.")],
    as_json: AsJson = False,
) -> None:
    """Lift a hold: the next cycle deletes what only it held back."""
    with connected() as api:
        whole = api.resolve("retention/holds", which, "retention hold")
        api.delete(f"retention/holds/{whole}")
        document = api.get(f"retention/holds/{whole}")
    show(document, as_json, cell(f"Lifted: {document['name']} ({_holds(document)})."))


def _parsed(pairs: list[str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for pair in pairs:
        kind, _, number = pair.partition("=")
        if kind not in KINDS or not (number == "never" or number.isdecimal()):
            raise Failure(
                f"`{pair}` is not a kind and its days.",
                fix=f"Write it like events=90 or runs=never. Kinds: {', '.join(KINDS)}.",
                code=WRONG_USAGE,
            )
        found[kind] = None if number == "never" else int(number)
    return found


def _policies(items: list[Row]) -> Any:
    rows = table("KIND", ">KEPT", "CHANGED BY", ">LAST DELETED", "AT")
    for item in items:
        rows.add_row(
            cell(item["kind"]),
            _kept(item["keep_days"]),
            cell("default" if item["is_default"] else item["updated_by"]),
            str(item["last_deleted"]) if item["last_deleted_at"] else "-",
            (item["last_deleted_at"] or "-")[:16].replace("T", " "),
        )
    return rows


def _kept(days: int | None) -> str:
    return "for ever" if days is None else f"{days} day{'' if days == 1 else 's'}"


def _holds(item: Row) -> str:
    from contracts.retention import ALL_CRITERIA  # with pydantic, which takes a quarter of a second

    named = [(name, item[name]) for name in ALL_CRITERIA if item[name] is not None]
    words = [f"{name} {', '.join(v) if isinstance(v, list) else v}" for name, v in named]
    kinds = ", ".join(item["kinds"]) if item["kinds"] else "every kind"
    return f"{kinds}: {'; '.join(words)}" if words else f"all {kinds}"
