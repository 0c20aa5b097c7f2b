"""Runs that come up while PostgreSQL does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url
from temporalio.client import Client, WorkflowHandle

from contracts.runs import RunRequest, RunSummary
from contracts.schedules import CronTrigger
from contracts.vocabulary import RunOutcome, RunTrigger
from runtime import task_queues
from runtime.embedded.postgres import SOCKET_FILE
from runtime.settings import Settings
from tests.support.namespaces import new_namespace
from tests.support.relay import Relay, relay_to
from tests.support.scheduler import SchedulerLab, outcomes, scheduler_lab
from workflows.job_run import JobRun


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[Relay]:
    """What a worker reaches PostgreSQL through."""
    folder = make_url(database_url).query["host"]
    assert isinstance(folder, str)
    async with relay_to(str(Path(folder) / SOCKET_FILE)) as made:
        yield made


@pytest.fixture
async def cut_off(temporal: Client, database_url: str, relay: Relay) -> AsyncIterator[SchedulerLab]:
    """A scheduler at work behind that relay."""
    url = make_url(database_url)
    behind = url.set(host="127.0.0.1", port=relay.port, query={})
    client = await new_namespace(temporal, "cut-off")
    shown = behind.render_as_string(hide_password=False)
    settings = Settings(database_url=shown, log_level="warning")
    async with scheduler_lab(shown, client, settings) as made, made.working():
        yield made


async def _asked_of_the_server(handle: WorkflowHandle[JobRun, RunSummary]) -> None:
    """Return once the run has given up on its own worker and asked the durable way."""
    async with asyncio.timeout(60):
        while True:
            history = await handle.fetch_history()
            if any(
                event.HasField("activity_task_scheduled_event_attributes")
                for event in history.events
            ):
                return
            await asyncio.sleep(0.2)


async def test_a_run_that_comes_up_while_postgresql_hangs_runs_once_when_it_answers(
    cut_off: SchedulerLab, relay: Relay
) -> None:
    schedule = await cut_off.add(CronTrigger(cron="0 0 1 1 *"))
    run_id = uuid4()

    relay.freeze()
    handle = await cut_off.client.start_workflow(
        JobRun.run,
        RunRequest(schedule_id=schedule.id, trigger=RunTrigger.MANUAL, run_id=run_id),
        id=f"run/{run_id}",
        task_queue=task_queues.SCANS,
    )
    await _asked_of_the_server(handle)
    relay.thaw()
    relay.cut()
    summary = await handle.result()

    assert summary.outcome is RunOutcome.COMPLETED
    assert outcomes(await cut_off.runs(schedule.id)) == [RunOutcome.COMPLETED]


async def test_a_run_whose_database_answers_asks_nothing_of_the_server(
    cut_off: SchedulerLab,
) -> None:
    schedule = await cut_off.add(CronTrigger(cron="0 0 1 1 *"))

    summary = await cut_off.run_now(schedule.id)

    history = await cut_off.client.get_workflow_handle(f"run/{summary.run_id}").fetch_history()
    assert not any(
        event.HasField("activity_task_scheduled_event_attributes") for event in history.events
    )
