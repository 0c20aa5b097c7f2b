"""The running totals behind `GET /findings/summary`: folding what triggers appended."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:team_id, 0))")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:team_id, 0))")

_FOLD: Final = """
    WITH removed AS (
        DELETE FROM {table} WHERE id = ANY(ARRAY(
            SELECT unnest(array_agg(id)) FROM {table} WHERE {whose} = :whose
            GROUP BY {key} HAVING count(*) > 1 OR sum(n) = 0
        ))
        RETURNING *
    )
    INSERT INTO {table} ({columns}, n)
    SELECT {columns}, sum(n) FROM removed GROUP BY {columns} HAVING sum(n) <> 0
"""
"""By the ids of an array, not by a join: nobody has analysed what was just appended."""

_VERDICT: Final = "severity, status, state"
_FOLD_ACCOUNT: Final = text(
    _FOLD.format(
        table="finding_count",
        whose="account_id",
        key=f"coverage_id, {_VERDICT}",
        columns=f"coverage_id, team_id, account_id, source, check_id, service, region, {_VERDICT}",
    )
)
_FOLD_TEAM: Final = text(
    _FOLD.format(
        table="finding_total",
        whose="team_id",
        key=f"source, service, region, {_VERDICT}",
        columns=f"team_id, source, service, region, {_VERDICT}",
    )
)


async def hold_counts(session: AsyncSession, team_id: UUID) -> None:
    """From here to the end of the transaction nobody else folds or rebuilds the team's counts."""
    await session.execute(_LOCK, {"team_id": f"finding_count/{team_id}"})


async def fold_counts(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Sum up the appended counts of an account and of its team; what they add up to stays.

    Never waits: if another transaction is folding the team's counts, the next end of a scan will.
    """
    folding = await session.execute(_TRY_LOCK, {"team_id": f"finding_count/{team_id}"})
    if folding.scalar_one():
        await session.execute(_FOLD_ACCOUNT, {"whose": account_id})
        await session.execute(_FOLD_TEAM, {"whose": team_id})
