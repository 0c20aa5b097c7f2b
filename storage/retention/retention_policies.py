"""How long each team keeps what, and what its cycles have deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.retention import DEFAULT_DAYS, RetentionPolicy
from contracts.vocabulary import RetentionKind
from storage.retention.retention_locks import pause_batches
from storage.retention.retention_tables import RetentionPolicyRow, RetentionTallyRow
from storage.tables import TeamRow

_LAST: Final = text("""
    SELECT DISTINCT ON (kind) kind, at, deleted FROM retention_tally
    WHERE team_id = :team_id ORDER BY kind, at DESC, cycle
""")
_FORGET: Final = text("""
    DELETE FROM retention_tally AS old
    WHERE team_id = :team_id AND at <= :before AND EXISTS (
        SELECT FROM retention_tally AS later
        WHERE later.team_id = old.team_id AND later.kind = old.kind AND later.at > old.at
          AND later.newest >= old.newest
    )
""")


async def keep_days(session: AsyncSession, team_id: UUID) -> dict[RetentionKind, int | None]:
    """Days for which a team keeps each kind; None: for ever."""
    rows = await session.execute(
        select(RetentionPolicyRow.kind, RetentionPolicyRow.keep_days).where(
            RetentionPolicyRow.team_id == team_id
        )
    )
    return {**DEFAULT_DAYS, **{RetentionKind(row.kind): row.keep_days for row in rows}}


async def list_policies(session: AsyncSession, team_id: UUID) -> list[RetentionPolicy]:
    """The policy of every kind, with what the last cycle that had something to delete did."""
    rows = await session.scalars(
        select(RetentionPolicyRow)
        .where(RetentionPolicyRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    stored = {row.kind: row for row in rows}
    last = {row.kind: row for row in await session.execute(_LAST, {"team_id": team_id})}
    found = []
    for kind in RetentionKind:
        row, did = stored.get(kind), last.get(kind)
        found.append(
            RetentionPolicy(
                kind=kind,
                keep_days=row.keep_days if row else DEFAULT_DAYS[kind],
                is_default=row is None,
                updated_at=row.updated_at if row else None,
                updated_by=row.updated_by if row else None,
                last_deleted_at=did.at if did else None,
                last_deleted=did.deleted if did else 0,
            )
        )
    return found


async def save_policy(
    session: AsyncSession,
    team_id: UUID,
    kind: RetentionKind,
    days: int | None,
    *,
    who: str,
    at: datetime,
) -> RetentionPolicy:
    """Keep a kind for so many days from now on; a batch that is going on is waited for."""
    await pause_batches(session, team_id)
    values = {"keep_days": days, "updated_at": at, "updated_by": who}
    await session.execute(
        insert(RetentionPolicyRow)
        .values(team_id=team_id, kind=kind.value, **values)
        .on_conflict_do_update(index_elements=["team_id", "kind"], set_=values)
    )
    return next(each for each in await list_policies(session, team_id) if each.kind is kind)


async def teams_after(session: AsyncSession, after: UUID | None, *, limit: int) -> list[UUID]:
    """Teams in their order."""
    query = select(TeamRow.id).order_by(TeamRow.id).limit(limit)
    if after is not None:
        query = query.where(TeamRow.id > after)
    return list(await session.scalars(query))


async def team_name(session: AsyncSession, team_id: UUID) -> str:
    """What a team is called; its id if it is gone."""
    name = await session.scalar(select(TeamRow.name).where(TeamRow.id == team_id))
    return name or str(team_id)


async def count_deleted(
    session: AsyncSession,
    team_id: UUID,
    kind: RetentionKind,
    deleted: int,
    *,
    newest: datetime,
    cycle: UUID,
    at: datetime,
) -> None:
    """Add to what a cycle has deleted."""
    row = insert(RetentionTallyRow).values(
        team_id=team_id, kind=kind.value, cycle=cycle, at=at, deleted=deleted, newest=newest
    )
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["team_id", "kind", "cycle"],
            set_={
                "deleted": RetentionTallyRow.deleted + row.excluded.deleted,
                "newest": func.greatest(RetentionTallyRow.newest, row.excluded.newest),
            },
        )
    )


async def deleted_by(session: AsyncSession, team_id: UUID, cycle: UUID) -> dict[str, int]:
    """What a cycle has deleted of a team so far, by kind; also attempts that were killed."""
    rows = await session.execute(
        select(RetentionTallyRow.kind, RetentionTallyRow.deleted)
        .where(RetentionTallyRow.team_id == team_id, RetentionTallyRow.cycle == cycle)
        .order_by(RetentionTallyRow.kind)
    )
    return {row.kind: row.deleted for row in rows}


async def forget_old(session: AsyncSession, team_id: UUID, *, before: datetime) -> None:
    """Forget what cycles deleted so long ago, but for the last of each kind and the newest."""
    await session.execute(_FORGET, {"team_id": team_id, "before": before})
