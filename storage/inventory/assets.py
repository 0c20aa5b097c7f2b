"""Assets: what a discovery saw, what it is joined with, and the list that people read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.assets import (
    Asset,
    AssetCounts,
    AssetFacts,
    AssetFilter,
    AssetSummary,
    HostSeen,
    RangeLooked,
)
from contracts.base import Page
from contracts.errors import NotFound
from contracts.vocabulary import AssetSource, Exposure, Provider, Standing, TaskKind, TaskStatus
from storage import cursors
from storage.findings.finding_tables import ResourceRow
from storage.inventory.asset_tables import AssetRow, AssetSeenRow
from storage.tables import ScanTaskRow

AT_ONCE: Final = 2_000
RANGE: Final = "network/"
"""What the key of a shard begins with that looks at a range."""


async def keep_seen(
    session: AsyncSession, scan_id: UUID, key: str, hosts: Mapping[str, Iterable[int]]
) -> None:
    """The hosts that answered a shard, in place of those of an earlier attempt."""
    of_shard = (AssetSeenRow.scan_id == scan_id, AssetSeenRow.key == key)
    await session.execute(delete(AssetSeenRow).where(*of_shard))
    if hosts:
        await session.execute(
            insert(AssetSeenRow),
            [
                {"scan_id": scan_id, "key": key, "address": address, "open_ports": sorted(ports)}
                for address, ports in hosts.items()
            ],
        )


async def seen_by(session: AsyncSession, scan_id: UUID) -> list[HostSeen]:
    """Every host that answered a scan."""
    rows = await session.execute(
        select(AssetSeenRow.address, AssetSeenRow.open_ports).where(AssetSeenRow.scan_id == scan_id)
    )
    return [HostSeen(row.address, tuple(row.open_ports)) for row in rows]


async def looked_at_by(session: AsyncSession, scan_id: UUID) -> list[RangeLooked]:
    """The ranges of a scan, and which of them it saw to their end."""
    rows = await session.scalars(
        select(ScanTaskRow).where(
            ScanTaskRow.scan_id == scan_id, ScanTaskRow.kind == TaskKind.NATIVE
        )
    )
    return [
        RangeLooked(
            row.key.removeprefix(RANGE),
            row.status == TaskStatus.COMPLETED and not (row.coverage or {}).get("not_assessed"),
        )
        for row in rows
    ]


async def seen_before(session: AsyncSession, team_id: UUID) -> list[HostSeen]:
    """Hosts that answered earlier discoveries."""
    rows = await session.execute(
        select(AssetRow.value, AssetRow.open_ports).where(
            AssetRow.team_id == team_id,
            AssetRow.gone_at.is_(None),
            AssetRow.sources.contains([AssetSource.NETWORK.value]),
        )
    )
    return [HostSeen(row.value, tuple(row.open_ports)) for row in rows]


async def resources_of(
    session: AsyncSession, team_id: UUID, types: Iterable[tuple[Provider, str]]
) -> AsyncIterator[ResourceRow]:
    """The team's resources of these types that are there."""
    wanted = [(provider.value, type) for provider, type in types]
    last = UUID(int=0)
    while True:
        rows = (
            await session.scalars(
                select(ResourceRow)
                .where(
                    ResourceRow.team_id == team_id,
                    ResourceRow.gone_at.is_(None),
                    ResourceRow.id > last,
                    tuple_(ResourceRow.provider, ResourceRow.type).in_(wanted),
                )
                .order_by(ResourceRow.id)
                .limit(AT_ONCE)
            )
        ).all()
        for row in rows:
            yield row
        if len(rows) < AT_ONCE:
            return
        last = rows[-1].id
        session.expunge_all()


