"""Jobs and their runs: who may run what, with which parameters, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from time import monotonic
from typing import Any, Final
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api import engine as engines
from api import native_control, scan_control, schedule_engine
from api.problems import Refusal
from api.state import Services
from api.wording import FieldMessage, validation_errors
from contracts.errors import Conflict, EngineUnavailable, NotFound
from contracts.jobs import Job, JobScope
from contracts.keys import Caller
from contracts.runs import Run, RunEnd, RunRequest
from contracts.scans import HybridOptions, NativeOptions, ScanOptions
from contracts.schedules import CLOUD_SCAN, CloudScanTarget, JobTarget, Target
from contracts.vocabulary import OverlapPolicy, Provider, Role, RunOutcome, RunTrigger
from runtime import temporal
from storage import accounts
from storage.schedules import job_runs, run_history, schedules
from workflows.catalogue import JOBS

DECISION_SECONDS: Final = 3.0
DECISION_LOOK_SECONDS: Final = 0.07
NOT_TAKEN: Final = "No worker has taken it yet."
NO_ENGINE: Final = "Temporal cannot be reached."


def find_job(name: str) -> Job:
    """The catalogue's entry; NotFound names those that were perhaps meant."""
    job = JOBS.get(name)
    if job is None:
        raise NotFound(f"There is no job `{name[:100]}`.{_nearest_job(name)}")
    return job


async def require_right(session: AsyncSession, caller: Caller, name: str) -> None:
    """A 403 unless the caller may run this job: those of the installation are for its admins."""
    job = JOBS.get(name)
    if job is None or job.scope is JobScope.TEAM:
        return
    if caller.role is Role.ADMIN and caller.team_id == await schedules.installation(session):
        return
    raise Refusal(
        403,
        f"The job {name} works for the whole installation; only an admin of its first team may run "
        "or schedule it.",
        fix="Use an admin key of that team; the first one lies in `<data dir>/admin.key`.",
    )


async def target_errors(session: AsyncSession, team_id: UUID, target: Target) -> list[FieldMessage]:
    """What keeps a target from being run, field by field."""
    if isinstance(target, CloudScanTarget):
        return await _scan_errors(
            session, team_id, target.account_id, target.options, "target", "target.options."
        )
    return await _job_errors(session, team_id, target)


async def _job_errors(
    session: AsyncSession, team_id: UUID, target: JobTarget
) -> list[FieldMessage]:
    job = JOBS.get(target.job)
    if job is None:
        return [("target.job", f"There is no job `{target.job}`.{_nearest_job(target.job)}")]
    if job.name == CLOUD_SCAN:
        return [
            (
                "target.kind",
                'For scans it is `cloud_scan`: {"kind": "cloud_scan", "account_id": "…", '
                '"options": {}}.',
            )
        ]
    return await param_errors(session, team_id, job, target.params, "target.params")


async def param_errors(
    session: AsyncSession, team_id: UUID, job: Job, params: Mapping[str, Any], prefix: str
) -> list[FieldMessage]:
    """What is wrong with a job's parameters; `prefix` is where they stand in the body."""
    try:
        given = job.params.model_validate(params)
    except ValidationError as error:
        return validation_errors(error.errors(), ("body", *prefix.split(".")))
    if isinstance(given, NativeOptions | HybridOptions):
        return [
            (f"{prefix}.{name}", words)
            for name, words in await native_control.option_errors(session, team_id, given)
        ]
    account_id = getattr(given, "account_id", None)
    if account_id is None:
        return []
    options = given if isinstance(given, ScanOptions) else ScanOptions()
    provider = job.scan.provider if job.scan else None
    return await _scan_errors(session, team_id, account_id, options, prefix, f"{prefix}.", provider)


async def _scan_errors(
    session: AsyncSession,
    team_id: UUID,
    account_id: UUID,
    options: ScanOptions,
    account_in: str,
    options_in: str,
    provider: Provider | None = None,
) -> list[FieldMessage]:
    field = f"{account_in}.account_id"
    try:
        account = await accounts.get_account(session, team_id, account_id)
    except NotFound as error:
        return [(field, f"{error.message} `cloudsweep account list` shows them.")]
    if not account.enabled:
        words = f"The account {account.name} is disabled. Enable it first."
        return [(field, words)]
    if provider not in (None, account.provider):
        return [(field, f"The account {account.name} is one of {account.provider}.")]
    return [
        (f"{options_in}{name}", words)
        for name, words in await scan_control.scope_errors(session, account.provider, options)
    ]


async def run_job(
    shared: Services, caller: Caller, name: str, params: dict[str, Any], now: datetime
) -> Run:
    """Run a job now; returns the run once it is decided whether it starts."""
    job = find_job(name)
    async with shared.database.transaction() as session:
        await require_right(session, caller, name)
        errors = await param_errors(session, caller.team_id, job, params, "params")
    if errors:
        raise Refusal(422, f"The job {name} does not take these parameters.", errors=errors)
    return await started(
        shared,
        RunRequest(team_id=caller.team_id, job=name, params=params),
        team_id=caller.team_id,
        job=name,
        params=params,
        overlap=OverlapPolicy.ALLOW,
        summary=job.description,
        now=now,
    )


