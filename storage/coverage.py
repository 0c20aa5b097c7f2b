"""Which checks are known of some regions: where a scanner was, and may find things gone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.observations import CoveredCheck
from storage.finding_tables import CheckCoverageRow


async def known_checks(
    session: AsyncSession, account_id: UUID, source: str, regions: Sequence[str]
) -> list[CoveredCheck]:
    """Every check of a source that ever was in one of these regions of an account."""
    rows = await session.execute(
        select(CheckCoverageRow.check_id, CheckCoverageRow.region).where(
            CheckCoverageRow.account_id == account_id,
            CheckCoverageRow.source == source,
            CheckCoverageRow.region.in_(regions),
        )
    )
    return [CoveredCheck(*row) for row in rows]