async def write_assets(
    session: AsyncSession, team_id: UUID, facts: Iterable[AssetFacts], *, at: datetime
) -> AssetCounts:
    """Make the list of assets say this; what it says already is not written."""
    stored = {
        row.value: row
        for row in await session.scalars(select(AssetRow).where(AssetRow.team_id == team_id))
    }
    new, changed, there = list[dict[str, Any]](), list[dict[str, Any]](), set[str]()
    for each in facts:
        there.add(each.where)
        told = _columns(each)
        row = stored.get(each.where)
        if row is None:
            new.append({**told, "team_id": team_id, "first_seen_at": at, "changed_at": at})
        elif row.gone_at is not None or any(getattr(row, name) != told[name] for name in told):
            changed.append({**told, "id": row.id, "changed_at": at, "gone_at": None})
    gone = [
        {"id": row.id, "changed_at": at, "gone_at": at}
        for value, row in stored.items()
        if row.gone_at is None and value not in there
    ]
    unchanged = len(there) - len(new) - len(changed)
    session.expunge_all()
    for start in range(0, len(new), AT_ONCE):
        await session.execute(insert(AssetRow), new[start : start + AT_ONCE])
    for rows in (changed, gone):
        if rows:
            await session.execute(update(AssetRow), rows)
    return AssetCounts(new=len(new), changed=len(changed), gone=len(gone), unchanged=unchanged)


def _columns(facts: AssetFacts) -> dict[str, Any]:
    return {
        "value": facts.where,
        "is_name": facts.is_name,
        "names": list(facts.names),
        "sources": [source.value for source in facts.sources],
        "resource_ids": list(facts.resource_ids),
        "target_ids": list(facts.target_ids),
        "open_ports": list(facts.open_ports),
        "exposure": facts.exposure.value,
        "standing": facts.standing.value,
    }


async def list_assets(
    session: AsyncSession,
    team_id: UUID,
    filter: AssetFilter,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[Asset]:
    """Assets that are there, newest first."""
    query = _matching(select(AssetRow), team_id, filter)
    after = cursors.decode_id("assets", cursor)
    if after is not None:
        query = query.where(AssetRow.id < after)
    rows = (await session.scalars(query.order_by(AssetRow.id.desc()).limit(limit + 1))).all()
    shown = [Asset.model_validate(_shown(row)) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("assets", shown[-1].id) if len(rows) > limit else None,
    )


async def get_asset(session: AsyncSession, team_id: UUID, asset_id: UUID) -> Asset:
    """One asset, also when it is gone."""
    row = await session.scalar(
        select(AssetRow).where(AssetRow.team_id == team_id, AssetRow.id == asset_id)
    )
    if row is None:
        raise NotFound("There is no such asset in this team.")
    return Asset.model_validate(_shown(row))


async def summarize_assets(
    session: AsyncSession, team_id: UUID, filter: AssetFilter
) -> AssetSummary:
    """How many match, by exposure, standing and source."""
    matching = _matching(
        select(AssetRow.exposure, AssetRow.standing, AssetRow.sources, func.count().label("n")),
        team_id,
        filter,
    ).group_by(AssetRow.exposure, AssetRow.standing, AssetRow.sources)
    exposures = dict.fromkeys(Exposure, 0)
    standings = dict.fromkeys(Standing, 0)
    sources = dict.fromkeys(AssetSource, 0)
    total = both = 0
    for row in await session.execute(matching):
        total += row.n
        exposures[Exposure(row.exposure)] += row.n
        standings[Standing(row.standing)] += row.n
        if (row.exposure, row.standing) == (Exposure.INTERNET_EXPOSED, Standing.UNMANAGED):
            both += row.n
        for source in row.sources:
            sources[AssetSource(source)] += row.n
    return AssetSummary(
        total=total,
        by_exposure=exposures,
        by_standing=standings,
        by_source=sources,
        unmanaged_and_exposed=both,
    )


def _matching(query: Any, team_id: UUID, filter: AssetFilter) -> Any:
    query = query.where(AssetRow.team_id == team_id, AssetRow.gone_at.is_(None))
    for column, values in (
        (AssetRow.exposure, filter.exposure),
        (AssetRow.standing, filter.standing),
    ):
        if values is not None:
            query = query.where(column.in_([value.value for value in values]))
    if filter.source is not None:
        query = query.where(AssetRow.sources.overlap([value.value for value in filter.source]))
    if filter.q is not None:
        part = filter.q.lower()
        query = query.where(
            or_(
                AssetRow.value.contains(part, autoescape=True),
                func.array_to_string(AssetRow.names, " ").contains(part, autoescape=True),
            )
        )
    return query


def _shown(row: AssetRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Asset.model_fields}
