"""Expiry: one query finds what is due, and each expiry starts its target exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from contracts.runs import JobSummary, SweepRequest
from contracts.schedules import ExpiryTrigger
from contracts.tracked_items import NewTrackedItem, TrackedItem, TrackedItemChange
from contracts.vocabulary import RunOutcome, RunTrigger
from runtime import policies, search_attributes, task_queues
from runtime.embedded.temporal import FLAGS, binary
from runtime.settings import Settings
from runtime.temporal import CONTRACTS, register_search_attributes
from storage.schedules import tracked_items
from tests.support.namespaces import new_namespace
from tests.support.scheduler import SchedulerLab, outcomes, scheduler_lab
from workflows.expiry_sweep import ExpirySweep

DAY = timedelta(days=1)


async def _item(
    lab: SchedulerLab, kind: str, name: str, expires_in: timedelta, **fields: object
) -> TrackedItem:
    now = datetime.now(UTC)
    new = NewTrackedItem.model_validate(
        {"kind": kind, "name": name, "expires_at": now + expires_in, **fields}
    )
    async with lab.database.transaction() as session:
        return await tracked_items.create_item(session, lab.team_id, new, at=now)


async def _renew(lab: SchedulerLab, item_id: UUID, expires_at: datetime) -> None:
    async with lab.database.transaction() as session:
        await tracked_items.change_item(
            session,
            lab.team_id,
            item_id,
            TrackedItemChange(expires_at=expires_at),
            at=datetime.now(UTC),
        )


async def test_each_expiry_starts_its_target_once_and_a_renewal_arms_it_again(
    lab: SchedulerLab,
) -> None:
    schedule = await lab.add(ExpiryTrigger(item_kind="certificate", filter={"env": "prod"}))
    due = await _item(
        lab, "certificate", "www", 20 * DAY, lead_seconds=30 * 86_400, attributes={"env": "prod"}
    )
    await _item(
        lab, "certificate", "later", 40 * DAY, lead_seconds=86_400, attributes={"env": "prod"}
    )
    await _item(
        lab, "certificate", "test", DAY, lead_seconds=30 * 86_400, attributes={"env": "test"}
    )
    await _item(lab, "credential", "www", DAY, lead_seconds=30 * 86_400, attributes={"env": "prod"})

    await asyncio.gather(lab.sweep(), lab.sweep())  # two at once start nothing twice
    await lab.sweep()

    (run,) = await lab.until(schedule.id, lambda runs: outcomes(runs) == [RunOutcome.COMPLETED])
    assert run.trigger is RunTrigger.EXPIRY
    assert run.item is not None
    assert (run.item.id, run.item.name) == (due.id, "www")
    assert run.nominal_at == due.due_at
    assert run.workflow_id == f"pretend/{schedule.id}/{due.id}/{due.expires_at.isoformat()}"

    await _renew(lab, due.id, due.expires_at + DAY)
    assert await lab.sweep() == 1
    assert await lab.sweep() == 0
    runs = await lab.until(schedule.id, lambda runs: len(runs) == 2)
    assert {run.item.expires_at for run in runs if run.item} == {
        due.expires_at,
        due.expires_at + DAY,
    }


async def test_the_lead_of_the_schedule_goes_before_that_of_the_item(lab: SchedulerLab) -> None:
    schedule = await lab.add(ExpiryTrigger(item_kind="evidence", lead_seconds=7 * 86_400))
    await _item(lab, "evidence", "in five days", 5 * DAY)
    await _item(lab, "evidence", "in nine days", 9 * DAY, lead_seconds=30 * 86_400)

    await lab.sweep()

    (run,) = await lab.until(schedule.id, lambda runs: len(runs) == 1)
    assert run.item is not None
    assert run.item.name == "in five days"


async def test_what_comes_due_while_a_schedule_is_paused_starts_when_it_goes_on(
    lab: SchedulerLab,
) -> None:
    schedule = await lab.add(ExpiryTrigger(item_kind="acceptance"))
    await lab.pause(schedule.id)
    await _item(lab, "acceptance", "risk 1", timedelta(seconds=-1))
    assert await lab.sweep() == 0

    await lab.pause(schedule.id, paused=False)

    assert await lab.sweep() == 1
    await lab.until(schedule.id, lambda runs: outcomes(runs) == [RunOutcome.COMPLETED])


async def test_a_sweep_that_died_between_noticing_and_starting_starts_each_once(
    lab: SchedulerLab,
) -> None:
    schedule = await lab.add(ExpiryTrigger(item_kind="assessment"))
    await _item(lab, "assessment", "vendor", timedelta(seconds=-1))
    async with lab.database.transaction() as session:  # noticed, and then the worker is killed
        noticed = await tracked_items.notice_due(session, schedule, at=datetime.now(UTC), limit=9)
    assert noticed == 1

    assert await lab.sweep() == 1
    await lab.until(schedule.id, lambda runs: outcomes(runs) == [RunOutcome.COMPLETED])
    async with lab.database.transaction() as session:  # started, but killed before the record
        await session.execute(
            text("UPDATE expiry_firing SET started_at = NULL WHERE schedule_id = :id"),
            {"id": schedule.id},
        )
    await lab.sweep()
    assert len(await lab.runs(schedule.id)) == 1


async def test_what_was_noticed_for_a_schedule_that_begins_later_keeps_no_other_back(
    lab: SchedulerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "SWEEP_BATCH", 1)
    moved = await lab.add(ExpiryTrigger(item_kind="lease"))
    await _item(lab, "lease", "building", timedelta(seconds=-9))
    async with lab.database.transaction() as session:
        assert await tracked_items.notice_due(session, moved, at=datetime.now(UTC), limit=9) == 1
        await session.execute(
            text("UPDATE schedule SET starts_at = :at WHERE id = :id"),
            {"id": moved.id, "at": datetime.now(UTC) + DAY},
        )
    other = await lab.add(ExpiryTrigger(item_kind="licence"))
    await _item(lab, "licence", "editor", timedelta(seconds=-1))

    assert await lab.sweep() == 1

    await lab.until(other.id, lambda runs: len(runs) == 1)
    assert await lab.runs(moved.id) == []


async def test_a_thousand_of_a_hundred_thousand_items_are_due(
    temporal: Client, database_url: str, settings: Settings
) -> None:
    client = await new_namespace(temporal, "expiry")
    async with scheduler_lab(database_url, client, settings) as lab:
        schedule = await lab.add(ExpiryTrigger(item_kind="certificate"))
        async with lab.database.transaction() as session:
            await session.execute(
                text("""
                    INSERT INTO tracked_item (team_id, kind, name, owner, expires_at, lead_seconds,
                                              due_at, attributes, created_at, updated_at)
                    SELECT :team_id, 'certificate', 'host ' || n, '', now() + due, 86400,
                           now() + due - interval '1 day', '{}', now(), now()
                    FROM generate_series(1, 100000) AS n,
                         LATERAL (SELECT CASE WHEN n % 100 = 0 THEN interval '12 hours'
                                         ELSE interval '90 days' END AS due)
                """),
                {"team_id": lab.team_id},
            )
        # Only the sweep works here: what it starts stays as it was started, to be counted.
        async with lab.working([task_queues.MAINTENANCE]):
            assert await lab.sweep() == 1000
            assert await lab.sweep() == 0
            async with lab.database.transaction() as session:
                item_id = await session.scalar(
                    text("SELECT id FROM tracked_item WHERE name = 'host 100'")
                )
            await _renew(lab, item_id, datetime.now(UTC) + timedelta(hours=20))
            assert await lab.sweep() == 1
            assert await lab.sweep() == 0
        query = f"{search_attributes.SCHEDULE.name} = '{schedule.id}'"
        async with asyncio.timeout(30):
            while (await client.count_workflows(query)).count != 1001:  # noqa: ASYNC110 (its index lags)
                await asyncio.sleep(0.2)


@workflow.defn
class NinetyDays:
    """Sweeps every tenth day for ninety days of the server's clock."""

    @workflow.run
    async def run(self) -> list[int]:
        started = []
        for day in range(10, 91, 10):
            await workflow.sleep(10 * DAY)
            done: JobSummary = await workflow.execute_child_workflow(
                ExpirySweep.run,
                SweepRequest(),
                id=f"sweep/{workflow.info().workflow_id}/{day}",
                task_queue=task_queues.MAINTENANCE,
            )
            if done.counts["started"]:
                started.append(day)
        return started


