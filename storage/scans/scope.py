"""Which services and checks there are, to refuse a scan of ones that do not exist."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.vocabulary import Provider
from storage.tables import CheckRow

PROWLER: Final = "prowler"
"""Scans are limited to checks of this source; native tools that look at a cluster have others."""


async def known_names(session: AsyncSession, provider: Provider) -> dict[str, set[str]]:
    """The names that scans of a provider may be limited to, by the field of the scan's options.

    Empty sets before the first scan of that provider brought its checks: nothing is known yet.
    """
    found = await session.execute(
        select(CheckRow.service, CheckRow.check_id).where(
            CheckRow.provider == provider, CheckRow.source == PROWLER
        )
    )
    rows = found.all()
    return {
        "services": {service for service, _ in rows},
        "checks": {check_id for _, check_id in rows},
    }
