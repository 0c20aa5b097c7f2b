"""Scans: start, list, show, and the controls of a running one."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Response, status

from api import examples, native_control, scan_control
from api.auth import Operator, Viewer
from api.filters import ScanListQuery
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Services, Session, Shared
from contracts.base import Page
from contracts.scans import HybridOptions, NativeOptions, NewScan, Scan, ScanTask
from storage.scans import scans

router = APIRouter(prefix=f"{BASE}/scans", tags=["scans"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Any name of this request; repeating it returns the same scan.",
        examples=["nightly-2026-01-31"],
    ),
]


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409, 413),
    summary="Start a scan",
)
async def create_scan(
    request: Annotated[NewScan, Body(openapi_examples=examples.SCANS)],
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Scan:
    """Queue a scan and return at once; the same Idempotency-Key returns the same scan.

    Lists left out mean everything. One account has one running scan: a second waits, and its
    `waiting_for` says for what. When Temporal cannot be reached the answer is 503 with the
    `scan_id` of the queued scan.
    """
    scan = await scan_control.start(shared, caller.team_id, request, idempotency_key, now)
    return await _accepted(shared, scan, response)


async def _accepted(shared: Services, scan: Scan, response: Response) -> Scan:
    response.headers["Location"] = f"{BASE}/scans/{scan.id}"
    return (await scan_control.shown(shared, [scan]))[0]


@router.post(
    "/native",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(409, 413),
    summary="Start a scan of targets",
)
async def create_native_scan(
    request: Annotated[NativeOptions, Body(openapi_examples=examples.NATIVE_SCANS)],
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Scan:
    """Look at targets with the tools that suit them, as hard as the policy allows.

    Each target is checked again before each tool runs: its scope, and every address that it has.
    A team's native scans run one after the other.
    """
    scan = await native_control.start(shared, caller.team_id, request, idempotency_key, now)
    return await _accepted(shared, scan, response)


@router.post(
    "/hybrid",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(409, 413),
    summary="Start a hybrid discovery",
)
async def create_hybrid_discovery(
    request: Annotated[HybridOptions, Body(openapi_examples=examples.HYBRID)],
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Scan:
    """Look who answers in the networks of the team's scopes, and join that with the inventory and
    the targets into `/assets`.

    It takes turns with the team's native scans.
    """
    scan = await native_control.start(shared, caller.team_id, request, idempotency_key, now)
    return await _accepted(shared, scan, response)


@router.get("", responses=described(), summary="List scans")
async def list_scans(
    query: Annotated[ScanListQuery, Query()], caller: Viewer, shared: Shared
) -> Page[Scan]:
    """The team's scans, newest first."""
    async with shared.database.transaction() as session:
        page = await scans.list_scans(session, caller.team_id, **query.model_dump())
    return Page(items=await scan_control.shown(shared, page.items), next_cursor=page.next_cursor)


@router.get("/{scan_id}", responses=described(404), summary="Show a scan")
async def get_scan(scan_id: UUID, caller: Viewer, shared: Shared) -> Scan:
    """One scan: status, progress, numbers, and in words what it waits for or why it failed."""
    async with shared.database.transaction() as session:
        scan = await scans.get_scan(session, caller.team_id, scan_id)
    return (await scan_control.shown(shared, [scan]))[0]


@router.get("/{scan_id}/tasks", responses=described(404), summary="List a scan's shards")
async def list_tasks(
    scan_id: UUID, query: Annotated[PageQuery, Query()], caller: Viewer, session: Session
) -> Page[ScanTask]:
    """The shards of a scan: where each stands, what it covered, why it failed."""
    return await scans.list_tasks(
        session, caller.team_id, scan_id, limit=query.limit, cursor=query.cursor
    )


@router.post(
    "/{scan_id}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409),
    summary="Cancel a scan",
)
async def cancel_scan(scan_id: UUID, caller: Operator, shared: Shared, now: Now) -> Scan:
    """Stop the scanners within seconds; what was merged stays, and nothing is resolved by it."""
    scan = await scan_control.cancel(shared, caller.team_id, scan_id, now)
    return (await scan_control.shown(shared, [scan]))[0]


@router.post(
    "/{scan_id}/pause",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409),
    summary="Pause a scan",
)
async def pause_scan(scan_id: UUID, caller: Operator, shared: Shared) -> Scan:
    """Start no new shards; those that run go on to their end."""
    scan = await scan_control.pause(shared, caller.team_id, scan_id)
    return (await scan_control.shown(shared, [scan]))[0]


@router.post(
    "/{scan_id}/resume",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409),
    summary="Resume a scan",
)
async def resume_scan(scan_id: UUID, caller: Operator, shared: Shared, now: Now) -> Scan:
    """Go on with a paused scan, or run the shards that an ended one left undone.

    Those whose checks were throttled or not answered to the end are run again, too; those that
    were denied are not.
    """
    scan = await scan_control.resume(shared, caller.team_id, scan_id, now)
    return (await scan_control.shown(shared, [scan]))[0]
