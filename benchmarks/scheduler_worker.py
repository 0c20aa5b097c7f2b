"""The worker of `benchmarks.scheduler`: all of `worker.py`, and one more job that does nothing.

python -m benchmarks.scheduler_worker
"""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import Final

import uvloop
from temporalio import workflow
from temporalio.client import Client

with workflow.unsafe.imports_passed_through():
    from activities.run_admission import RunAdmissionActivities
    from activities.run_endings import RunEndActivities
    from activities.schedule_upkeep import ScheduleUpkeepActivities
    from contracts.jobs import Job
    from runtime import task_queues, temporal
    from runtime.settings import Settings
    from storage.database import Database
    from worker import Registration, build_workers, registrations, running
    from workflows.catalogue import JOBS
    from workflows.defaults import keep_defaults


@workflow.defn
class Nothing:
    """Ends at once; its result says when it began. The argument is that of a job without any."""

    @workflow.run
    async def run(self, params: dict[str, str]) -> dict[str, float]:
        return {"began": workflow.now().timestamp()}


NOTHING: Final = Job(
    name="nothing",
    description="A job that does nothing.",
    workflow="benchmarks.scheduler_worker:Nothing",
    queue=task_queues.SCANS,
    timeout=timedelta(minutes=5),
    inline=True,
)


def with_nothing(database: Database, settings: Settings, client: Client) -> dict[str, Registration]:
    """The table of `worker.py`; what reads the catalogue reads it with our job in it."""
    endings = RunEndActivities(database, client)
    admission = RunAdmissionActivities(database, endings, {**JOBS, NOTHING.name: NOTHING})
    upkeep = ScheduleUpkeepActivities(database, client, admission, endings)
    readers = {
        each.__name__: each
        for each in (
            *(admission.admit_run, upkeep.reconcile_schedules, upkeep.record_missed_runs),
            *(upkeep.end_lost_runs, upkeep.start_due_items),
        )
    }
    table = {
        queue: Registration(
            entry.workflows, [readers.get(each.__name__, each) for each in entry.activities]
        )
        for queue, entry in registrations(database, settings, client).items()
    }
    scans = table[task_queues.SCANS]  # also as a workflow of its own: the plain schedules' one
    return {**table, task_queues.SCANS: scans._replace(workflows=[*scans.workflows, Nothing])}


async def serve() -> None:
    """Serve all queues until SIGTERM, as `worker.py` does."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    settings = Settings()
    client = await temporal.connect(settings)
    database = Database.open(settings.require_database_url())
    try:
        table = with_nothing(database, settings, client)
        async with running(build_workers(client, table, settings)):
            watching = asyncio.create_task(keep_defaults(database, client))
            await stopping.wait()
            watching.cancel()
    finally:
        await database.close()


if __name__ == "__main__":
    uvloop.run(serve())
