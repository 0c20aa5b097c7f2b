"""Targets of native scans: kept by people, loaded by workers. Whoever calls has read the value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.targets import NewTarget, Target, TargetChange
from contracts.vocabulary import TargetKind
from storage import cursors
from storage.targets.target_tables import TargetRow


async def create_target(
    session: AsyncSession, team_id: UUID, target: NewTarget, *, at: datetime
) -> Target:
    """A new target of the team; Conflict when there is one of this kind and value."""
    row = (
        await session.scalars(
            insert(TargetRow)
            .values(team_id=team_id, created_at=at, updated_at=at, **target.model_dump())
            .on_conflict_do_nothing()
            .returning(TargetRow)
        )
    ).one_or_none()
    if row is None:
        raise Conflict(
            f"There is a target {target.kind} {target.value} already.", fix="Use that one."
        )
    return _shown(row)


async def list_targets(
    session: AsyncSession,
    team_id: UUID,
    *,
    kind: Sequence[TargetKind] | None = None,
    enabled: bool | None = None,
    tag: Sequence[str] | None = None,
    q: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Target]:
    """The team's targets, oldest first."""
    query = select(TargetRow).where(TargetRow.team_id == team_id)
    if kind is not None:
        query = query.where(TargetRow.kind.in_(kind))
    if enabled is not None:
        query = query.where(TargetRow.enabled == enabled)
    for pair in tag or ():
        name, _, value = pair.partition(":")
        query = query.where(TargetRow.tags.contains({name: value}))
    if q is not None:
        query = query.where(TargetRow.value.icontains(q, autoescape=True))
    after = cursors.decode_id("targets", cursor)
    if after is not None:
        query = query.where(TargetRow.id > after)
    rows = (await session.scalars(query.order_by(TargetRow.id).limit(limit + 1))).all()
    shown = [_shown(row) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("targets", shown[-1].id) if len(rows) > limit else None,
    )


async def all_targets(session: AsyncSession, team_id: UUID) -> list[tuple[TargetKind, str]]:
    """Kind and value of every target of the team, oldest first."""
    found = await session.execute(
        select(TargetRow.kind, TargetRow.value)
        .where(TargetRow.team_id == team_id)
        .order_by(TargetRow.id)
    )
    return [(TargetKind(kind), value) for kind, value in found]


async def all_enabled(session: AsyncSession, team_id: UUID) -> list[Target]:
    """Every target of the team that may be scanned if a scope allows it, oldest first."""
    rows = await session.scalars(
        select(TargetRow)
        .where(TargetRow.team_id == team_id, TargetRow.enabled)
        .order_by(TargetRow.id)
    )
    return [_shown(row) for row in rows]


async def load_targets(
    session: AsyncSession, team_id: UUID, target_ids: Sequence[UUID]
) -> list[Target]:
    """Those of these that the team has, oldest first."""
    rows = await session.scalars(
        select(TargetRow)
        .where(TargetRow.team_id == team_id, TargetRow.id.in_(target_ids))
        .order_by(TargetRow.id)
    )
    return [_shown(row) for row in rows]


async def get_target(session: AsyncSession, team_id: UUID, target_id: UUID) -> Target:
    """One target of the team."""
    row = await session.scalar(
        select(TargetRow)
        .where(TargetRow.id == target_id, TargetRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise _not_found()
    return _shown(row)


async def change_target(
    session: AsyncSession, team_id: UUID, target_id: UUID, change: TargetChange, *, at: datetime
) -> Target:
    """Only fields that were given change."""
    fields = {
        name: value
        for name, value in change.model_dump(exclude_unset=True).items()
        if value is not None
    }
    row = await session.scalar(
        update(TargetRow)
        .where(TargetRow.id == target_id, TargetRow.team_id == team_id)
        .values(updated_at=at, **fields)
        .returning(TargetRow)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise _not_found()
    return _shown(row)


async def delete_target(session: AsyncSession, team_id: UUID, target_id: UUID) -> None:
    """Delete a target."""
    deleted = await session.scalar(
        delete(TargetRow)
        .where(TargetRow.id == target_id, TargetRow.team_id == team_id)
        .returning(TargetRow.id)
    )
    if deleted is None:
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("There is no such target in this team.")


def _shown(row: TargetRow) -> Target:
    return Target.model_validate(
        {name: getattr(row, name) for name in Target.model_fields if name != "scope"}
    )
