"""Is this process alive, and do the things it depends on answer?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import StrEnum
from typing import Final

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field

from api.state import Services, Shared
from contracts.errors import TransientError
from runtime import task_queues

router = APIRouter(tags=["health"])

PROBE_SECONDS: Final = 3.0


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
