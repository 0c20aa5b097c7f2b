"""The running totals behind `GET /findings/summary`: folding what triggers appended."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:team_id, 0))")

_FOLD_ACCOUNT = text("""
    WITH crowded AS (
        SELECT coverage_id, severity, status, state
        FROM finding_count
        WHERE account_id = :account_id
        GROUP BY coverage_id, severity, status, state
        HAVING count(*) > 1 OR sum(n) = 0
    ), removed AS (
        DELETE FROM finding_count AS old USING crowded
        WHERE old.account_id = :account_id
          AND (old.coverage_id, old.severity, old.status, old.state)
            = (crowded.coverage_id, crowded.severity, crowded.status, crowded.state)
        RETURNING old.*
    )
    INSERT INTO finding_count
        (coverage_id, team_id, account_id, source, check_id, service, region,
         severity, status, state, n)
    SELECT coverage_id, team_id, account_id, source, check_id, service, region,
           severity, status, state, sum(n)
    FROM removed
    GROUP BY coverage_id, team_id, account_id, source, check_id, service, region,
             severity, status, state
    HAVING sum(n) <> 0
""")

_FOLD_TEAM = text("""
    WITH crowded AS (
        SELECT source, service, region, severity, status, state
        FROM finding_total
        WHERE team_id = :team_id
        GROUP BY source, service, region, severity, status, state
        HAVING count(*) > 1 OR sum(n) = 0
    ), removed AS (
        DELETE FROM finding_total AS old USING crowded
        WHERE old.team_id = :team_id
          AND (old.source, old.service, old.region, old.severity, old.status, old.state)
            = (crowded.source, crowded.service, crowded.region,
               crowded.severity, crowded.status, crowded.state)
        RETURNING old.*
    )
    INSERT INTO finding_total (team_id, source, service, region, severity, status, state, n)
    SELECT team_id, source, service, region, severity, status, state, sum(n)
    FROM removed
    GROUP BY team_id, source, service, region, severity, status, state
    HAVING sum(n) <> 0
""")


async def fold_counts(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Sum up the appended counts of an account and of its team; what they add up to stays.

    Never waits: if another transaction is folding the team's counts, the next end of a scan will.
    """
    folding = await session.execute(_TRY_LOCK, {"team_id": f"finding_count/{team_id}"})
    if folding.scalar_one():
        await session.execute(_FOLD_ACCOUNT, {"account_id": account_id})
        await session.execute(_FOLD_TEAM, {"team_id": team_id})
