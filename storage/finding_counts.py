"""The running totals behind `GET /findings/summary`: folding what triggers appended."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:team_id, 0))")

_FOLD = text("""
    WITH crowded AS (
        SELECT account_id, source, service, region, severity, status, state
        FROM finding_count
        WHERE team_id = :team_id AND (account_id = :account_id OR account_id IS NULL)
        GROUP BY account_id, source, service, region, severity, status, state
        HAVING count(*) > 1 OR sum(n) = 0
    ), removed AS (
        DELETE FROM finding_count AS old USING crowded
        WHERE old.team_id = :team_id
          AND old.account_id IS NOT DISTINCT FROM crowded.account_id
          AND (old.source, old.service, old.region, old.severity, old.status, old.state)
            = (crowded.source, crowded.service, crowded.region,
               crowded.severity, crowded.status, crowded.state)
        RETURNING old.*
    )
    INSERT INTO finding_count
        (team_id, account_id, source, service, region, severity, status, state, n)
    SELECT team_id, account_id, source, service, region, severity, status, state, sum(n)
    FROM removed
    GROUP BY team_id, account_id, source, service, region, severity, status, state
    HAVING sum(n) <> 0
""")


async def fold_counts(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Sum up the appended counts of an account and of its team; what they add up to stays.

    Never waits: if another transaction is folding the team's counts, the next end of a scan will.
    """
    folding = await session.execute(_TRY_LOCK, {"team_id": f"finding_count/{team_id}"})
    if folding.scalar_one():
        await session.execute(_FOLD, {"team_id": team_id, "account_id": account_id})
