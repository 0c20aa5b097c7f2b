"""The scheduler on real servers, with a job that lasts and ends as a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import Client
from temporalio.service import RPCError

from activities import temporal_schedules
from activities.run_admission import RunAdmissionActivities
from activities.run_endings import RunEndActivities
from activities.schedule_upkeep import ScheduleUpkeepActivities
from contracts.jobs import Job
from contracts.runs import (
    JobSummary,
    ReconcileRequest,
    Run,
    RunRequest,
    RunSummary,
    SweepRequest,
)
from contracts.schedules import JobTarget, NewSchedule, StoredSchedule
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger
from runtime import task_queues
from runtime.settings import Settings
from storage.database import Database
from storage.keys import create_team
from storage.schedules import run_history, schedules
from tests.support.pretend_job import Pretend, PretendJob
from worker import Registration, build_workers, running
from workflows.catalogue import JOBS
from workflows.expiry_sweep import ExpirySweep
from workflows.job_run import JobRun
from workflows.schedule_backfill import ScheduleBackfill
from workflows.schedule_reconciler import ScheduleReconciler

PRETEND = Job(
    name="pretend",
    description="A job of the tests.",
    workflow="tests.support.pretend_job:PretendJob",
    queue=task_queues.SCANS,
    timeout=timedelta(seconds=300),
    params=Pretend,
)

INLINE = PRETEND._replace(name="inline", timeout=timedelta(seconds=20), inline=True)
"""The same, done within the run's own workflow: it cannot be let go."""


