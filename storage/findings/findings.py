"""Reading findings: lists, one with its history, counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import NotFound
from contracts.findings import (
    Finding,
    FindingDetail,
    FindingEvent,
    FindingFilter,
    FindingResource,
    FindingSummary,
)
from contracts.vocabulary import FindingTransition, Severity
from storage import cursors
from storage.checks import check_ids_that_say, find_check
from storage.findings import finding_filters as filters
from storage.findings.finding_pages import Place, find_page
from storage.findings.finding_tables import FindingEventRow

SUMMED: Final = ("severity", "status", "state", "service", "region")

_FINDINGS: Final = TypeAdapter(list[Finding])
SEEN_LATER: Final = """finding.gone_at IS NULL AND coalesce(
                (place.at, place.scan_id) > (finding.seen_at, finding.seen_scan_id), false
            )"""
"""What was not written since was seen again whenever its check completed there."""
_LOADED: Final = text(f"""
    SELECT finding.id, place.source, place.provider, place.account_id,
           coalesce(account.uid, '') AS account_uid, place.region, place.service, place.check_id,
           coalesce(described.title, place.check_id) AS title,
           finding.severity, finding.status, finding.state, finding.detail,
           finding.first_seen_at, finding.resolved_at, finding.first_scan_id,
           CASE WHEN seen_later THEN place.at ELSE finding.seen_at END AS last_seen_at,
           CASE WHEN seen_later THEN place.scan_id ELSE finding.seen_scan_id END AS last_scan_id,
           finding.resource_uid AS uid, finding.resource_name AS name, finding.resource_type AS type
    FROM finding
        JOIN check_coverage AS place ON place.id = finding.coverage_id
        JOIN account ON account.id = place.account_id
        LEFT JOIN check_definition AS described
            ON (described.source, described.provider, described.check_id)
             = (place.source, place.provider, place.check_id)
        CROSS JOIN LATERAL (
            SELECT {SEEN_LATER} AS seen_later
        ) AS seen
    WHERE finding.id = ANY(:ids) AND finding.team_id = :team_id
""")  # noqa: S608 (our own names)
"""What a `Finding` shows, and its resource's uid, name and type."""


