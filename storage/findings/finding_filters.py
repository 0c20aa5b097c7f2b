"""What a filter of findings means in SQL: on running totals, and on the findings themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.findings import FindingFilter
from storage.tables import ScanRow

OF_PLACE: Final = ("account_id", "source", "service", "region", "check_id")
OF_VERDICT: Final = ("severity", "status", "state")
LOOSE: Final = ("resource_uid", "q", "scan_id", "first_seen_after")
"""Filters that running totals cannot answer; those first that mostly match the fewest."""
OF_RESOURCE: Final = ("resource_uid", "q")
REPEATING: Final = ("q", "scan_id")
"""Filters whose candidates may come twice."""

_ARRAYS: Final = {
    "account_id": "uuid[]",
    "severity": "severity[]",
    "status": "finding_status[]",
    "state": "finding_state[]",
}
_SEPARATORS: Final = ":/-_.@"
"""Where words end: as in the SQL function `search_words`."""

SUM: Final = "sum(CAST(n AS float8))"
"""Of running totals; exact up to 2^53. PostgreSQL sums bigint as numeric, which is far slower."""

SHOWN: Final = "(finding.gone_at IS NULL OR finding.status <> 'pass')"
PLACE: Final = "JOIN check_coverage AS place ON place.id = finding.coverage_id"

OPENED_SINCE: Final = """EXISTS (
        SELECT FROM check_coverage AS place
        WHERE place.id = counted.coverage_id AND place.opened_at > :first_seen_after
    )"""

OF_SEVERITY: Final = "AND finding.severity = CAST(:worst AS severity)"
OF_PLACES: Final = "AND place.id = ANY(CAST(:places AS integer[]))"

_LAST_COVERED: Final = (
    "(whole.gone_at IS NULL AND place.scan_id = :scan_id AND place.at >= whole.seen_at)"
)


def _loosely(whole: Callable[[str], str]) -> dict[str, str]:
    """Conditions of the loose filters; `whole` asks one of what no index has."""
    return {
        "resource_uid": "finding.resource_hash IN"
        " (SELECT hashtext(unnest(CAST(:resource_uid AS text[])))) AND "
        + whole("whole.resource_uid = ANY(CAST(:resource_uid AS text[]))"),
        "q": f"""EXISTS (
            SELECT FROM finding_subject AS subject
            WHERE hashtext(subject.resource_uid) = finding.resource_hash
              AND subject.team_id = :team_id AND subject.words @@ CAST(:q AS tsquery)
              AND {
            whole(
                "whole.resource_uid = subject.resource_uid"
                " AND whole.resource_name = subject.resource_name"
            )
        }
        )""",
        "scan_id": f"""(
            {whole(f":scan_id IN (whole.first_scan_id, whole.seen_scan_id) OR {_LAST_COVERED}")}
            OR EXISTS (
                SELECT FROM finding_event AS event
                WHERE event.finding_id = finding.id AND event.scan_id = :scan_id
            )
        )""",
        "first_seen_after": "finding.first_seen_at > :first_seen_after",
    }


_OF_INDEX: Final = _loosely(
    lambda asked: f"EXISTS (SELECT FROM finding AS whole WHERE whole.id = finding.id AND ({asked}))"
)
"""Only `finding_worst_idx` is read for what no such condition asks of."""
_OF_TABLE: Final = _loosely(lambda asked: f"({asked.replace('whole.', 'finding.')})")
LOOSELY_MATCHED: Final = ", ".join(
    f"finding.{name}"
    for name in (
        *("id", "coverage_id", "resource_hash", "first_seen_at", "gone_at", "seen_at"),
        *("first_scan_id", "seen_scan_id", "resource_uid", "resource_name"),
    )
)
"""What the conditions for `on_counted` ask of."""

SUBJECTS: Final = """
    SELECT count(*) AS n FROM (
        SELECT FROM finding_subject
        WHERE team_id = :team_id AND words @@ CAST(:q AS tsquery) LIMIT :most + 1
    ) AS subject
