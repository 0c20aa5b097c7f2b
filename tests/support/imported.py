"""Imports put into the store as the API puts them there, once their file is read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from temporalio.client import Client

from activities import engine_starts
from contracts.observations import ObservedFinding
from contracts.vocabulary import ScanKind
from storage.merge import staging
from storage.scans import imports
from tests.storage.lab import Lab


async def read(lab: Lab, rows: Sequence[ObservedFinding], *, is_complete: bool = False) -> UUID:
    """An import whose findings are all staged: the scan's id."""
    now = datetime.now(UTC)
    async with lab.database.transaction() as session:
        scan_id = await imports.create_import(
            session, lab.team_id, lab.account_id, is_complete=is_complete, at=now
        )
    async with lab.database.copying() as connection:
        await staging.stage_findings(connection, lab.target(scan_id, imports.KEY), rows)
    async with lab.database.transaction() as session:
        assert await imports.finish_reading(
            session, scan_id, texts=[], rows=len(rows), size=1, is_complete=is_complete, at=now,
            sha256=hashlib.sha256(scan_id.bytes).digest(),
        )  # fmt: skip
    return scan_id


async def start(client: Client, lab: Lab, scan_id: UUID) -> None:
    """Start the workflow that merges it."""
    await engine_starts.start_scan(
        client,
        scan_id,
        kind=ScanKind.IMPORT,
        team_id=lab.team_id,
        account_id=lab.account_id,
        account_name="production",
    )