async def list_findings(
    session: AsyncSession,
    team_id: UUID,
    filter: FindingFilter,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[Finding]:
    """Findings that match, worst first; passes of resources that are gone are left out.

    `q` finds any part of a check's id or title, and words that a resource's name or uid has or that
    begin so. `scan_id` finds what that scan was the last to see, or opened, changed, resolved or
    reopened.
    """
    after = cursors.decode("findings", cursor, [Severity, UUID])
    checks = None if filter.q is None else await check_ids_that_say(session, filter.q)
    places = await find_page(
        session,
        team_id,
        filter,
        after=Place(*after) if after else None,
        needed=limit + 1,
        checks=checks,
    )
    shown = places[:limit]
    found = await load_findings(session, team_id, [place.id for place in shown])
    more = len(places) > limit
    return Page(
        # One that was deleted in between is left out.
        items=[found[place.id] for place in shown if place.id in found],
        next_cursor=cursors.encode("findings", shown[-1].severity.value, shown[-1].id)
        if more
        else None,
    )


async def get_finding(session: AsyncSession, team_id: UUID, finding_id: UUID) -> FindingDetail:
    """One finding with its check's text and its history, oldest first."""
    found = (await load_findings(session, team_id, [finding_id])).get(finding_id)
    if found is None:
        raise NotFound("There is no such finding in this team.")
    events = await session.scalars(
        select(FindingEventRow)
        .where(FindingEventRow.finding_id == finding_id)
        .order_by(FindingEventRow.id)
    )
    later = [
        FindingEvent.model_validate(
            {name: getattr(event, name) for name in FindingEvent.model_fields}
        )
        for event in events
    ]
    return FindingDetail(
        **dict(found),
        check=await find_check(session, found.source, found.provider, found.check_id),
        history=[_opened(found, later), *later],
    )


def _opened(found: Finding, later: Sequence[FindingEvent]) -> FindingEvent:
    """How it began: as it is, but for what was changed since."""
    first: dict[str, Any] = {"status": found.status.value, "severity": found.severity.value}
    for event in reversed(later):
        first.update({name: value for name, value in (event.before or {}).items() if name in first})
    return FindingEvent(
        at=found.first_seen_at,
        scan_id=found.first_scan_id,
        transition=FindingTransition.OPENED,
        after=first,
    )


async def summarize_findings(
    session: AsyncSession, team_id: UUID, filter: FindingFilter
) -> FindingSummary:
    """Counts of the findings that `list_findings` would list.

    From running totals, in the time it takes to add them up; filters by resource, scan, text or
    time of finding count the findings themselves.
    """
    counts: dict[str, dict[str, int]] = {name: {} for name in SUMMED}
    total = 0
    for row in await _counted(session, team_id, filter):
        named = [
            (name, str(row[index])) for index, name in enumerate(SUMMED) if row[index] is not None
        ]
        if not named:
            total += int(row.n)
        for name, word in named:  # one: the rows are of one grouping each
            counts[name][word] = counts[name].get(word, 0) + int(row.n)
    return FindingSummary(total=total, **counts)


async def _counted(
    session: AsyncSession, team_id: UUID, filter: FindingFilter
) -> Sequence[Row[Any]]:
    narrowed = await filters.narrowed(session, team_id, filter)
    if narrowed is None:
        return []
    filter = narrowed
    if filter.q is None:
        return await _count(session, team_id, filter, besides=[])
    checks = await check_ids_that_say(session, filter.q)
    if filter.check_id is not None:
        checks = sorted({*checks} & {*filter.check_id})
    rows: list[Row[Any]] = []
    if checks:
        of_checks = filter.model_copy(update={"q": None, "check_id": checks})
        rows += await _count(session, team_id, of_checks, besides=[])
    if filters.tsquery(filter.q):
        rows += await _count(session, team_id, filter, besides=checks)
    return rows


async def _count(
    session: AsyncSession, team_id: UUID, filter: FindingFilter, *, besides: list[str]
) -> Sequence[Row[Any]]:
    """Findings by what a summary counts; those of the checks `besides` are counted already."""
    values = {**filters.parameters(team_id, filter), "besides": besides}
    loose = filters.loose(filter)
    if not loose:
        sql = f"""
            SELECT {", ".join(SUMMED)}, {filters.SUM} AS n FROM {filters.totals(filter)} AS counted
            WHERE {filters.on_totals(filter)} GROUP BY {_each(SUMMED)} HAVING {filters.SUM} > 0
        """  # noqa: S608 (our own names)
        del values["besides"]
        return (await session.execute(text(sql), values)).all()
    by = loose[0]
    rest = filters.without(filter, by)
    source = f"({filters.candidates(by)})"
    if by in filters.REPEATING:
        source = f"(SELECT DISTINCT * FROM {source} AS found)"  # noqa: S608 (our own names)
    sql = f"""
        SELECT finding.severity, finding.status, finding.state, place.service, place.region,
               {filters.SUM} AS n
        FROM (
            SELECT finding.coverage_id, finding.severity, finding.status, finding.state,
                   count(*) AS n
            FROM {source} AS finding {filters.joined(rest)}
            WHERE finding.team_id = :team_id AND {filters.SHOWN}
              AND {filters.on_findings(rest)}
            GROUP BY finding.coverage_id, finding.severity, finding.status, finding.state
        ) AS finding {filters.PLACE}
        WHERE NOT place.check_id = ANY(CAST(:besides AS text[]))
        GROUP BY {_each(SUMMED)} HAVING {filters.SUM} > 0
    """  # noqa: S608 (our own names)
    return (await session.execute(text(sql), values)).all()


def _each(columns: Sequence[str]) -> str:
    """Each on its own, and all together: hundreds of rows where their product has thousands."""
    return f"GROUPING SETS ({', '.join(f'({column})' for column in columns)}, ())"


async def load_findings(
    session: AsyncSession, team_id: UUID, ids: Sequence[UUID]
) -> dict[UUID, Finding]:
    """These findings of the team by id; those that do not exist are left out."""
    rows = await session.execute(_LOADED, {"team_id": team_id, "ids": list(ids)})
    names = tuple(rows.keys())
    found = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        values["resource"] = {part: values.pop(part) for part in FindingResource.model_fields}
        found.append(values)
    return {finding.id: finding for finding in _FINDINGS.validate_python(found)}
