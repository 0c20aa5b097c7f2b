"""Which services, checks and frameworks there are, to refuse a scan of ones that do not exist."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.vocabulary import Provider
from storage.tables import CheckRow


async def known_names(session: AsyncSession, provider: Provider) -> dict[str, set[str]]:
    """The names that scans of a provider may be limited to, by the field of the scan's options.

    Empty sets before the first scan of that provider brought its checks: nothing is known yet.
    """
    rows = await session.execute(
        select(CheckRow.service, CheckRow.check_id).where(CheckRow.provider == provider)
    )
    pairs = rows.all()
    frameworks = await session.scalars(
        select(func.jsonb_object_keys(CheckRow.frameworks))
        .where(CheckRow.provider == provider)
        .distinct()
    )
    return {
        "services": {service for service, _ in pairs},
        "checks": {check_id for _, check_id in pairs},
        "frameworks": set(frameworks),
    }
