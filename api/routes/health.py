"""Is this process alive, and do the things it depends on answer?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import StrEnum
from typing import Final

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Viewer
from api.problems import described
from api.state import Now, Services, Session, Shared
from contracts.consistency import Consistency, WatchdogRun
from contracts.errors import TransientError
from contracts.keys import Caller
from contracts.vocabulary import RunOutcome
from runtime import task_queues
from storage.schedules import run_history, schedules
from storage.watchdog import repairs
from workflows.catalogue import WATCHDOG

router = APIRouter(tags=["health"])

PROBE_SECONDS: Final = 3.0
REPAIRS: Final = 50
ENDED: Final = [each for each in RunOutcome if each.ended and each.started]


class State(StrEnum):
    """How a dependency is."""

    UP = "up"
    DOWN = "down"
    CONFIGURED = "configured"
    NOT_CONFIGURED = "not_configured"
    UNKNOWN = "unknown"


GOOD = (State.UP, State.CONFIGURED)


class Dependency(BaseModel):
    """One thing that Cloudsweep needs, and what stops without it."""

    name: str = Field(examples=["postgresql"])
    state: State
    detail: str | None = Field(None, description="What it means and what to do, when it is not up.")


class Alive(BaseModel):
    """The process answers."""

    status: str = Field(examples=["alive"])


class Readiness(BaseModel):
    """`ready`: all is up. `degraded`: reads are answered, scans are not. `down`: nothing is."""

    status: str = Field(examples=["ready"])
    dependencies: list[Dependency]


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Answers as long as the process does, whatever else is down; needs no key."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    responses={503: {"model": Readiness, "description": "PostgreSQL cannot be reached."}},
    summary="Do the dependencies answer?",
)
async def readyz(shared: Shared, response: Response) -> Readiness:
    """Each dependency by name with its state; needs no key.

    503 only without PostgreSQL: without Temporal or workers reads still go on, and the status is
    `degraded`.
    """
    postgresql, temporal, workers = await asyncio.gather(
        _state(shared.database.ping()), _state(shared.engine.ping()), _workers(shared)
    )
    answers = {
        "postgresql": (postgresql, "Nothing works without it; see that it runs."),
        "temporal": (temporal, "Scans cannot start or go on; reads are answered."),
        "workers": (
            workers,
            "Nobody knows without Temporal."
            if workers is State.UNKNOWN
            else "No worker polls; start one: `cloudsweep up` or `python worker.py`.",
        ),
        "steampipe": (
            State.CONFIGURED if shared.settings.steampipe_url else State.NOT_CONFIGURED,
            "Discovery is skipped; set CLOUDSWEEP_STEAMPIPE_URL for an inventory.",
        ),
    }
    if postgresql is not State.UP:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        verdict = "down"
    else:
        verdict = "ready" if temporal is workers is State.UP else "degraded"
    return Readiness(
        status=verdict,
        dependencies=[
            Dependency(name=name, state=state, detail=None if state in GOOD else detail)
            for name, (state, detail) in answers.items()
        ],
    )


@router.get(
    "/health/consistency", responses=described(), summary="Do the store and Temporal agree?"
)
async def show_consistency(caller: Viewer, session: Session, now: Now) -> Consistency:
    """What the last run of the watchdog repaired, the newest repairs, and what it has given up.

    Each team sees what concerns it; what concerns the whole installation is shown to its first
    team.
    """
    return Consistency(
        last_run=await _last_watch(session, caller),
        repairs=await repairs.newest(session, caller.team_id, at=now, limit=REPAIRS),
        given_up=await repairs.given_up(session, caller.team_id, at=now, limit=REPAIRS),
    )


async def _last_watch(session: AsyncSession, caller: Caller) -> WatchdogRun | None:
    installation = await schedules.installation(session)
    page = await run_history.list_runs(
        session, installation, job=[WATCHDOG], outcome=ENDED, limit=1
    )
    if not page.items:
        return None
    run = page.items[0]
    first, last = run.started_at or run.queued_at, run.ended_at or run.queued_at
    return WatchdogRun(
        outcome=run.outcome,
        started_at=run.started_at,
        ended_at=run.ended_at,
        counts=await repairs.counted(session, caller.team_id, first, last),
    )


async def _state(answer: Awaitable[None]) -> State:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await answer
    except (TransientError, TimeoutError):
        return State.DOWN
    return State.UP


async def _workers(shared: Services) -> State:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return State.UP if await shared.engine.is_polled(task_queues.SCANS) else State.DOWN
    except (TransientError, TimeoutError):
        return State.UNKNOWN
