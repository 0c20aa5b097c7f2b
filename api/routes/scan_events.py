"""Server-sent events of one scan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api import scan_control
from api.auth import Viewer
from api.problems import Refusal, described
from api.routes import BASE
from api.state import Services, Shared
from contracts.errors import DatabaseUnavailable, NotFound
from contracts.scans import Scan
from storage.scans import scans

router = APIRouter(prefix=f"{BASE}/scans", tags=["scans"])

LOOK_EVERY_SECONDS: Final = 1.0
LIFETIME_SECONDS: Final = 3600.0
"""A stream ends after this; clients of server-sent events come back by themselves."""


async def _one_of_few(shared: Shared) -> AsyncIterator[None]:
    if shared.streams.locked():
        raise Refusal(
            503,
            "This server follows as many scans as it can.",
            code="too_many_streams",
            fix="Ask `GET /scans/{id}` now and then instead, or try again later.",
        )
    async with shared.streams:
        yield


async def _first_look(scan_id: UUID, caller: Viewer, shared: Shared) -> Scan:
    # A dependency, so that a scan of nobody is a 404 and not an empty stream.
    async with shared.database.transaction() as session:
        return await scans.get_scan(session, caller.team_id, scan_id)


@router.get(
    "/{scan_id}/events",
    response_class=EventSourceResponse,
    responses=described(404),
    dependencies=[Depends(_one_of_few)],
    summary="Follow a scan",
)
async def follow_scan(
    scan_id: UUID, caller: Viewer, shared: Shared, scan: Annotated[Scan, Depends(_first_look)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events until the scan ends: `event: scan` with the scan as its data, at first and
    at each change, and `event: end` with the last one. Comments keep the connection alive.

    A stream lives for an hour; a client that comes back is told the state as it is then, whatever
    `Last-Event-ID` it sends.
    """
    async for seen in _changes(shared, caller.team_id, scan):
        event = "end" if seen.status.ended else "scan"
        yield ServerSentEvent(raw_data=seen.model_dump_json(), event=event)


async def _changes(shared: Services, team_id: UUID, scan: Scan) -> AsyncIterator[Scan]:
    """The scan now, then each time it differs, ending after the state in which it ended."""
    ends_at = monotonic() + LIFETIME_SECONDS
    shown: Scan | None = None
    while True:
        (seen,) = await scan_control.shown(shared, [scan])
        if seen != shown:
            shown = seen
            yield seen
        if seen.status.ended or monotonic() > ends_at or await _told_to_stop(shared):
            return
        try:
            async with shared.database.transaction() as session:
                scan = await scans.get_scan(session, team_id, scan.id)
        except NotFound:  # removed with its account
            return
        except DatabaseUnavailable:  # the next look may succeed; the client hears keepalives
            continue


async def _told_to_stop(shared: Services) -> bool:
    try:
        async with asyncio.timeout(LOOK_EVERY_SECONDS):
            await shared.stopping.wait()
    except TimeoutError:
        return False
    return True
