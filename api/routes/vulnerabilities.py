"""Vulnerabilities: list, count, export, show, decide, sync."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, status
from fastapi.responses import StreamingResponse

from api import examples, exports, vulnerability_engine, vulnerability_export
from api.auth import Operator, Viewer
from api.filters import VulnerabilityExportQuery, VulnerabilityListQuery, VulnerabilityQuery
from api.problems import described
from api.routes import BASE
from api.state import EngineOf, Now, Session, Shared
from contracts.base import Page
from contracts.decisions import Decision
from contracts.vulnerabilities import (
    NewSync,
    SyncStarted,
    Vulnerability,
    VulnerabilityDetail,
    VulnerabilitySummary,
)
from storage import keys
from storage.vulnerabilities import decisions, vulnerabilities

router = APIRouter(prefix=f"{BASE}/vulnerabilities", tags=["vulnerabilities"])


@router.get("", responses=described(), summary="List vulnerabilities")
async def list_vulnerabilities(
    query: Annotated[VulnerabilityListQuery, Query()], caller: Viewer, session: Session, now: Now
) -> Page[Vulnerability]:
    """One weakness on one asset each, whichever scanners report it; worst first."""
    return await vulnerabilities.list_vulnerabilities(
        session, caller.team_id, query.filter(), at=now, limit=query.limit, cursor=query.cursor
    )


@router.get("/summary", responses=described(), summary="Count vulnerabilities")
async def summarize_vulnerabilities(
    query: Annotated[VulnerabilityQuery, Query()], caller: Viewer, session: Session, now: Now
) -> VulnerabilitySummary:
    """Counts by status, severity and SLA state, under the filters of the list."""
    return await vulnerabilities.summarize_vulnerabilities(
        session, caller.team_id, query.filter(), at=now
    )


@router.get(
    "/export",
    responses=exports.described("vulnerabilities") | described(),
    response_class=StreamingResponse,
    summary="Export vulnerabilities",
)
async def export_vulnerabilities(
    query: Annotated[VulnerabilityExportQuery, Query()], caller: Viewer, shared: Shared, now: Now
) -> StreamingResponse:
    """Every vulnerability that the list would list, worst first, as CSV, NDJSON or OCSF.

    Streamed page by page, each as of its own moment: one whose severity changes meanwhile may be
    left out. OCSF is one Vulnerability Finding (class 2002) a line.
    """
    return await vulnerability_export.export(
        shared.database, caller.team_id, query.filter(), query.format, now
    )


@router.post(
    "/sync",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(413),
    summary="Sync vulnerabilities now",
)
async def sync_vulnerabilities(new: NewSync, caller: Operator, engine: EngineOf) -> SyncStarted:
    """Bring the team's vulnerabilities to what its findings say. A sync runs after each scan and
    every 15 minutes anyway; `full` also looks at what did not change. Two at once are one.
    """
    return SyncStarted(
        workflow_id=await vulnerability_engine.start_sync(engine, caller.team_id, new)
    )


@router.get("/{vulnerability_id}", responses=described(404), summary="Show a vulnerability")
async def get_vulnerability(
    vulnerability_id: UUID, caller: Viewer, session: Session, now: Now
) -> VulnerabilityDetail:
    """One vulnerability with the findings that it is made of, and its history of transitions."""
    return await vulnerabilities.get_vulnerability(
        session, caller.team_id, vulnerability_id, at=now
    )


@router.post(
    "/{vulnerability_id}/decisions",
    responses=described(404, 409, 413),
    summary="Decide about a vulnerability",
)
async def decide_vulnerability(
    vulnerability_id: UUID,
    decision: Annotated[Decision, Body(openapi_examples=examples.DECISIONS)],
    caller: Operator,
    session: Session,
    now: Now,
) -> VulnerabilityDetail:
    """Assign an owner, comment, begin work, accept the risk until a time, call it a false positive,
    or reopen. What is accepted or a false positive leaves the counts of open findings, stays
    visible as `state=accepted`, and no scan changes that. All of it lands in the history.
    """
    who = await keys.key_name(session, caller.key_id)
    await decisions.decide(session, caller.team_id, vulnerability_id, decision, who=who, at=now)
    return await vulnerabilities.get_vulnerability(
        session, caller.team_id, vulnerability_id, at=now
    )
