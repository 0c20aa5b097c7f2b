"""What a source knows of some regions: there a scanner was before, and may find things gone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.observations import ObservedFinding
from contracts.vocabulary import FindingStatus, Severity
from storage.findings.finding_tables import CheckCoverageRow, FindingRow


async def live_findings(
    session: AsyncSession, account_id: UUID, source: str, regions: Sequence[str]
) -> list[ObservedFinding]:
    """Every finding of a source in these regions of an account that is not gone."""
    rows = await session.execute(
        select(
            CheckCoverageRow.check_id,
            CheckCoverageRow.service,
            CheckCoverageRow.region,
            FindingRow.resource_uid,
            FindingRow.resource_name,
            FindingRow.resource_type,
            FindingRow.severity,
            FindingRow.status,
            FindingRow.detail,
        )
        .join(FindingRow, FindingRow.coverage_id == CheckCoverageRow.id)
        .where(
            CheckCoverageRow.account_id == account_id,
            CheckCoverageRow.source == source,
            CheckCoverageRow.region.in_(regions),
            FindingRow.gone_at.is_(None),
        )
    )
    return [
        ObservedFinding(*row)._replace(
            severity=Severity(row.severity), status=FindingStatus(row.status)
        )
        for row in rows
    ]


async def regions(session: AsyncSession, account_id: UUID, source: str) -> list[str]:
    """Where a source was in an account."""
    found = await session.scalars(
        select(CheckCoverageRow.region)
        .where(CheckCoverageRow.account_id == account_id, CheckCoverageRow.source == source)
        .distinct()
    )
    return list(found)
