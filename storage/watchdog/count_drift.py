"""Running totals that differ from what they count, and putting them right by adding what lacks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from storage.findings.finding_counts import fold_counts, hold_counts

_PLACE: Final = "team_id, account_id, source, check_id, service, region"
_VERDICT: Final = "severity, status, state"
_COUNT_KEY: Final = f"coverage_id, {_PLACE}, {_VERDICT}"
_TOTAL_KEY: Final = f"team_id, source, service, region, {_VERDICT}"

_COUNTS_LACK: Final = f"""
    SELECT {_COUNT_KEY}, sum(n) AS n
    FROM (
        SELECT place.id AS coverage_id, place.team_id, place.account_id, place.source,
               place.check_id, place.service, place.region, {_VERDICT}, 1 AS n
        FROM check_coverage AS place JOIN finding ON finding.coverage_id = place.id
        WHERE place.account_id = :account_id AND (finding.gone_at IS NULL OR status <> 'pass')
        UNION ALL
        SELECT {_COUNT_KEY}, -n FROM finding_count WHERE account_id = :account_id
    ) AS difference
    GROUP BY {_COUNT_KEY} HAVING sum(n) <> 0
"""  # noqa: S608 (our own names)
"""What has to be added so that the counts say what the findings say: read in one snapshot, and
merges that commit meanwhile append what they changed, so adding it is right whenever it is done."""

_TOTALS_LACK: Final = f"""
    SELECT {_TOTAL_KEY}, sum(n) AS n
    FROM (
        SELECT {_TOTAL_KEY}, n FROM finding_count WHERE team_id = :team_id
        UNION ALL
        SELECT {_TOTAL_KEY}, -n FROM finding_total WHERE team_id = :team_id
    ) AS difference
    GROUP BY {_TOTAL_KEY} HAVING sum(n) <> 0
"""  # noqa: S608 (our own names)

_OLDEST: Final = text("""
    SELECT account.id, account.team_id, account.name
    FROM account LEFT JOIN count_check ON count_check.account_id = account.id
    ORDER BY count_check.at NULLS FIRST, account.id LIMIT :limit
""")


class Checked(NamedTuple):
    """An account whose totals are to be checked."""

    id: UUID
    team_id: UUID
    name: str


async def next_to_check(session: AsyncSession, *, limit: int) -> list[Checked]:
    """The accounts that were checked the longest ago, or never."""
    rows = await session.execute(_OLDEST, {"limit": limit})
    return [Checked(row.id, row.team_id, row.name) for row in rows]


async def of_team(session: AsyncSession, team_id: UUID) -> list[Checked]:
    """Every account of a team."""
    query = text("SELECT id, team_id, name FROM account WHERE team_id = :team_id ORDER BY id")
    rows = await session.execute(query, {"team_id": team_id})
    return [Checked(row.id, row.team_id, row.name) for row in rows]


async def note_checked(session: AsyncSession, account_ids: Sequence[UUID], *, at: datetime) -> None:
    """These accounts were checked."""
    await session.execute(
        text("""
            INSERT INTO count_check (account_id, at)
            SELECT id, :at FROM account WHERE id = ANY(:ids) ORDER BY id
            ON CONFLICT (account_id) DO UPDATE SET at = excluded.at
        """),
        {"ids": list(account_ids), "at": at},
    )


async def counts_lack(session: AsyncSession, account_id: UUID) -> int:
    """How many findings of an account are counted wrongly."""
    query = f"SELECT coalesce(sum(abs(n)), 0) FROM ({_COUNTS_LACK}) AS lacking"  # noqa: S608
    found = await session.scalar(text(query), {"account_id": account_id})
    return int(found or 0)


async def totals_lack(session: AsyncSession, team_id: UUID) -> int:
    """By how many findings a team's totals differ from its accounts' counts."""
    query = f"SELECT coalesce(sum(abs(n)), 0) FROM ({_TOTALS_LACK}) AS lacking"  # noqa: S608
    found = await session.scalar(text(query), {"team_id": team_id})
    return int(found or 0)


async def rebuild_counts(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Make an account's counts say what its findings say."""
    await hold_counts(session, team_id)  # two that add what lacks would add it twice
    await session.execute(
        text(f"INSERT INTO finding_count ({_COUNT_KEY}, n) {_COUNTS_LACK}"),
        {"account_id": account_id},
    )
    await fold_counts(session, team_id, account_id)


async def rebuild_totals(session: AsyncSession, team_id: UUID) -> None:
    """Make a team's totals say what its accounts' counts say."""
    await hold_counts(session, team_id)
    await session.execute(
        text(f"INSERT INTO finding_total ({_TOTAL_KEY}, n) {_TOTALS_LACK}"),
        {"team_id": team_id},
    )
