"""What a filter of findings means in SQL: on running totals, and on the findings themselves."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from contracts.findings import FindingFilter

OF_PLACE: Final = ("account_id", "source", "service", "region", "check_id")
OF_VERDICT: Final = ("severity", "status", "state")
LOOSE: Final = ("resource_uid", "q", "scan_id", "first_seen_after")
"""Filters that running totals cannot answer; those first that mostly match the fewest."""

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
FINDINGS: Final = "finding JOIN check_coverage AS place ON place.id = finding.coverage_id"

_LAST_COVERED: Final = (
    "(finding.gone_at IS NULL AND place.scan_id = :scan_id AND place.at >= finding.seen_at)"
)
_LOOSE: Final = {
    "resource_uid": "hashtext(finding.resource_uid) IN"
    " (SELECT hashtext(unnest(CAST(:resource_uid AS text[]))))"
    " AND finding.resource_uid = ANY(CAST(:resource_uid AS text[]))",
    "q": "search_words(finding.resource_uid, finding.resource_name) @@ CAST(:q AS tsquery)",
    "scan_id": "(:scan_id IN (finding.first_scan_id, finding.seen_scan_id)"
    f" OR {_LAST_COVERED} OR EXISTS (SELECT FROM finding_event AS event"
    " WHERE event.finding_id = finding.id AND event.scan_id = :scan_id))",
    "first_seen_after": "finding.first_seen_at > :first_seen_after",
}
_CANDIDATES: Final = {
    "resource_uid": f"SELECT finding.id FROM finding WHERE {_LOOSE['resource_uid']}",  # noqa: S608
    "q": """
        SELECT finding.id
        FROM (
            SELECT DISTINCT resource_uid FROM finding_subject
            WHERE team_id = :team_id AND words @@ CAST(:q AS tsquery)
        ) AS subject
        JOIN finding ON hashtext(finding.resource_uid) = hashtext(subject.resource_uid)
                    AND finding.resource_uid = subject.resource_uid
    """,
    "scan_id": f"""
        SELECT finding.id FROM {FINDINGS}
        WHERE place.account_id = (SELECT account_id FROM scan WHERE id = :scan_id)
          AND {_LAST_COVERED}
        UNION ALL
        SELECT id FROM finding WHERE first_scan_id = :scan_id OR seen_scan_id = :scan_id
        UNION ALL
        SELECT finding_id FROM finding_event WHERE scan_id = :scan_id
    """,  # noqa: S608 (our own names)
    "first_seen_after": "SELECT finding.id FROM finding"
    " WHERE finding.first_seen_at > :first_seen_after",
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


def on_findings(filter: FindingFilter) -> str:
    """Condition for FINDINGS."""
    return _all(
        "finding.team_id = :team_id",
        SHOWN,
        *_equal(filter, "place", "finding"),
        *(_LOOSE[name] for name in loose(filter)),
    )


def candidates(name: str) -> str:
    """Ids of all findings that one loose filter may match, found by its own index; some twice."""
    return _CANDIDATES[name]


def _equal(filter: FindingFilter, place: str, verdict: str) -> list[str]:
    return [
        f"{table}.{name} = ANY(CAST(:{name} AS {_ARRAYS.get(name, 'text[]')}))"
        for table, names in ((place, OF_PLACE), (verdict, OF_VERDICT))
        for name in names
        if getattr(filter, name) is not None
    ]


def _all(*conditions: str) -> str:
    return " AND ".join(conditions)


def tsquery(q: str) -> str:
    """Resources that have every word of `q`, or a word that begins so; empty without any word."""
    words = q.lower().translate(str.maketrans(_SEPARATORS, " " * len(_SEPARATORS))).split()
    quoted = (word.replace("\\", r"\\").replace("'", "''") for word in words)
    return " & ".join(f"'{word}':*" for word in quoted)