"""
"""How many resources `q` finds, up to one more than `most`."""

_COLUMNS: Final = ", ".join(
    f"finding.{name}"
    for name in (
        *("id", "team_id", "gone_at", "severity", "status", "state"),
        *("coverage_id", "resource_hash", "first_seen_at"),
    )
)
_A_DAY_BEFORE: Final = "CAST(:first_seen_after AS timestamptz) - interval '1 day'"
_FORGOTTEN: Final = f"""coalesce({_A_DAY_BEFORE} <= (
            SELECT max(newest) FROM retention_tally WHERE team_id = :team_id AND kind = 'scans'
        ), false)"""  # noqa: S608 (our own names)
"""Whether retention deleted scans of that time: then they cannot be asked what they saw first."""
_CANDIDATES: Final = {
    "resource_uid": f"""
        SELECT {_COLUMNS} FROM finding
        WHERE finding.resource_hash IN
              (SELECT hashtext(unnest(CAST(:resource_uid AS text[]))))
          AND finding.resource_uid = ANY(CAST(:resource_uid AS text[])) {{of_severity}}
    """,  # noqa: S608 (our own names)
    "q": f"""
        SELECT {_COLUMNS}
        FROM finding_subject AS subject JOIN finding
            ON finding.resource_hash = hashtext(subject.resource_uid)
            AND finding.resource_uid = subject.resource_uid
            AND finding.resource_name = subject.resource_name {{of_severity}}
        WHERE subject.team_id = :team_id AND subject.words @@ CAST(:q AS tsquery)
    """,  # noqa: S608 (our own names)
    "scan_id": f"""
        SELECT {_COLUMNS}
        FROM check_coverage AS place JOIN finding ON finding.coverage_id = place.id {{of_severity}}
        WHERE place.account_id = ANY(CAST(:account_id AS uuid[])) {{of_places}}
          AND {_LAST_COVERED.replace("whole", "finding")}
        UNION ALL
        SELECT {_COLUMNS} FROM finding WHERE first_scan_id = :scan_id {{of_severity}}
        UNION ALL
        SELECT {_COLUMNS} FROM finding
        WHERE seen_scan_id = :scan_id AND seen_scan_id <> first_scan_id {{of_severity}}
        UNION ALL
        SELECT {_COLUMNS} FROM finding_event AS event JOIN finding ON finding.id = event.finding_id
        WHERE event.scan_id = :scan_id {{of_severity}}
    """,  # noqa: S608 (our own names)
    "first_seen_after": f"""
        SELECT {_COLUMNS}
        FROM scan JOIN finding ON finding.first_scan_id = scan.id
            AND finding.first_seen_at > :first_seen_after {{of_severity}}
        -- A scan that had ended by then saw none; a day, as clocks of workers differ.
        WHERE scan.team_id = :team_id AND NOT {_FORGOTTEN} AND (
            scan.finished_at IS NULL OR scan.finished_at >= {_A_DAY_BEFORE}
        )
        UNION ALL
        SELECT {_COLUMNS} FROM finding
        WHERE finding.team_id = :team_id AND {_FORGOTTEN}
          AND finding.first_seen_at > :first_seen_after AND {SHOWN} {{of_severity}}
    """,  # noqa: S608 (our own names)
}


def parameters(team_id: UUID, filter: FindingFilter) -> dict[str, Any]:
    """The values that the conditions below name."""
    values: dict[str, Any] = {"team_id": team_id}
    for name in (*OF_PLACE, *OF_VERDICT, *LOOSE):
        value = getattr(filter, name)
        if isinstance(value, list):
            value = [item if isinstance(item, UUID) else str(item) for item in value]
        if value is not None:
            values[name] = value
    if filter.q is not None:
        values["q"] = tsquery(filter.q)
    return values


async def narrowed(
    session: AsyncSession, team_id: UUID, filter: FindingFilter
) -> FindingFilter | None:
    """The same filter with the account that its scan is of; None if nothing can match."""
    if filter.scan_id is None:
        return filter
    scan = select(ScanRow.account_id).where(
        ScanRow.id == filter.scan_id, ScanRow.team_id == team_id
    )
    account_id = await session.scalar(scan)
    if account_id is None or account_id not in (filter.account_id or [account_id]):
        return None
    return filter.model_copy(update={"account_id": [account_id]})


def loose(filter: FindingFilter) -> list[str]:
    """Which filters are set that running totals cannot answer."""
    return [name for name in LOOSE if getattr(filter, name) is not None]


def totals(filter: FindingFilter) -> str:
    """The smaller running totals where they do: the team's, unless an account or check is named."""
    by_place = filter.account_id is not None or filter.check_id is not None
    return "finding_count" if by_place else "finding_total"


