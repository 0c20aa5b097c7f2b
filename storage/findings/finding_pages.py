"""Which findings stand on a page, worst first, found in time bounded by what the page holds.

Ids are digests: what matches a filter is spread evenly over them. So of each severity we walk a
bounded number of findings in order, in the index alone; what matches much fills the page there.
What did not fill it matches little, and is fetched from the few places where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.findings import FindingFilter
from contracts.vocabulary import Severity
from storage.findings import finding_filters as filters

BEFORE_ALL: Final = UUID(int=2**128 - 1)
WORST_FIRST: Final = tuple(reversed(Severity))
WALKED: Final = 1.0
"""Findings of a severity that are walked, as a share of the geometric mean of those that the page
needs and all that are stored: then those that match and were not walked to are as many at most."""
FOR_ONE: Final = 12
"""Findings that are walked, at least, for each that matches in known places: fetching one of these,
which lies anywhere in the table, costs more."""
FEW: Final = 0.3
"""Findings that are fetched sooner than walked to, as a share of the same mean of those that the
page needs and those of the severity."""
FEW_LOOSELY: Final = 0.6
"""The same where another filter may leave none of them, so that a walk may be in vain."""
RAREST: Final = 0.01
"""Share of all findings that a severity is taken to have where statistics know none of it."""
FEWER_THAN_WALKED_TO: Final = 20_000
"""Findings of a severity that one filter may match where walking did not fill the page."""
OF_A_RESOURCE: Final = 8
"""Findings, about: how many resources there may be before theirs are fetched."""
FEW_COUNTS: Final = 2_000
"""Running totals of a severity that are added up to know how many match."""

_LOOK_UP: Final = text("""
    SELECT reltuples AS stored, most_common_vals::text::text[] AS severities,
           most_common_freqs AS shares,
           set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true)
    FROM pg_class LEFT JOIN pg_stats
        ON schemaname = relnamespace::regnamespace::text
        AND (tablename, attname) = (relname, 'severity')
    WHERE pg_class.oid = 'finding'::regclass
""")
"""Pages are a few rows: each is looked up, whatever the statistics say of tables that just grew."""

_FEW_COUNTED: Final = """
    SELECT count(*) AS counts, coalesce(sum(n) FILTER (WHERE may_match), 0) AS matching,
           array_agg(DISTINCT coverage_id) FILTER (WHERE may_match) AS places
    FROM (
        SELECT n, coverage_id, {news} AS may_match FROM finding_count AS counted
        WHERE {counted} AND counted.severity = CAST(:worst AS severity) LIMIT :few_counts
    ) AS counted
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
_WALK_TO_PLACES: Final = f"""
    SELECT finding.id
    FROM (
        SELECT id, coverage_id, resource_hash, first_seen_at, severity, status, state
        FROM finding WHERE {_SHOWN} ORDER BY id DESC LIMIT :walked
    ) AS finding {{joined_counted}}
    WHERE finding.coverage_id = ANY(CAST(:places AS integer[])) AND {{matching_in_places}}
    ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
"""The same where the places that may match are known: a tenth of the time, as none is looked up."""
_WALKED_TO: Final = f"""
    SELECT id FROM finding WHERE {_SHOWN} ORDER BY id DESC OFFSET :walked - 1 LIMIT 1
"""  # noqa: S608 (our own names)
_FETCH: Final = f"""
    WITH cell AS MATERIALIZED (
        SELECT coverage_id, status, state FROM finding_count AS counted
        WHERE {{counted}} AND counted.severity = CAST(:worst AS severity)
        GROUP BY coverage_id, status, state HAVING sum(n) > 0 AND {{news}}
    )
    SELECT finding.id
    FROM (
        SELECT {filters.LOOSELY_MATCHED}
        FROM cell JOIN finding USING (coverage_id, status, state)
        -- Sorted first: other filters then look at no more than it takes to fill the page.
        WHERE {_SHOWN} ORDER BY finding.id DESC OFFSET 0
    ) AS finding {{joined_counted}}
    WHERE {{matching_counted}} ORDER BY finding.id DESC LIMIT :needed
