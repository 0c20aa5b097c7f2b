"""Findings as files, in the formats of `api/exports.py`; OCSF as Prowler writes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi.responses import StreamingResponse

from api import exports
from contracts.findings import Finding, FindingFilter
from contracts.vocabulary import ExportFormat
from scanners.prowler import prowler_ocsf
from storage.checks import CheckKey, CheckTexts
from storage.database import Database
from storage.findings.finding_export import export_page
from storage.findings.finding_pages import Place

COLUMNS: Final[exports.Columns[Finding]] = {
    "id": lambda finding: finding.id,
    "severity": lambda finding: finding.severity,
    "status": lambda finding: finding.status,
    "state": lambda finding: finding.state,
    "title": lambda finding: finding.title,
    "check_id": lambda finding: finding.check_id,
    "provider": lambda finding: finding.provider,
    "account_uid": lambda finding: finding.account_uid,
    "account_id": lambda finding: finding.account_id,
    "region": lambda finding: finding.region,
    "service": lambda finding: finding.service,
    "resource_uid": lambda finding: finding.resource.uid,
    "resource_name": lambda finding: finding.resource.name,
    "resource_type": lambda finding: finding.resource.type,
    "detail": lambda finding: finding.detail,
    "source": lambda finding: finding.source,
    "first_seen_at": lambda finding: finding.first_seen_at,
    "last_seen_at": lambda finding: finding.last_seen_at,
    "resolved_at": lambda finding: finding.resolved_at,
    "first_scan_id": lambda finding: finding.first_scan_id,
    "last_scan_id": lambda finding: finding.last_scan_id,
}


async def export(
    database: Database, team_id: UUID, filter: FindingFilter, format: ExportFormat, at: datetime
) -> StreamingResponse:
    """The findings that the list would list, page by page."""
    texts = CheckTexts()

    async def read(after: Place | None) -> exports.Piece:
        async with database.transaction() as session:
            page = await export_page(session, team_id, filter, after=after, limit=exports.PAGE)
            if format is not ExportFormat.OCSF:
                return exports.Piece(page.findings, page.after, None)
            checks = await texts.read(session, {_check_of(each) for each in page.findings})

        def record(finding: Finding) -> dict[str, Any]:
            return prowler_ocsf.write(
                finding, checks[_check_of(finding)], is_gone=finding.id in page.gone, at=at
            )

        return exports.Piece(page.findings, page.after, record)

    return await exports.answer("findings", read, COLUMNS, format, at)


def _check_of(finding: Finding) -> CheckKey:
    return finding.source, finding.provider.value, finding.check_id
