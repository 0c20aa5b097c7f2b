"""Findings as files: CSV for spreadsheets, NDJSON for programs, OCSF for other security tools."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from contracts.findings import CheckText, Finding, FindingFilter
from contracts.vocabulary import ExportFormat
from scanners import prowler_ocsf
from storage.checks import find_check
from storage.database import Database
from storage.finding_export import ExportPage, export_page

PAGE: Final = 500
"""Findings read and held at a time."""

MEDIA_TYPES: Final = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.OCSF: "application/x-ndjson",
}
ENDINGS: Final = {
    ExportFormat.CSV: "csv",
    ExportFormat.NDJSON: "ndjson",
    ExportFormat.OCSF: "ocsf.ndjson",
}

COLUMNS: Final[dict[str, Callable[[Finding], Any]]] = {
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
    "first_seen_at": lambda finding: _time(finding.first_seen_at),
    "last_seen_at": lambda finding: _time(finding.last_seen_at),
    "resolved_at": lambda finding: _time(finding.resolved_at),
    "first_scan_id": lambda finding: finding.first_scan_id,
    "last_scan_id": lambda finding: finding.last_scan_id,
}
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet would run; clouds let people name things so."""

CheckKey = tuple[str, str, str]


async def exported(
    database: Database, team_id: UUID, filter: FindingFilter, format: ExportFormat, at: datetime
) -> AsyncIterator[bytes]:
    """The lines of the export. The first page is read before this returns, so that what is wrong
    is still an answer of its own; one page is held at a time."""
    export = _Export(database, team_id, filter, format, at)
    return export.lines(await export.page(None))


def file_name(format: ExportFormat, at: datetime) -> str:
    """What the file is called where it is saved."""
    return f"findings-{at:%Y%m%dT%H%M%SZ}.{ENDINGS[format]}"


class _Export:
    def __init__(
        self,
        database: Database,
        team_id: UUID,
        filter: FindingFilter,
        format: ExportFormat,
        at: datetime,
    ) -> None:
        self._database = database
        self._team_id = team_id
        self._filter = filter
        self._format = format
        self._at = at
        self._checks: dict[CheckKey, CheckText | None] = {}

    async def page(self, after: Any) -> ExportPage:
        async with self._database.transaction() as session:
            page = await export_page(session, self._team_id, self._filter, after=after, limit=PAGE)
            if self._format is ExportFormat.OCSF:
                for key in {_check_of(finding) for finding in page.findings}:
                    if key not in self._checks:
                        self._checks[key] = await find_check(session, *key)
        return page

    async def lines(self, page: ExportPage) -> AsyncIterator[bytes]:
        if self._format is ExportFormat.CSV:
            yield _csv([list(COLUMNS)])
        while True:
            # In a thread: writing a page takes milliseconds that other requests need not wait for.
            yield await asyncio.to_thread(self._written, page)
            if page.after is None:
                return
            page = await self.page(page.after)

    def _written(self, page: ExportPage) -> bytes:
        match self._format:
            case ExportFormat.CSV:
                return _csv(
                    [[_cell(read(each)) for read in COLUMNS.values()] for each in page.findings]
                )
            case ExportFormat.NDJSON:
                return "".join(f"{each.model_dump_json()}\n" for each in page.findings).encode()
            case ExportFormat.OCSF:
                return "".join(f"{self._ocsf(each, page)}\n" for each in page.findings).encode()

    def _ocsf(self, finding: Finding, page: ExportPage) -> str:
        record = prowler_ocsf.write(
            finding,
            self._checks[_check_of(finding)],
            is_gone=finding.id in page.gone,
            at=self._at,
        )
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _check_of(finding: Finding) -> CheckKey:
    return finding.source, finding.provider.value, finding.check_id


def _csv(rows: list[list[Any]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # An apostrophe makes it text for every spreadsheet, also behind leading spaces.
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
