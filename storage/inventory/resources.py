"""Reading the inventory."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, cast, literal, select
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import NotFound
from contracts.resources import Resource, ResourceFilter
from contracts.vocabulary import Provider
from storage import cursors
from storage.findings.finding_filters import tsquery
from storage.findings.finding_tables import ResourceRow, TypeCoverageRow


async def list_resources(
    session: AsyncSession,
    team_id: UUID,
    filter: ResourceFilter,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[Resource]:
    """Resources that are there, newest first; what a complete discovery missed is left out."""
    query = _with_coverage().where(ResourceRow.team_id == team_id, ResourceRow.gone_at.is_(None))
    for name in ("account_id", "type", "region"):
        values = getattr(filter, name)
        if values is not None:
            query = query.where(getattr(ResourceRow, name).in_(values))
    for pair in filter.tag or ():
        name, _, value = pair.partition(":")
        query = query.where(ResourceRow.tags.contains({name: value}))
    if filter.q is not None:
        query = query.where(_says(filter.q))
    after = cursors.decode_id("resources", cursor)
    if after is not None:
        query = query.where(ResourceRow.id < after)
    rows = (await session.execute(query.order_by(ResourceRow.id.desc()).limit(limit + 1))).all()
    last = rows[limit - 1].ResourceRow if len(rows) > limit else None
    return Page(
        items=[_shown(row) for row in rows[:limit]],
        next_cursor=cursors.encode("resources", last.id) if last else None,
    )


async def get_resource(session: AsyncSession, team_id: UUID, resource_id: UUID) -> Resource:
    """One resource, also when it is gone."""
    query = _with_coverage().where(ResourceRow.team_id == team_id, ResourceRow.id == resource_id)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such resource.")
    return _shown(row)


def _says(q: str) -> ColumnElement[bool]:
    """Words that the resource's name and uid begin with."""
    return ResourceRow.words.op("@@")(cast(literal(tsquery(q)), TSQUERY))


def _with_coverage() -> Select[*tuple[Any, ...]]:
    return select(ResourceRow, TypeCoverageRow.at.label("covered_at")).outerjoin(
        TypeCoverageRow,
        and_(
            ResourceRow.gone_at.is_(None),
            TypeCoverageRow.account_id == ResourceRow.account_id,
            TypeCoverageRow.source == ResourceRow.source,
            TypeCoverageRow.type == ResourceRow.type,
        ),
    )


def _shown(row: Row[Any]) -> Resource:
    found: ResourceRow = row.ResourceRow
    return Resource(
        id=found.id,
        provider=Provider(found.provider),
        account_id=found.account_id,
        uid=found.uid,
        type=found.type,
        name=found.name,
        region=found.region,
        tags=found.tags,
        attributes=found.attributes,
        first_seen_at=found.first_seen_at,
        last_seen_at=max(found.seen_at, row.covered_at or found.seen_at),
        gone_at=found.gone_at,
    )
