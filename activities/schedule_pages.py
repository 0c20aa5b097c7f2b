"""Every schedule that may still fire, page by page: no list of all, no transaction over all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from contracts.schedules import StoredSchedule
from storage.database import Database
from storage.schedules import schedules

PAGE: Final = 500


async def unfinished(database: Database) -> AsyncIterator[StoredSchedule]:
    """The schedules of all teams that are not finished, each page as it is when it is reached."""
    after: UUID | None = None
    while True:
        async with database.transaction() as session:
            page = await schedules.unfinished_schedules(session, after=after, limit=PAGE)
        for schedule in page:
            yield schedule
        if len(page) < PAGE:
            return
        after = page[-1].id
