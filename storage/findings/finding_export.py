"""Reading findings for an export: page after page, each in a transaction of its own."""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.findings import Finding, FindingFilter
from storage.checks import check_ids_that_say
from storage.findings.finding_pages import Place, find_page
from storage.findings.findings import load_findings

_GONE: Final = text("SELECT id FROM finding WHERE id = ANY(:ids) AND gone_at IS NOT NULL")


class ExportPage(NamedTuple):
    """Some findings in the order of the list, and where the next ones begin; None at the end."""

    findings: list[Finding]
    gone: set[UUID]
    """Those whose resource is not there any more."""
    after: Place | None


async def export_page(
    session: AsyncSession,
    team_id: UUID,
    filter: FindingFilter,
    *,
    after: Place | None,
    limit: int,
) -> ExportPage:
    """The findings that `list_findings` would list, `limit` of them."""
    checks = None if filter.q is None else await check_ids_that_say(session, filter.q)
    places = await find_page(session, team_id, filter, after=after, needed=limit, checks=checks)
    ids = [place.id for place in places]
    found = await load_findings(session, team_id, ids)
    gone = await session.scalars(_GONE, {"ids": ids})
    return ExportPage(
        findings=[found[each] for each in ids if each in found],
        gone=set(gone),
        after=places[-1] if len(places) == limit else None,
    )