async def started(
    shared: Services,
    request: RunRequest,
    *,
    team_id: UUID,
    job: str,
    params: dict[str, Any],
    overlap: OverlapPolicy,
    summary: str,
    now: datetime,
) -> Run:
    """Run what is requested now, and wait a moment for a worker's decision: which is its row.

    Without one the answer stands in for the row, and says who is missing.
    """
    run_id = uuid4()
    request = request.model_copy(
        update={
            "trigger": RunTrigger.MANUAL,
            "run_id": run_id,
            "nominal_at": now,
            "team_id": team_id,
        }
    )
    await schedule_engine.start_run(shared.engine, request, team_id, summary)
    deadline = monotonic() + DECISION_SECONDS
    while monotonic() < deadline:
        try:
            async with shared.database.transaction() as session:
                run = await run_history.get_run(session, team_id, run_id)
        except NotFound:
            await asyncio.sleep(DECISION_LOOK_SECONDS)
        else:
            return shown(shared, [run])[0]
    return await _untaken(shared, request, run_id, job=job, params=params, overlap=overlap)


async def find(shared: Services, caller: Caller, run_id: UUID) -> Run:
    """One run of the team: its row, or what was asked for while no worker has taken it."""
    try:
        async with shared.database.transaction() as session:
            return shown(shared, [await run_history.get_run(session, caller.team_id, run_id)])[0]
    except NotFound:
        try:
            request = await schedule_engine.untaken_run(shared.engine, run_id)
        except EngineUnavailable:
            request = None
        if request is None or request.team_id != caller.team_id:
            raise
    job, params, overlap = request.job, request.params, OverlapPolicy.ALLOW
    if request.schedule_id is not None:
        async with shared.database.transaction() as session:
            schedule = await schedules.get_schedule(session, caller.team_id, request.schedule_id)
        job, params, overlap = schedule.job, schedule.params, schedule.overlap
    return await _untaken(
        shared, request, run_id, job=job or "", params=params, overlap=request.overlap or overlap
    )


async def _untaken(
    shared: Services,
    request: RunRequest,
    run_id: UUID,
    *,
    job: str,
    params: dict[str, Any],
    overlap: OverlapPolicy,
) -> Run:
    """In place of the row that a worker will write; says who is missing."""
    due = request.nominal_at or datetime.now(UTC)
    missing = await scan_control.what_is_missing(shared, no_engine=NO_ENGINE)
    waiting = Run(
        id=run_id,
        schedule_id=request.schedule_id,
        job=job,
        params=params,
        trigger=request.trigger,
        nominal_at=due,
        outcome=RunOutcome.QUEUED,
        reason=f"{NOT_TAKEN} {missing or ''}".strip(),
        overlap=overlap,
        queued_at=due,
        started_at=None,
        ended_at=None,
        delay_seconds=None,
        duration_seconds=None,
        summary=None,
        error=None,
        scan_id=None,
        item=request.item,
        workflow_id=schedule_engine.workflow_id_of(run_id),
        temporal_url=None,
    )
    return shown(shared, [waiting])[0]


async def cancel(shared: Services, caller: Caller, run_id: UUID, now: datetime) -> Run:
    """Ask a run to stop; its work is stopped first. Conflict when it has ended."""
    run = await find(shared, caller, run_id)
    async with shared.database.transaction() as session:
        await require_right(session, caller, run.job)
    if run.outcome.ended:
        raise Conflict(f"This run has ended already: it is {run.outcome}.")
    if not (run.workflow_id and await shared.engine.cancel(run.workflow_id)):
        # Nothing runs any more that could record the end.
        end = RunEnd(run_id=run.id, outcome=RunOutcome.CANCELLED, ended_at=now)
        async with shared.database.transaction() as session:
            await job_runs.end_run(session, end, outcome=end.outcome, summary=None, error=None)
    try:
        return await find(shared, caller, run_id)
    except NotFound:  # it ended before a worker had taken it
        return run.model_copy(update={"outcome": RunOutcome.CANCELLED, "ended_at": now})


def shown(shared: Services, found: Sequence[Run]) -> list[Run]:
    """The runs as people read them: with their page in the Web UI."""
    namespace = temporal.connect_config(shared.settings).get("namespace", "default")
    return [
        run.model_copy(
            update={
                "workflow_id": run.workflow_id or None,
                "temporal_url": engines.workflow_url(shared.settings, run.workflow_id, namespace)
                if run.workflow_id
                else None,
            }
        )
        for run in found
    ]


def _nearest_job(name: str) -> str:
    near = get_close_matches(name, JOBS, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(JOBS)}."
    return f" {hint}"
