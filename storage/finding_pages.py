"""Which findings stand on a page, worst first, found in time bounded by what the page holds.

Ids are digests: what matches a filter is spread evenly over them. So of each severity we walk a
bounded number of findings in order, in the index alone; what matches much fills the page there.
What did not fill it matches little, and is fetched from the few places where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.findings import FindingFilter
from contracts.vocabulary import Severity
from storage import finding_filters as filters

BEFORE_ALL: Final = UUID(int=2**128 - 1)
WORST_FIRST: Final = tuple(reversed(Severity))
WALKED: Final = 1_000
"""Findings of a severity that are walked past for a page of one; more with its square root."""
FEW: Final = 2_000
"""Findings that are looked at one by one sooner than walking."""
FEWER_THAN_WALKED_TO: Final = 50_000
"""Findings of a severity that one filter may match where walking did not fill the page."""
FEW_COUNTS: Final = 500
"""Running totals of a severity that are added up to know whether few match."""

_LOOK_UP: Final = text("""
    SELECT set_config(name, 'off', true)
    FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan']) AS setting (name)
""")
"""Pages are a few rows: each is looked up, whatever the statistics say of tables that just grew."""

_SIZES: Final = """
    SELECT worst.severity, summed.counts, summed.matching
    FROM unnest(CAST(:severities AS severity[])) AS worst (severity) CROSS JOIN LATERAL (
        SELECT count(*) AS counts, sum(n) AS matching
        FROM (
            SELECT n FROM finding_count AS counted
            WHERE {counted} AND counted.severity = worst.severity LIMIT :few_counts
        ) AS counted
    ) AS summed
"""
_SHOWN: Final = f"""finding.team_id = :team_id AND {filters.SHOWN}
      AND finding.severity = CAST(:worst AS severity) AND finding.id < :before"""
_WALK: Final = f"""
    SELECT finding.id
    FROM (
        SELECT id, coverage_id, resource_hash, first_seen_at, severity, status, state
        FROM finding WHERE {_SHOWN} ORDER BY id DESC LIMIT :walked
    ) AS finding {{joined}}
    WHERE {{matching}} ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