@pytest.fixture
async def skipping() -> AsyncIterator[Client]:
    """A client of a server whose clock runs ahead while workflows sleep."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(binary()),
        dev_server_extra_args=[
            *("--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"),
            *FLAGS,
        ],
        data_converter=CONTRACTS,
    )
    async with environment:
        await register_search_attributes(environment.client, search_attributes.TYPES)
        yield environment.client


async def test_over_ninety_days_each_expiry_starts_when_it_is_due(
    skipping: Client, database_url: str, settings: Settings
) -> None:
    async with scheduler_lab(database_url, skipping, settings) as lab, lab.working():
        schedule = await lab.add(ExpiryTrigger(item_kind="certificate", lead_seconds=14 * 86_400))
        for name, days in (("one", 24), ("two", 59), ("three", 94), ("never", 120)):
            await _item(lab, "certificate", name, days * DAY - timedelta(hours=1))
        async with Worker(
            skipping,
            task_queue="ninety-days",
            workflows=[NinetyDays],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            days = await skipping.execute_workflow(
                NinetyDays.run, id=str(uuid4()), task_queue="ninety-days"
            )

        runs = await lab.until(schedule.id, lambda runs: len(runs) >= 3)
        assert days == [10, 50, 80]
        assert [run.item.name for run in runs if run.item] == ["one", "two", "three"]
