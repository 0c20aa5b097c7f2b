"""The default schedules of jobs: made at start-up, put back into a Temporal that forgot them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from temporalio.client import Client
from temporalio.service import RPCError

from activities import engine_starts, temporal_schedules
from contracts.errors import DatabaseUnavailable
from contracts.jobs import Job
from contracts.runs import RunRequest
from contracts.schedules import JobTarget, NewSchedule, StoredSchedule
from contracts.vocabulary import RunTrigger
from storage.database import Database
from storage.schedules import schedules
from workflows.catalogue import JOBS, RECONCILER

LOOK_SECONDS: Final = 30.0

logger = logging.getLogger(__name__)


async def ensure_defaults(
    database: Database, client: Client, jobs: Mapping[str, Job] = JOBS
) -> None:
    """Make the default schedules that are missing; one that exists stays as it was changed."""
    for job in jobs.values():
        if job.default is None:
            continue
        schedule = NewSchedule(
            **job.default.model_dump(),
            name=job.name,
            target=JobTarget(job=job.name),
            overlap=job.overlap,
            catchup_seconds=60,
            pause_after_failures=0,  # what repairs others must not stop itself
        )
        async with database.transaction() as session:
            installation = await schedules.installation(session)
            await schedules.create_schedule(
                session, installation, schedule, at=datetime.now(UTC), default_of=job.name
            )
        async with database.transaction() as session:
            made = await schedules.default_schedule(session, installation, job.name, lock=True)
            if made is not None and not await temporal_schedules.exists(client, made.id):
                await temporal_schedules.put(client, made, installation)


async def keep_defaults(database: Database, client: Client) -> None:
    """For as long as this runs, notice when Temporal has forgotten the reconciler's schedule.

    The one loop outside Temporal: a Temporal whose database was lost has nothing left that could
    notice. What it forgot besides, the reconciler puts back, which is started at once.
    """
    ensured = False  # once at the start also those that exist are looked through
    while True:
        try:
            if not ensured:
                await ensure_defaults(database, client)
                ensured = True
            await ensure_defaults_after_loss(database, client)
        except (RPCError, DatabaseUnavailable) as error:
            logger.info("The default schedules cannot be looked at: %s", error)
        await asyncio.sleep(LOOK_SECONDS)


async def ensure_defaults_after_loss(database: Database, client: Client) -> bool:
    """Put the defaults in order if the reconciler's is not in Temporal; True when it was not."""
    async with database.transaction() as session:
        installation = await schedules.installation(session)
        reconciler = await schedules.default_schedule(session, installation, RECONCILER)
    if reconciler is not None and await temporal_schedules.exists(client, reconciler.id):
        return False
    await ensure_defaults(database, client)
    async with database.transaction() as session:
        reconciler = await schedules.default_schedule(session, installation, RECONCILER)
    if reconciler is not None:
        await _reconcile_now(client, reconciler)
    return True


async def _reconcile_now(client: Client, reconciler: StoredSchedule) -> None:
    request = RunRequest(schedule_id=reconciler.id, trigger=RunTrigger.MANUAL, run_id=uuid4())
    await engine_starts.start_run(client, request, reconciler.team_id, reconciler.name)