_WALKED_TO: Final = f"""
    SELECT id FROM finding WHERE {_SHOWN} ORDER BY id DESC OFFSET :walked - 1 LIMIT 1
"""  # noqa: S608 (our own names)
_FETCH: Final = f"""
    WITH cell AS MATERIALIZED (
        SELECT coverage_id, status, state FROM finding_count AS counted
        WHERE {{counted}} AND counted.severity = CAST(:worst AS severity)
        GROUP BY coverage_id, status, state HAVING sum(n) > 0
    )
    SELECT finding.id
    FROM cell JOIN finding ON (finding.coverage_id, finding.status, finding.state)
                            = (cell.coverage_id, cell.status, cell.state) {{joined}}
    WHERE {{matching}} AND {_SHOWN} ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
_FEW: Final = f"""
    WITH candidate AS MATERIALIZED ({{candidates}} LIMIT :few + 1),
    counted AS (SELECT count(*) AS n FROM candidate)
    SELECT counted.n, matching.severity, matching.id
    FROM counted LEFT JOIN LATERAL (
        SELECT finding.severity, finding.id
        FROM (SELECT DISTINCT id FROM candidate) AS once
            JOIN finding ON finding.id = once.id {{of_severity}} {{joined}}
        WHERE {{matching}} AND finding.team_id = :team_id AND {filters.SHOWN}
          AND (finding.severity, finding.id) < (CAST(:worst AS severity), :before)
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
    narrowed = await filters.narrowed(session, team_id, filter)
    if narrowed is None:
        return []
    filter = narrowed
    await session.execute(_LOOK_UP)
    after = after or Place(WORST_FIRST[0], BEFORE_ALL)
    if filter.q is None:
        return await _Pages(session, team_id, filter).page(after, needed)
    found: set[Place] = set()
    named = checks if filter.check_id is None else sorted({*filter.check_id} & {*(checks or ())})
    if named:
        of_checks = filter.model_copy(update={"q": None, "check_id": named})
        found.update(await _Pages(session, team_id, of_checks).page(after, needed))
    if filters.tsquery(filter.q):
        found.update(await _Pages(session, team_id, filter).page(after, needed))
    return sorted(found, key=_position, reverse=True)[:needed]


def _position(place: Place) -> tuple[int, UUID]:
    return list(Severity).index(place.severity), place.id


class _Pages:
    """The pages of one filter."""

    def __init__(self, session: AsyncSession, team_id: UUID, filter: FindingFilter) -> None:
        self._session = session
        self._filter = filter
        self._values = filters.parameters(team_id, filter)
        self._parts = {
            "joined": filters.joined(filter),
            "matching": filters.on_findings(filter),
            "counted": filters.on_totals(filter),
        }

    async def page(self, after: Place, needed: int) -> list[Place]:
        for name in filters.loose(self._filter):
            if name in filters.MOSTLY_FEW:
                found = await self._few(name, FEW, after, needed)
                if found is not None:
                    return found
        severities = [
            severity
            for severity in WORST_FIRST[WORST_FIRST.index(after.severity) :]
            if self._filter.severity is None or severity in self._filter.severity
        ]
        page: list[Place] = []
        for severity, few in await self._sizes(severities):
            before = after.id if severity is after.severity else BEFORE_ALL
            page += await self._of_severity(Place(severity, before), needed - len(page), few)
            if len(page) == needed:
                break
        return page

    async def _sizes(self, severities: list[Severity]) -> list[tuple[Severity, bool]]:
        """The severities of which some match, as running totals say, and whether these are few."""
        if not filters.is_counted(self._filter):
            return [(severity, False) for severity in severities]
        rows = await self._run(
            _SIZES, severities=[each.value for each in severities], few_counts=FEW_COUNTS
        )
        sizes = {
            row.severity: row.counts < FEW_COUNTS and row.matching <= FEW
            for row in rows
            if row.counts > 0
        }
        return [(each, sizes[each.value]) for each in severities if each.value in sizes]

    async def _of_severity(self, after: Place, needed: int, few: bool) -> list[Place]:
        found: list[Place] = []
        if not few:
            walked = WALKED * isqrt(needed)
            found = await self._ids(_WALK, after, needed, walked=walked)
            if len(found) == needed:
                return found
            last = await self._ids(_WALKED_TO, after, needed, walked=walked)
            if not last:
                return found
            (after,) = last
            for name in filters.loose(self._filter):
                rest = await self._few(
                    name, FEWER_THAN_WALKED_TO, after, needed - len(found), of_severity=True
                )
                if rest is not None:
                    return found + rest
        if filters.is_counted(self._filter):
            return found + await self._ids(_FETCH, after, needed - len(found))
        return found + await self._ids(_WALK, after, needed - len(found), walked=None)

    async def _ids(self, sql: str, after: Place, needed: int, **values: Any) -> list[Place]:
        rows = await self._run(
            sql, worst=after.severity.value, before=after.id, needed=needed, **values
        )
        return [Place(after.severity, row.id) for row in rows]

    async def _few(
        self, name: str, few: int, after: Place, needed: int, *, of_severity: bool = False
    ) -> list[Place] | None:
        """The page, if this filter's own index says that it matches no more than `few`."""
        only = filters.OF_SEVERITY if of_severity else ""
        sql = _FEW.replace("{candidates}", filters.candidates(name)).replace("{of_severity}", only)
        rows = await self._run(
            sql, few=few, worst=after.severity.value, before=after.id, needed=needed
        )
        if rows[0].n > few:
            return None
        return [Place(Severity(row.severity), row.id) for row in rows if row.id is not None]

    async def _run(self, sql: str, **values: Any) -> Sequence[Row[Any]]:
        statement = text(sql.format(**self._parts))
        return (await self._session.execute(statement, {**self._values, **values})).all()