def on_totals(filter: FindingFilter) -> str:
    """Condition for the running totals, called `counted`, that count these findings."""
    return _all("counted.team_id = :team_id", *_equal(filter, "counted", "counted"))


def on_news(filter: FindingFilter) -> str:
    """Condition for the places of running totals, `counted`: any but those with nothing so new."""
    return "true" if filter.first_seen_after is None else OPENED_SINCE


def is_counted(filter: FindingFilter) -> bool:
    """Whether running totals know more of the matching findings than their severity."""
    return any(
        getattr(filter, name) is not None for name in (*OF_PLACE, *OF_VERDICT) if name != "severity"
    )


def joined(filter: FindingFilter) -> str:
    """What `on_findings` needs beside `finding`."""
    return PLACE if any(getattr(filter, name) is not None for name in OF_PLACE) else ""


def without(filter: FindingFilter, name: str) -> FindingFilter:
    """What candidates of one loose filter have yet to match; those of a scan are of its account."""
    matched = {name: None, "account_id": None} if name == "scan_id" else {name: None}
    return filter.model_copy(update=matched)


def on_findings(filter: FindingFilter) -> str:
    """Condition for shown findings of the team, with `joined` beside them."""
    return _all(
        "true",
        *_equal(filter, "place", "finding"),
        *(_OF_INDEX[name] for name in loose(filter)),
    )


def on_findings_in_places(filter: FindingFilter) -> str:
    """The same for findings of the places that match, which need not be looked up."""
    return _all(
        "true",
        *_equal(filter, None, "finding"),
        *(_OF_INDEX[name] for name in loose(filter)),
    )


def on_counted(filter: FindingFilter) -> tuple[str, str]:
    """The same two, for findings of places and verdicts that running totals chose."""
    loosely = _all("true", *(_OF_TABLE[name] for name in loose(filter)))
    return PLACE if filter.scan_id is not None else "", loosely


def candidates(name: str, *, of_severity: bool = False, of_places: bool = False) -> str:
    """All findings that one loose filter matches, found by its own index; REPEATING some twice."""
    return (
        _CANDIDATES[name]
        .replace("{of_severity}", OF_SEVERITY if of_severity else "")
        .replace("{of_places}", OF_PLACES if of_places else "")
    )


def _equal(filter: FindingFilter, place: str | None, verdict: str) -> list[str]:
    return [
        f"{table}.{name} = ANY(CAST(:{name} AS {_ARRAYS.get(name, 'text[]')}))"
        for table, names in ((place, OF_PLACE), (verdict, OF_VERDICT))
        for name in names
        if table is not None and getattr(filter, name) is not None
    ]


def _all(*conditions: str) -> str:
    return " AND ".join(conditions)


def tsquery(q: str) -> str:
    """Resources that have every word of `q`, or a word that begins so; empty without any word."""
    parts = q.lower().split(":", 5)
    if parts[0] == "arn" and parts[5:] not in ([], [""]):  # of which the words are those at its end
        q = parts[5]
    words = q.lower().translate(str.maketrans(_SEPARATORS, " " * len(_SEPARATORS))).split()
    quoted = (word.replace("\\", r"\\").replace("'", "''") for word in words)
    return " & ".join(f"'{word}':*" for word in quoted)