"""  # noqa: S608 (our own names)
_SIZE: Final = """
    SELECT coalesce(sum(n), 0) AS matching FROM finding_count AS counted
    WHERE {counted} AND {news} AND counted.severity = CAST(:worst AS severity)
"""
_FEW: Final = f"""
    WITH candidate AS MATERIALIZED ({{candidates}} LIMIT :few + 1),
    counted AS (SELECT count(*) AS n FROM candidate)
    SELECT counted.n, matching.severity, matching.id
    FROM counted LEFT JOIN LATERAL (
        SELECT finding.severity, finding.id
        FROM (SELECT DISTINCT * FROM candidate) AS finding {{joined}}
        WHERE {{matching}} AND finding.team_id = :team_id AND {filters.SHOWN} {{of_severity}}
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
    among = _Among.told((await session.execute(_LOOK_UP)).one(), needed)
    after = after or Place(WORST_FIRST[0], BEFORE_ALL)
    if filter.q is None:
        return await _Pages(session, team_id, filter, among).page(after, needed)
    found: set[Place] = set()
    named = checks if filter.check_id is None else sorted({*filter.check_id} & {*(checks or ())})
    if named:
        of_checks = filter.model_copy(update={"q": None, "check_id": named})
        found.update(await _Pages(session, team_id, of_checks, among).page(after, needed))
    if filters.tsquery(filter.q):
        found.update(await _Pages(session, team_id, filter, among).page(after, needed))
    return sorted(found, key=_position, reverse=True)[:needed]


def _position(place: Place) -> tuple[int, UUID]:
    return list(Severity).index(place.severity), place.id


class _Among(NamedTuple):
    """About how many findings are stored, of each severity if that is known, and on a page."""

    stored: float
    shares: dict[str, float]
    needed: int

    @classmethod
    def told(cls, row: Row[Any], needed: int) -> _Among:
        shares = zip(row.severities or (), row.shares or (), strict=True)
        return cls(max(row.stored, 0), dict(shares), needed)

    def mean(self, severity: Severity | None = None) -> float:
        share = 1.0
        if severity is not None and self.shares:
            share = max(self.shares.get(severity.value, 0), RAREST)
        return sqrt(self.needed * self.stored * share)


class _Size(NamedTuple):
    """How many match, at most, and the places that they are of: as far as it is known."""

    matching: float
    places: list[int] | None


class _Pages:
    """The pages of one filter."""

    def __init__(
        self, session: AsyncSession, team_id: UUID, filter: FindingFilter, among: _Among
    ) -> None:
        self._session = session
        self._filter = filter
        self._among = among
        self._values = filters.parameters(team_id, filter)
        joined, matching = filters.on_counted(filter)
        self._parts = {
            "joined": filters.joined(filter),
            "matching": filters.on_findings(filter),
            "matching_in_places": filters.on_findings_in_places(filter),
            "counted": filters.on_totals(filter),
            "news": filters.on_news(filter),
            "joined_counted": joined,
            "matching_counted": matching,
        }

    async def page(self, after: Place, needed: int) -> list[Place]:
        for name in filters.loose(self._filter):
            if name in filters.OF_RESOURCE:
                found = await self._few(name, int(FEW * self._among.mean()), after, needed)
                if found is not None:
                    return found
        page: list[Place] = []
        for severity in WORST_FIRST[WORST_FIRST.index(after.severity) :]:
            size = await self._size(severity)
            if size.matching == 0:
                continue
            before = after.id if severity is after.severity else BEFORE_ALL
            page += await self._of_severity(Place(severity, before), needed - len(page), size)
            if len(page) == needed:
                break
        return page

    async def _size(self, severity: Severity) -> _Size:
        """How many of a severity match, as far as a few running totals tell: else no end of them.

        Loose filters may leave fewer, yet never more.
        """
        if self._filter.severity is not None and severity not in self._filter.severity:
            return _Size(0, None)
        if not filters.is_counted(self._filter):
            return _Size(inf, None)
        (row,) = await self._run(_FEW_COUNTED, worst=severity.value, few_counts=FEW_COUNTS)
        if row.counts >= FEW_COUNTS:
            return _Size(inf, None)
        return _Size(int(row.matching), row.places)

    async def _of_severity(self, after: Place, needed: int, size: _Size) -> list[Place]:
        """The next of one severity: by what is read the least."""
        is_loose = bool(filters.loose(self._filter))
        mean = self._among.mean(after.severity)
        if size.matching <= (FEW_LOOSELY if is_loose else FEW) * mean:
            return await self._ids(_FETCH, after, needed)
        if self._filter.scan_id is not None:  # far fewer than its account has
            found = await self._few("scan_id", int(FEW * mean), after, needed, size)
            if found is not None:
                return found
        # So many match that it is not far to enough of them, unless another filter leaves few.
        is_sure = size.matching < inf and not is_loose
        walk, walked = _WALK, 1 + int(WALKED * self._among.mean())
        if size.places is not None:
            walk, walked = _WALK_TO_PLACES, max(walked, int(FOR_ONE * size.matching))
        limit = None if is_sure else walked
        page = await self._ids(walk, after, needed, walked=limit, places=size.places)
        if is_sure or len(page) == needed:
            return page
        last = await self._ids(_WALKED_TO, after, needed, walked=walked)
        if not last:
            return page
        return page + await self._rest(last[0], needed - len(page), size)

    async def _rest(self, after: Place, needed: int, size: _Size) -> list[Place]:
        """Those that match too seldom to be walked to."""
        is_counted = filters.is_counted(self._filter)
        matching = size.matching
        if is_counted and matching == inf:
            matching = (await self._run(_SIZE, worst=after.severity.value))[0].matching
        if matching > FEWER_THAN_WALKED_TO:
            for name in filters.loose(self._filter):
                found = await self._few(name, FEWER_THAN_WALKED_TO, after, needed, size)
                if found is not None:
                    return found
        if is_counted:
            return await self._ids(_FETCH, after, needed)
        return await self._ids(_WALK, after, needed, walked=None)

    async def _ids(self, sql: str, after: Place, needed: int, **values: Any) -> list[Place]:
        rows = await self._run(
            sql, worst=after.severity.value, before=after.id, needed=needed, **values
        )
        return [Place(after.severity, row.id) for row in rows]

    async def _few(
        self, name: str, few: int, after: Place, needed: int, size: _Size | None = None
    ) -> list[Place] | None:
        """The page, or its rest of one severity of such a size, if this filter's own index says
        that it matches no more than `few`."""
        if name == "q":
            most = few // OF_A_RESOURCE
            if (await self._run(filters.SUBJECTS, most=most))[0].n > most:
                return None
        rest = filters.without(self._filter, name)
        places = None if size is None else size.places
        only = {"of_severity": size is not None, "of_places": places is not None}
        sql = (
            _FEW.replace("{candidates}", filters.candidates(name, **only))
            .replace("{of_severity}", filters.OF_SEVERITY if size is not None else "")
            .replace("{joined}", filters.joined(rest))
            .replace("{matching}", filters.on_findings(rest))
        )
        rows = await self._run(
            sql, few=few, worst=after.severity.value, before=after.id, needed=needed, places=places
        )
        if rows[0].n > few:
            return None
        return [Place(Severity(row.severity), row.id) for row in rows if row.id is not None]

    async def _run(self, sql: str, **values: Any) -> Sequence[Row[Any]]:
        statement = text(sql.format(**self._parts))
        return (await self._session.execute(statement, {**self._values, **values})).all()
