"""Jobs: everything that can recur, each with its parameters; run one now."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from api import examples, job_control
from api.auth import Operator, Viewer
from api.filters import JobRunsQuery
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Shared
from contracts.base import Page
from contracts.jobs import Job, JobInfo
from contracts.runs import NewRun, Run
from storage import cursors
from storage.schedules import run_history
from workflows.catalogue import JOBS

router = APIRouter(prefix=f"{BASE}/jobs", tags=["jobs"])

JobPath = Annotated[str, Path(description="As `GET /jobs` names it.", examples=["account_check"])]
NO_PARAMS = NewRun()


@router.get("", responses=described(), summary="List jobs")
async def list_jobs(
    query: Annotated[PageQuery, Query()], caller: Viewer, shared: Shared
) -> Page[JobInfo]:
    """Every job that a schedule or a person can start, with its parameters and last run."""
    after = (cursors.decode("jobs", query.cursor, [str]) or [""])[0]
    names = [name for name in sorted(JOBS) if name > after]
    shown = names[: query.limit]
    async with shared.database.transaction() as session:
        last = {name: await _last_run(session, caller.team_id, name) for name in shown}
    return Page(
        items=[_info(shared, JOBS[name], last[name]) for name in shown],
        next_cursor=cursors.encode("jobs", shown[-1]) if len(names) > query.limit else None,
    )


@router.get("/{name}", responses=described(404), summary="Show a job")
async def get_job(name: JobPath, caller: Viewer, shared: Shared) -> JobInfo:
    """One job: what it does, which parameters it takes, when it runs by default."""
    job = job_control.find_job(name)
    async with shared.database.transaction() as session:
        last = await _last_run(session, caller.team_id, name)
    return _info(shared, job, last)


@router.post(
    "/{name}/runs",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 413),
    summary="Run a job now",
)
async def run_job(
    name: JobPath,
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
    run: Annotated[NewRun, Body(openapi_examples=examples.RUNS)] = NO_PARAMS,
) -> Run:
    """Run a job once, now. `params_schema` of the job says what it takes.

    Jobs of the whole installation need an admin key of its first team.
    """
    started = await job_control.run_job(shared, caller, name, run.params, now)
    response.headers["Location"] = f"{BASE}/runs/{started.id}"
    return started


@router.get("/{name}/runs", responses=described(404), summary="List a job's runs")
async def list_job_runs(
    name: JobPath, query: Annotated[JobRunsQuery, Query()], caller: Viewer, shared: Shared
) -> Page[Run]:
    """The team's runs of a job, newest first, whatever started them."""
    job_control.find_job(name)
    async with shared.database.transaction() as session:
        page = await run_history.list_runs(
            session, caller.team_id, job=[name], **query.model_dump()
        )
    return Page(items=job_control.shown(shared, page.items), next_cursor=page.next_cursor)


async def _last_run(session: AsyncSession, team_id: UUID, name: str) -> Run | None:
    page = await run_history.list_runs(session, team_id, job=[name], limit=1)
    return page.items[0] if page.items else None


def _info(shared: Shared, job: Job, last: Run | None) -> JobInfo:
    return JobInfo(
        name=job.name,
        description=job.description,
        scope=job.scope,
        workflow=job.workflow_name,
        task_queue=job.queue,
        timeout_seconds=job.timeout.total_seconds(),
        params_schema=job.params.model_json_schema(),
        default=job.default,
        last_run=None if last is None else job_control.shown(shared, [last])[0],
    )
