"""Reading vulnerabilities: lists, one with its occurrences and history, counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import NotFound
from contracts.vocabulary import Severity, SlaState, VulnerabilityTransition
from contracts.vulnerabilities import (
    Occurrence,
    Vulnerability,
    VulnerabilityDetail,
    VulnerabilityEvent,
    VulnerabilityFilter,
    VulnerabilitySummary,
)
from storage import cursors
from storage.vulnerabilities.sla import CONDITIONS, sla_state
from storage.vulnerabilities.vulnerability_search import search
from storage.vulnerabilities.vulnerability_tables import OccurrenceRow, VulnerabilityEventRow

_ARRAYS: Final = {"account_id": "uuid[]", "severity": "severity[]"}
_COLUMNS: Final = ", ".join(
    f"vulnerability.{name}"
    for name in Vulnerability.model_fields
    if name not in ("account_uid", "sla")
)
_SHOWN: Final = f"""
    SELECT {_COLUMNS}, coalesce(account.uid, '') AS account_uid
    FROM vulnerability JOIN account ON account.id = vulnerability.account_id
"""  # noqa: S608 (our own names)


async def list_vulnerabilities(
    session: AsyncSession,
    team_id: UUID,
    filter: VulnerabilityFilter,
    *,
    at: datetime,
    limit: int,
    cursor: str | None = None,
) -> Page[Vulnerability]:
    """Vulnerabilities that match, worst first."""
    conditions, values = await _conditions(session, team_id, filter, at)
    after = cursors.decode("vulnerabilities", cursor, [Severity, UUID])
    if after is not None:
        conditions += " AND (severity, vulnerability.id) < (CAST(:worst AS severity), :before)"
        values |= {"worst": after[0].value, "before": after[1]}
    rows = (
        await session.execute(
            text(
                f"{_SHOWN} WHERE {conditions} ORDER BY severity DESC, vulnerability.id DESC"
                " LIMIT :needed"
            ),
            {**values, "needed": limit + 1},
        )
    ).all()
    items = [_shown(row, at) for row in rows[:limit]]
    return Page(
        items=items,
        next_cursor=cursors.encode("vulnerabilities", items[-1].severity.value, items[-1].id)
        if len(rows) > limit
        else None,
    )


async def get_vulnerability(
    session: AsyncSession, team_id: UUID, vulnerability_id: UUID, *, at: datetime
) -> VulnerabilityDetail:
    """One vulnerability with its occurrences and its history, both oldest first."""
    row = (
        await session.execute(
            text(f"{_SHOWN} WHERE vulnerability.id = :id AND vulnerability.team_id = :team_id"),
            {"id": vulnerability_id, "team_id": team_id},
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such vulnerability in this team.")
    found = _shown(row, at)
    occurrences = await session.scalars(
        select(OccurrenceRow)
        .where(OccurrenceRow.vulnerability_id == vulnerability_id)
        .order_by(OccurrenceRow.opened_at, OccurrenceRow.finding_id)
    )
    events = await session.scalars(
        select(VulnerabilityEventRow)
        .where(VulnerabilityEventRow.vulnerability_id == vulnerability_id)
        .order_by(VulnerabilityEventRow.id)
    )
    later = [
        VulnerabilityEvent.model_validate(
            {name: getattr(event, name) for name in VulnerabilityEvent.model_fields}
        )
        for event in events
    ]
    return VulnerabilityDetail(
        **dict(found),
        occurrences=[
            Occurrence.model_validate(
                {name: getattr(row, name) for name in Occurrence.model_fields}
            )
            for row in occurrences
        ],
        history=[_opened(found, later), *later],
    )


def _opened(found: Vulnerability, later: Sequence[VulnerabilityEvent]) -> VulnerabilityEvent:
    """How it began: as it is, but for what was changed since."""
    names = ("status", "severity", "owner", "open_occurrences", "total_occurrences")
    first: dict[str, Any] = {name: getattr(found, name) for name in names}
    for event in reversed(later):
        first.update({name: value for name, value in (event.before or {}).items() if name in first})
    if first["owner"] is None:
        del first["owner"]
    return VulnerabilityEvent(
        at=found.first_detected_at,
        who="sync",
        transition=VulnerabilityTransition.OPENED,
        after=first,
    )


async def summarize_vulnerabilities(
    session: AsyncSession, team_id: UUID, filter: VulnerabilityFilter, *, at: datetime
) -> VulnerabilitySummary:
    """Counts of what `list_vulnerabilities` would list."""
    conditions, values = await _conditions(session, team_id, filter, at)
    state = " ".join(f"WHEN {sql} THEN '{name}'" for name, sql in CONDITIONS.items())
    rows = await session.execute(
        text(f"""
            SELECT status, severity, sla, count(*) AS n
            FROM (
                SELECT status, severity, CASE {state} END AS sla
                FROM vulnerability WHERE {conditions}
            ) AS matching
            GROUP BY status, severity, sla
        """),  # noqa: S608 (our own names)
        values | {"at": at},
    )
    counts: dict[str, dict[str, int]] = {"status": {}, "severity": {}, "sla": {}}
    total = 0
    for row in rows:
        total += row.n
        for name, words in counts.items():
            word = getattr(row, name)
            if word is not None:
                words[word] = words.get(word, 0) + row.n
    return VulnerabilitySummary(total=total, **counts)


async def _conditions(
    session: AsyncSession, team_id: UUID, filter: VulnerabilityFilter, at: datetime
) -> tuple[str, dict[str, Any]]:
    conditions = ["vulnerability.team_id = :team_id"]
    values: dict[str, Any] = {"team_id": team_id}
    for name in ("status", "severity", "owner", "account_id", "weakness"):
        wanted = getattr(filter, name)
        if wanted is not None:
            kind = _ARRAYS.get(name, "text[]")
            conditions.append(f"vulnerability.{name} = ANY(CAST(:{name} AS {kind}))")
            values[name] = [item if isinstance(item, UUID) else str(item) for item in wanted]
    if filter.sla is not None:
        states = " OR ".join(f"({CONDITIONS[SlaState(state)]})" for state in filter.sla)
        conditions.append(f"({states})")
        values["at"] = at
    if filter.q is not None:
        found = await search(session, team_id, filter.q)
        conditions.append(found.condition)
        values |= found.values
    return " AND ".join(conditions), values


def _shown(row: Row[Any], at: datetime) -> Vulnerability:
    return Vulnerability.model_validate({**row._mapping, "sla": sla_state(row.due_at, at)})
