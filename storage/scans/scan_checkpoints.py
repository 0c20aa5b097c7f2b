"""How far the run of a tool had come: what the next try of its shard goes on from."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from storage.targets.target_tables import ScanCheckpointRow

KEPT: Final = timedelta(days=1)
"""As long as a shard may take; what is older would tell of another day."""


async def save(
    session: AsyncSession, scan_id: UUID, key: str, *, run: int, report: bytes, at: datetime
) -> None:
    """What the shard's run of this number has done, in place of what was kept before."""
    fields = {"run": run, "report": zlib.compress(report, 1), "at": at}
    await session.execute(
        insert(ScanCheckpointRow)
        .values(scan_id=scan_id, key=key, **fields)
        .on_conflict_do_update(index_elements=["scan_id", "key"], set_=fields)
    )


async def load(session: AsyncSession, scan_id: UUID, key: str, *, at: datetime) -> dict[int, bytes]:
    """What was kept last, by the number of its run; empty when nothing was."""
    row = await session.scalar(
        select(ScanCheckpointRow).where(
            ScanCheckpointRow.scan_id == scan_id,
            ScanCheckpointRow.key == key,
            ScanCheckpointRow.at > at - KEPT,
        )
    )
    return {} if row is None else {row.run: zlib.decompress(row.report)}


async def forget(session: AsyncSession, scan_id: UUID, key: str) -> None:
    """The shard is done, or begins anew."""
    await session.execute(
        delete(ScanCheckpointRow).where(
            ScanCheckpointRow.scan_id == scan_id, ScanCheckpointRow.key == key
        )
    )
