"""Temporal as schedules and runs need it; every call raises EngineUnavailable in seconds."""

from __future__ import annotations

from typing import Final, cast
from uuid import UUID, uuid4

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities import engine_starts, temporal_schedules
from api.engine import RPC_TIMEOUT, Engine
from contracts.runs import BackfillRequest, RunRequest
from contracts.schedules import StoredSchedule
from runtime import search_attributes, task_queues, temporal

SCHEDULE_BACKFILL: Final = "ScheduleBackfill"
"""By name, as those in `api.engine`. A test compares it with the class."""


def workflow_id_of(run_id: UUID) -> str:
    """The workflow of a run that people start."""
    return f"run/{run_id}"


async def put(engine: Engine, schedule: StoredSchedule, installation: UUID) -> None:
    """Make Temporal fire exactly this. Call it with the schedule's row locked."""
    client = await engine.client()
    with temporal.engine_errors(client):
        await temporal_schedules.put(client, schedule, installation)


async def remove(engine: Engine, schedule_id: UUID) -> None:
    """Make Temporal forget a schedule."""
    client = await engine.client()
    with temporal.engine_errors(client):
        await temporal_schedules.remove(client, schedule_id)


async def start_run(engine: Engine, request: RunRequest, team_id: UUID, summary: str) -> None:
    """Start the workflow of a run, which decides whether it may run."""
    client = await engine.client()
    with temporal.engine_errors(client):
        await engine_starts.start_run(client, request, team_id, summary, rpc_timeout=RPC_TIMEOUT)


async def untaken_run(engine: Engine, run_id: UUID) -> RunRequest | None:
    """What was asked for, of a run that somebody started and no worker has taken yet."""
    client = await engine.client()
    handle = client.get_workflow_handle(workflow_id_of(run_id))
    try:
        with temporal.engine_errors(client):
            described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
            if described.status is not WorkflowExecutionStatus.RUNNING:
                return None
            events = handle.fetch_history_events(page_size=1, rpc_timeout=RPC_TIMEOUT)
            first = await anext(events)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    given = first.workflow_execution_started_event_attributes.input.payloads
    (request,) = await client.data_converter.decode(given, [RunRequest])
    return cast("RunRequest", request)


async def start_backfill(engine: Engine, request: BackfillRequest, summary: str) -> str:
    """Start the runs of a backfill; returns the id of the workflow that does."""
    client = await engine.client()
    workflow_id = f"backfill/{request.schedule_id}/{uuid4()}"
    with temporal.engine_errors(client):
        await client.start_workflow(
            SCHEDULE_BACKFILL,
            request,
            id=workflow_id,
            task_queue=task_queues.SCANS,
            search_attributes=search_attributes.of_schedule(request.team_id, request.schedule_id),
            static_summary=summary,
            rpc_timeout=RPC_TIMEOUT,
        )
    return workflow_id
