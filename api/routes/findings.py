"""Findings: list, count and show."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api import exports, finding_export
from api.auth import Viewer
from api.filters import FindingExportQuery, FindingListQuery, FindingQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session, Shared
from contracts.base import Page
from contracts.findings import Finding, FindingDetail, FindingSummary
from storage.findings import findings

router = APIRouter(prefix=f"{BASE}/findings", tags=["findings"])


@router.get("", responses=described(), summary="List findings")
async def list_findings(
    query: Annotated[FindingListQuery, Query()], caller: Viewer, session: Session
) -> Page[Finding]:
    """The current state of every check on every resource, worst first.

    A filter takes a comma list and means any of its values; several filters mean all of them.
    """
    return await findings.list_findings(
        session, caller.team_id, query.filter(), limit=query.limit, cursor=query.cursor
    )


@router.get("/summary", responses=described(), summary="Count findings")
async def summarize_findings(
    query: Annotated[FindingQuery, Query()], caller: Viewer, session: Session
) -> FindingSummary:
    """Counts by severity, status, state, service and region, under the filters of the list."""
    return await findings.summarize_findings(session, caller.team_id, query.filter())


@router.get(
    "/export",
    responses=exports.described("findings") | described(),
    response_class=StreamingResponse,
    summary="Export findings",
)
async def export_findings(
    query: Annotated[FindingExportQuery, Query()], caller: Viewer, shared: Shared, now: Now
) -> StreamingResponse:
    """Every finding that the list would list, worst first, as CSV, NDJSON or Prowler's OCSF.

    Streamed page by page, each as of its own moment: a finding whose severity changes meanwhile
    may be left out. OCSF is one Detection Finding (class 2004) a line, which `POST /imports` reads.
    """
    return await finding_export.export(
        shared.database, caller.team_id, query.filter(), query.format, now
    )


@router.get("/{finding_id}", responses=described(404), summary="Show a finding")
async def get_finding(finding_id: UUID, caller: Viewer, session: Session) -> FindingDetail:
    """One finding with its check's text, remediation and history of transitions."""
    return await findings.get_finding(session, caller.team_id, finding_id)
