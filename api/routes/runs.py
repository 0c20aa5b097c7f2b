"""Runs: every time that a job was due, and what became of it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from api import job_control
from api.auth import Operator, Viewer
from api.filters import RunListQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Shared
from contracts.base import Page
from contracts.runs import Run
from storage.schedules import run_history

router = APIRouter(prefix=f"{BASE}/runs", tags=["runs"])


@router.get("", responses=described(), summary="List runs")
async def list_runs(
    query: Annotated[RunListQuery, Query()], caller: Viewer, shared: Shared
) -> Page[Run]:
    """The team's runs, newest first: also of times that were skipped, missed or refused."""
    async with shared.database.transaction() as session:
        page = await run_history.list_runs(session, caller.team_id, **query.model_dump())
    return Page(items=job_control.shown(shared, page.items), next_cursor=page.next_cursor)


@router.get("/{run_id}", responses=described(404), summary="Show a run")
async def get_run(run_id: UUID, caller: Viewer, shared: Shared) -> Run:
    """One run: when it was due, when it started, how it ended, and which rule decided.

    `scan_id` names the scan that it started.
    """
    return await job_control.find(shared, caller, run_id)


@router.post(
    "/{run_id}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409),
    summary="Cancel a run",
)
async def cancel_run(run_id: UUID, caller: Operator, shared: Shared, now: Now) -> Run:
    """Stop a run and its work; a scan stops within seconds and keeps what was merged.

    The answer shows the run as it is now; it is `cancelled` once its work has stopped.
    """
    return await job_control.cancel(shared, caller, run_id, now)