class SchedulerLab:
    """Schedules of one team, made as the API makes them."""

    def __init__(self, database: Database, client: Client, settings: Settings) -> None:
        self.database = database
        self.client = client
        self.settings = settings
        self.jobs = {**JOBS, PRETEND.name: PRETEND, INLINE.name: INLINE}
        self.endings = RunEndActivities(database, client)
        self.admission = RunAdmissionActivities(database, self.endings, self.jobs)
        self.upkeep = ScheduleUpkeepActivities(database, client, self.admission, self.endings)
        self.team_id = UUID(int=0)

    def for_team(self, team_id: UUID) -> SchedulerLab:
        """The same scheduler, as another team has it."""
        made = copy(self)
        made.team_id = team_id
        return made

    @asynccontextmanager
    async def working(self, queues: Sequence[str] | None = None) -> AsyncIterator[None]:
        """Workers of the scheduler's queues, until the block ends."""
        table = {
            task_queues.SCANS: Registration(
                [JobRun, ScheduleBackfill, PretendJob],
                [
                    self.admission.admit_run,
                    self.endings.displace_runs,
                    self.endings.close_run,
                ],
            ),
            task_queues.MAINTENANCE: Registration(
                [ExpirySweep, ScheduleReconciler],
                [
                    self.upkeep.reconcile_schedules,
                    self.upkeep.record_missed_runs,
                    self.upkeep.end_lost_runs,
                    self.upkeep.start_due_items,
                ],
            ),
        }
        workers = build_workers(self.client, table, self.settings, queues or tuple(table), slots=20)
        async with running(workers):
            yield

    async def add(
        self,
        trigger: Any,
        *,
        overlap: OverlapPolicy = OverlapPolicy.SKIP,
        seconds: float = 0.0,
        fails: bool = False,
        job: Job = PRETEND,
        pushed: bool = True,
        **fields: Any,
    ) -> StoredSchedule:
        """A schedule of the pretended job, in the database and in Temporal."""
        new = NewSchedule(
            **{
                "name": f"schedule {uuid4()}",
                "target": JobTarget(job=job.name, params={"seconds": seconds, "fails": fails}),
                "trigger": trigger,
                "overlap": overlap,
                **fields,
            }
        )
        async with self.database.transaction() as session:
            schedule = await schedules.create_schedule(
                session, self.team_id, new, at=datetime.now(UTC)
            )
            assert schedule is not None
        if pushed:
            await self.push(schedule.id)
        return schedule

    async def push(self, schedule_id: UUID) -> None:
        """Write a schedule to Temporal as it is now."""
        await self.endings.push(schedule_id)

    async def pause(self, schedule_id: UUID, paused: bool = True) -> None:
        """Pause or resume a schedule, as the API does."""
        async with self.database.transaction() as session:
            await schedules.set_paused(session, schedule_id, paused, "", at=datetime.now(UTC))
        await self.push(schedule_id)

    async def schedule(self, schedule_id: UUID) -> StoredSchedule:
        """A schedule as it stands."""
        async with self.database.transaction() as session:
            found = await schedules.load_schedule(session, schedule_id)
        assert found is not None
        return found

    async def start(self, schedule_id: UUID, *, overlap: OverlapPolicy | None = None) -> UUID:
        """Trigger a schedule: the run's id, once it is decided."""
        run_id = uuid4()
        await self.client.start_workflow(
            JobRun.run,
            RunRequest(
                schedule_id=schedule_id, trigger=RunTrigger.MANUAL, run_id=run_id, overlap=overlap
            ),
            id=f"run/{run_id}",
            task_queue=task_queues.SCANS,
        )
        await self.until(schedule_id, lambda runs: run_id in {run.id for run in runs})
        return run_id

    async def run_now(self, schedule_id: UUID) -> RunSummary:
        """Trigger a schedule, and wait for the run's end."""
        run_id = await self.start(schedule_id)
        return await self.client.get_workflow_handle(
            f"run/{run_id}", result_type=RunSummary
        ).result()

    async def let_go(self, schedule_id: UUID) -> None:
        """Let what runs of a schedule end, and what then runs, until nothing is left."""

        def ended(runs: list[Run]) -> bool:
            return all(run.outcome.ended for run in runs)

        while not ended(runs := await self.runs(schedule_id)):
            for run in runs:
                if run.outcome is RunOutcome.RUNNING:
                    work = self.client.get_workflow_handle(f"{PRETEND.name}/{run.id}")
                    with suppress(RPCError):  # about to start, or just ended
                        await work.signal(PretendJob.let_go)
            await asyncio.sleep(0.1)

    async def sweep(self) -> int:
        """Run the expiry sweep once: how many targets it started."""
        done = await self.client.execute_workflow(
            ExpirySweep.run,
            SweepRequest(),
            id=f"sweep/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )
        return done.counts["started"]

    async def reconcile(self, *, full: bool = False) -> JobSummary:
        """Run the reconciler once; only what it did is counted."""
        done = await self.client.execute_workflow(
            ScheduleReconciler.run,
            ReconcileRequest(full=full),
            id=f"reconcile/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
        )
        return JobSummary(counts={name: n for name, n in done.counts.items() if n})

    async def runs(self, schedule_id: UUID) -> list[Run]:
        """Every run of a schedule, in the order in which they were due."""
        found: list[Run] = []
        cursor = None
        async with self.database.transaction() as session:
            while True:
                page = await run_history.list_runs(
                    session, self.team_id, schedule_id=[schedule_id], limit=200, cursor=cursor
                )
                found += page.items
                cursor = page.next_cursor
                if cursor is None:
                    return sorted(found, key=lambda run: (run.nominal_at, run.queued_at))

    async def until(
        self, schedule_id: UUID, holds: Callable[[list[Run]], bool], *, seconds: float = 120
    ) -> list[Run]:
        """The runs of a schedule, once this holds of them."""
        deadline = time.monotonic() + seconds
        while True:
            runs = await self.runs(schedule_id)
            if holds(runs):
                return runs
            assert time.monotonic() < deadline, [
                (run.nominal_at.time(), run.outcome, run.reason) for run in runs
            ]
            await asyncio.sleep(0.1)

    async def until_gone(self, schedule_id: UUID) -> None:
        """Return once Temporal no longer holds the schedule."""
        async with asyncio.timeout(30):
            while await self.in_temporal(schedule_id):  # noqa: ASYNC110 (another server's state)
                await asyncio.sleep(0.2)

    async def in_temporal(self, schedule_id: UUID) -> bool:
        """Whether Temporal holds the schedule."""
        return await temporal_schedules.exists(self.client, schedule_id)


def outcomes(runs: Sequence[Run]) -> list[RunOutcome]:
    """What became of each."""
    return [run.outcome for run in runs]


@asynccontextmanager
async def scheduler_lab(
    database_url: str, client: Client, settings: Settings
) -> AsyncIterator[SchedulerLab]:
    """A lab on this database and namespace, with a team of its own; no workers yet."""
    database = Database.open(database_url, pool_size=10)
    lab = SchedulerLab(database, client, settings)
    async with database.transaction() as session:
        lab.team_id = await create_team(session, f"team-{uuid4()}")
    try:
        yield lab
    finally:
        await database.close()
