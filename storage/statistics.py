"""Numbers for `GET /metrics`: cheap, and of all teams together."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.vocabulary import FindingState, FindingStatus
from storage.findings.finding_tables import FindingTotalRow
from storage.tables import ScanRow


class StoreStatistics(NamedTuple):
    """Scans by status, open failing findings by severity, rows staged and not merged (estimate)."""

    scans: dict[str, int]
    open_findings: dict[str, int]
    staging_rows: int


async def store_statistics(session: AsyncSession) -> StoreStatistics:
    """What the store holds now."""
    scans = await session.execute(select(ScanRow.status, func.count()).group_by(ScanRow.status))
    findings = await session.execute(
        select(FindingTotalRow.severity, func.sum(FindingTotalRow.n))
        .where(
            FindingTotalRow.status == FindingStatus.FAIL,
            FindingTotalRow.state == FindingState.OPEN,
        )
        .group_by(FindingTotalRow.severity)
    )
    staged = await session.scalar(
        text(
            "SELECT coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables "
            "WHERE relname IN ('finding_staging', 'resource_staging')"
        )
    )
    return StoreStatistics(
        scans={str(status): count for status, count in scans},
        open_findings={severity.value: int(count) for severity, count in findings},
        staging_rows=int(staged or 0),
    )
