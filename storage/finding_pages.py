"""Which findings stand on a page, worst first, found in time bounded by what the page holds.

Ids are digests: what matches a filter is spread evenly over them, and running totals say how much
it is. So we know beforehand which is quicker for each severity: to walk the findings of the team in
order until the page is full, or to fetch all that match from the few places where they are.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.findings import FindingFilter
from contracts.vocabulary import Severity
from storage import finding_filters as filters
from storage.finding_filters import SUM

BEFORE_ALL: Final = UUID(int=2**128 - 1)
WORST_FIRST: Final = tuple(reversed(Severity))
FEW: Final = 2_000
WALKED_PER_FETCHED: Final = 2
"""Walking past a finding costs about twice as much as fetching one that matches."""

_LOOK_UP: Final = text("""
    SELECT set_config(name, 'off', true)
    FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan']) AS setting (name)
""")
"""Pages are a few rows: each is looked up, whatever the statistics say of tables that just grew."""

_WALK: Final = f"""
    SELECT finding.id FROM {filters.FINDINGS}
    WHERE {{matching}} AND finding.severity = CAST(:worst AS severity) AND finding.id < :before
    ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
_FETCH: Final = f"""
    WITH cell AS MATERIALIZED (
        SELECT coverage_id, status, state FROM finding_count AS counted
        WHERE {{counted}} AND severity = CAST(:worst AS severity)
        GROUP BY coverage_id, status, state HAVING sum(n) > 0
    )
    SELECT finding.id
    FROM cell JOIN ({filters.FINDINGS})
        ON (finding.coverage_id, finding.status, finding.state)
         = (cell.coverage_id, cell.status, cell.state)
    WHERE {{matching}} AND finding.severity = CAST(:worst AS severity) AND finding.id < :before
    ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
_FEW: Final = f"""
    WITH candidate AS MATERIALIZED ({{candidates}} LIMIT :few + 1),
    counted AS (SELECT count(*) AS n FROM candidate)
    SELECT counted.n, matching.severity, matching.id
    FROM counted LEFT JOIN LATERAL (
        SELECT finding.severity, finding.id
        FROM (SELECT DISTINCT id FROM candidate) AS once
            JOIN ({filters.FINDINGS}) ON finding.id = once.id
        WHERE {{matching}} AND (finding.severity, finding.id) < (CAST(:worst AS severity), :before)
        ORDER BY finding.severity DESC, finding.id DESC LIMIT :needed
    ) AS matching ON counted.n <= :few
"""  # noqa: S608 (our own names)


class Place(NamedTuple):
    """Where a finding stands in the list."""

    severity: Severity
    id: UUID


async def find_page(
    session: AsyncSession,
    team_id: UUID,
    filter: FindingFilter,
    *,
    after: Place | None,
    needed: int,
    checks: list[str] | None,
) -> list[Place]:
    """The next findings that match, in order; `checks` are those whose text has what `q` asks."""
    await session.execute(_LOOK_UP)
    after = after or Place(WORST_FIRST[0], BEFORE_ALL)
    if filter.q is None:
        return await _page(session, team_id, filter, after, needed)
    found: set[Place] = set()
    named = checks if filter.check_id is None else sorted({*filter.check_id} & {*(checks or ())})
    if named:
        of_checks = filter.model_copy(update={"q": None, "check_id": named})
        found.update(await _page(session, team_id, of_checks, after, needed))
    if filters.tsquery(filter.q):
        found.update(await _page(session, team_id, filter, after, needed))
    return sorted(found, key=_position, reverse=True)[:needed]


def _position(place: Place) -> tuple[int, UUID]:
    return list(Severity).index(place.severity), place.id


async def _page(
    session: AsyncSession, team_id: UUID, filter: FindingFilter, after: Place, needed: int
) -> list[Place]:
    values = filters.parameters(team_id, filter)
    sizes = await _sizes(session, filter, values)
    few = max(FEW, isqrt(WALKED_PER_FETCHED * needed * sum(size for size, _ in sizes.values())))
    for name in filters.loose(filter):
        found = await _few(session, filter, values, name, few, after, needed)
        if found is not None:
            return found
    page: list[Place] = []
    for severity in WORST_FIRST[WORST_FIRST.index(after.severity) :]:
        size, matching = sizes.get(severity, (0, 0))
        if matching <= 0 or len(page) == needed:
            continue
        # A walk passes size / matching findings for each that it needs.
        walk = matching * matching > WALKED_PER_FETCHED * needed * size
        sql = (_WALK if walk else _FETCH).format(
            matching=filters.on_findings(filter), counted=filters.on_totals(filter)
        )
        rows = await session.scalars(
            text(sql),
            {
                **values,
                "worst": severity.value,
                "before": after.id if severity is after.severity else BEFORE_ALL,
                "needed": needed - len(page),
            },
        )
        page += [Place(severity, id) for id in rows]
    return page


async def _sizes(
    session: AsyncSession, filter: FindingFilter, values: dict[str, Any]
) -> dict[Severity, tuple[int, int]]:
    """By severity, how many findings the team has and how many of them running totals match."""
    where = filters.on_totals(filter)
    if filters.totals(filter) == "finding_total":
        sql = f"""
            SELECT severity, {SUM} AS size, coalesce({SUM} FILTER (WHERE {where}), 0) AS matching
            FROM finding_total AS counted WHERE team_id = :team_id GROUP BY severity
        """  # noqa: S608 (our own names)
    else:
        sql = f"""
            SELECT severity, sum(size) AS size, sum(matching) AS matching
            FROM (
                SELECT severity, {SUM} AS size, 0 AS matching FROM finding_total
                WHERE team_id = :team_id GROUP BY severity
                UNION ALL
                SELECT severity, 0, {SUM} FROM {filters.totals(filter)} AS counted
                WHERE {where} GROUP BY severity
            ) AS summed
            GROUP BY severity
        """  # noqa: S608 (our own names)
    rows = await session.execute(text(sql), values)
    return {Severity(row.severity): (int(row.size), int(row.matching)) for row in rows}


async def _few(
    session: AsyncSession,
    filter: FindingFilter,
    values: dict[str, Any],
    name: str,
    few: int,
    after: Place,
    needed: int,
) -> list[Place] | None:
    """The page, if this filter's own index says that it matches few; else None."""
    sql = _FEW.format(candidates=filters.candidates(name), matching=filters.on_findings(filter))
    rows = (
        await session.execute(
            text(sql),
            {
                **values,
                "few": few,
                "worst": after.severity.value,
                "before": after.id,
                "needed": needed,
            },
        )
    ).all()
    if rows[0].n > few:
        return None
    return [Place(Severity(row.severity), row.id) for row in rows if row.id is not None]
