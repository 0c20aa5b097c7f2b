"""What retention, merges and people who hold rows back wait for: each other, and for a moment."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_PATIENCE: Final = text("SELECT set_config('lock_timeout', '20s', true)")
_TOGETHER: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")


async def lock_team(session: AsyncSession, team_id: UUID) -> None:
    """A batch of a team, whoever changes what the team keeps, and whoever deletes an account of it:
    one after the other.

    So nothing is deleted that was held back before the batch, and once a hold is answered no batch
    is left that had not seen it.
    """
    await session.execute(_ALONE, {"name": f"retention/{team_id}"})


async def pause_batches(session: AsyncSession, team_id: UUID) -> None:
    """The same for a person, who waits for the batch that is going on, but not for ever."""
    await session.execute(_PATIENCE)
    await lock_team(session, team_id)


async def lock_merge(session: AsyncSession, account_id: UUID) -> None:
    """A merge: nothing that it may find returned is deleted meanwhile. Merges run together."""
    await session.execute(_TOGETHER, {"name": f"merge/{account_id}"})


async def keep_merges_out(session: AsyncSession, account_id: UUID) -> None:
    """A batch of what a merge may find returned."""
    await session.execute(_ALONE, {"name": f"merge/{account_id}"})
