"""Scopes: what a team may scan, kept by its admins. Whoever calls has read the entries."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.targets import NewScope, Scope, ScopeChange
from storage import cursors
from storage.targets.target_tables import ScopeRow


async def create_scope(
    session: AsyncSession, team_id: UUID, scope: NewScope, *, who: str, at: datetime
) -> Scope:
    """A new scope of the team; Conflict when the name is taken."""
    fields = scope.model_dump(mode="json", exclude={"valid_until"})
    fields["approved_by"] = scope.approved_by or who
    row = (
        await session.scalars(
            insert(ScopeRow)
            .values(
                team_id=team_id,
                valid_until=scope.valid_until,
                created_by=who,
                created_at=at,
                updated_at=at,
                **fields,
            )
            .on_conflict_do_nothing()
            .returning(ScopeRow)
        )
    ).one_or_none()
    if row is None:
        raise _name_taken(scope.name)
    return _shown(row)


async def list_scopes(
    session: AsyncSession,
    team_id: UUID,
    *,
    valid: bool | None = None,
    at: datetime,
    limit: int,
    cursor: str | None = None,
) -> Page[Scope]:
    """The team's scopes, oldest first; `valid`: only those that have not ended, or have."""
    query = select(ScopeRow).where(ScopeRow.team_id == team_id)
    if valid is not None:
        ended = ScopeRow.valid_until <= at
        query = query.where(~ended | ScopeRow.valid_until.is_(None) if valid else ended)
    after = cursors.decode_id("scopes", cursor)
    if after is not None:
        query = query.where(ScopeRow.id > after)
    rows = (await session.scalars(query.order_by(ScopeRow.id).limit(limit + 1))).all()
    shown = [_shown(row) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("scopes", shown[-1].id) if len(rows) > limit else None,
    )


async def all_scopes(session: AsyncSession, team_id: UUID) -> list[Scope]:
    """Every scope of the team, oldest first, also those that have ended."""
    rows = await session.scalars(
        select(ScopeRow)
        .where(ScopeRow.team_id == team_id)
        .order_by(ScopeRow.id)
        .execution_options(populate_existing=True)
    )
    return [_shown(row) for row in rows]


async def get_scope(session: AsyncSession, team_id: UUID, scope_id: UUID) -> Scope:
    """One scope of the team."""
    row = await session.scalar(
        select(ScopeRow).where(ScopeRow.id == scope_id, ScopeRow.team_id == team_id)
    )
    if row is None:
        raise _not_found()
    return _shown(row)


async def change_scope(
    session: AsyncSession, team_id: UUID, scope_id: UUID, change: ScopeChange, *, at: datetime
) -> Scope:
    """Only fields that were given change; a null clears `valid_until`."""
    fields: dict[str, Any] = {
        name: value
        for name, value in change.model_dump(
            mode="json", exclude_unset=True, exclude={"valid_until"}
        ).items()
        if value is not None
    }
    if "valid_until" in change.model_fields_set:
        fields["valid_until"] = change.valid_until
    try:
        row = await session.scalar(
            update(ScopeRow)
            .where(ScopeRow.id == scope_id, ScopeRow.team_id == team_id)
            .values(updated_at=at, **fields)
            .returning(ScopeRow)
            .execution_options(populate_existing=True)
        )
    except IntegrityError:  # of what may change, only the name is unique
        raise _name_taken(str(fields.get("name"))) from None
    if row is None:
        raise _not_found()
    return _shown(row)


async def delete_scope(session: AsyncSession, team_id: UUID, scope_id: UUID) -> None:
    """Delete a scope, whatever relies on it."""
    deleted = await session.scalar(
        delete(ScopeRow)
        .where(ScopeRow.id == scope_id, ScopeRow.team_id == team_id)
        .returning(ScopeRow.id)
    )
    if deleted is None:
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("There is no such scope in this team.")


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"A scope named {name} exists already.", fix="Change that one, or choose another name."
    )


def _shown(row: ScopeRow) -> Scope:
    return Scope.model_validate({name: getattr(row, name) for name in Scope.model_fields})
