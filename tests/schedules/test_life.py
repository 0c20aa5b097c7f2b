"""A schedule over time: it ends, pauses itself, is changed, and is never locked by a run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from temporalio.client import ScheduleDescription, WorkflowFailureError

from contracts.accounts import AccountChange, EnvironmentCredentials, NewAccount
from contracts.jobs import Job
from contracts.runs import RunRequest
from contracts.schedules import (
    CloudScanTarget,
    CronTrigger,
    IntervalTrigger,
    JobTarget,
    OneTimeTrigger,
    ScheduleChange,
)
from contracts.vocabulary import (
    OverlapPolicy,
    Provider,
    RunOutcome,
    RunTrigger,
    ScheduleStatus,
)
from runtime import task_queues
from storage import accounts
from storage.schedules import schedules
from tests.support.scheduler import PRETEND, SchedulerLab, outcomes

NEVER_SOON = CronTrigger(cron="0 0 1 1 *")
EVERY_SECOND = IntervalTrigger(every_seconds=1)


async def _change(lab: SchedulerLab, schedule_id: UUID, **fields: object) -> None:
    async with lab.database.transaction() as session:
        schedule = await schedules.get_schedule(session, lab.team_id, schedule_id, lock=True)
        change = ScheduleChange.model_validate(fields)
        await schedules.change_schedule(session, schedule, change, at=datetime.now(UTC))
    await lab.push(schedule_id)


async def _account(lab: SchedulerLab) -> UUID:
    async with lab.database.transaction() as session:
        account = await accounts.create_account(
            session,
            lab.team_id,
            NewAccount(
                name="production", provider=Provider.AWS, credentials=EnvironmentCredentials()
            ),
            at=datetime.now(UTC),
        )
    return account.id


async def test_a_one_time_schedule_fires_once_and_stays_visible_as_finished(
    lab: SchedulerLab,
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    schedule = await lab.add(OneTimeTrigger(at=soon))

    runs = await lab.until(schedule.id, lambda runs: outcomes(runs) == [RunOutcome.COMPLETED])

    assert runs[0].nominal_at == soon
    assert (await lab.schedule(schedule.id)).status is ScheduleStatus.FINISHED
    await lab.until_gone(schedule.id)


async def test_a_schedule_is_finished_after_its_last_run(lab: SchedulerLab) -> None:
    schedule = await lab.add(EVERY_SECOND, max_runs=2, overlap=OverlapPolicy.ALLOW)

    await lab.until(schedule.id, lambda runs: outcomes(runs)[:2] == [RunOutcome.COMPLETED] * 2)
    await asyncio.sleep(2.5)

    runs = await lab.runs(schedule.id)
    assert [run.outcome for run in runs if run.outcome.started] == [RunOutcome.COMPLETED] * 2
    finished = await lab.schedule(schedule.id)
    assert (finished.status, finished.counters.fired) == (ScheduleStatus.FINISHED, 2)
    await lab.until_gone(schedule.id)


@pytest.mark.parametrize("overlap", [OverlapPolicy.SKIP, OverlapPolicy.ALLOW])
async def test_failures_in_a_row_pause_a_schedule_whatever_its_overlap_policy(
    lab: SchedulerLab, overlap: OverlapPolicy
) -> None:
    schedule = await lab.add(EVERY_SECOND, fails=True, overlap=overlap, pause_after_failures=2)

    await lab.until(schedule.id, lambda runs: outcomes(runs).count(RunOutcome.FAILED) >= 2)

    paused = await lab.schedule(schedule.id)
    assert paused.status is ScheduleStatus.PAUSED
    assert paused.note == (
        "Paused after 2 failed runs in a row. The last one: It was told to fail."
    )
    held = await _until_paused_in_temporal(lab, schedule.id)
    assert paused.note in (held.schedule.state.note or "")


async def _until_paused_in_temporal(lab: SchedulerLab, schedule_id: UUID) -> ScheduleDescription:
    """The row is paused first, then Temporal's schedule."""
    handle = lab.client.get_schedule_handle(f"schedule/{schedule_id}")
    async with asyncio.timeout(30):
        while not (held := await handle.describe()).schedule.state.paused:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return held


async def test_a_success_forgives_the_failures_before_it(lab: SchedulerLab) -> None:
    schedule = await lab.add(NEVER_SOON, fails=True, pause_after_failures=2)
    for fails in (True, False, True):
        target = JobTarget(job=PRETEND.name, params={"fails": fails})
        await _change(lab, schedule.id, target=target)
        await _end_of_run(lab, schedule.id)

    stands = await lab.schedule(schedule.id)
    assert (stands.status, stands.failures_in_a_row) == (ScheduleStatus.ACTIVE, 1)
    assert stands.counters.failed == 0  # these were runs by hand, not its times


async def _end_of_run(lab: SchedulerLab, schedule_id: UUID) -> None:
    try:
        await lab.run_now(schedule_id)
    except WorkflowFailureError:
        return


async def test_a_run_that_takes_too_long_counts_as_failed(
    lab: SchedulerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Job(**(PRETEND._asdict() | {"timeout": timedelta(seconds=1)}))
    monkeypatch.setitem(lab.jobs, PRETEND.name, short)
    schedule = await lab.add(NEVER_SOON, seconds=60, pause_after_failures=1)

    await _end_of_run(lab, schedule.id)

    (run,) = await lab.runs(schedule.id)
    assert run.outcome is RunOutcome.TIMED_OUT
    assert (await lab.schedule(schedule.id)).status is ScheduleStatus.PAUSED


@pytest.mark.parametrize("how", ["cancel", "terminate", "terminate the work", "fail"])
async def test_a_run_that_ended_badly_never_locks_its_schedule(lab: SchedulerLab, how: str) -> None:
    schedule = await lab.add(NEVER_SOON, seconds=60, fails=how == "fail")
    run_id = await lab.start(schedule.id)
    work = f"{PRETEND.name}/{run_id}" if how == "terminate the work" else f"run/{run_id}"
    handle = lab.client.get_workflow_handle(work)
    if how == "fail":
        await lab.let_go(schedule.id)
    elif how == "cancel":
        await handle.cancel()
    else:
        await handle.terminate("by a test")

    next_run = await lab.start(schedule.id)

    def started(runs: list) -> bool:  # type: ignore[type-arg]
        return {run.id: run.outcome for run in runs}.get(next_run) is RunOutcome.RUNNING

    if how in ("cancel", "terminate the work"):  # these take their moment
        while not started(await lab.runs(schedule.id)):
            next_run = await lab.start(schedule.id)
    await lab.until(schedule.id, started)
    first = (await lab.runs(schedule.id))[0]
    ends = {"cancel": RunOutcome.CANCELLED, "fail": RunOutcome.FAILED}
    assert first.outcome is ends.get(how, RunOutcome.TERMINATED)
    await lab.let_go(schedule.id)


async def test_the_same_time_is_run_once_however_often_it_is_fired(lab: SchedulerLab) -> None:
    schedule = await lab.add(NEVER_SOON)
    nominal = datetime.now(UTC).replace(microsecond=0)
    request = RunRequest(schedule_id=schedule.id, trigger=RunTrigger.SCHEDULE, nominal_at=nominal)
    for _ in range(3):
        await lab.client.execute_workflow(
            "JobRun", request, id=f"again/{uuid4()}", task_queue=task_queues.SCANS
        )

    (run,) = await lab.runs(schedule.id)
    assert run.outcome is RunOutcome.COMPLETED
    assert (await lab.schedule(schedule.id)).counters.fired == 1


async def test_a_change_fires_no_time_that_has_passed_and_keeps_it_paused(
    lab: SchedulerLab,
) -> None:
    schedule = await lab.add(NEVER_SOON)
    await lab.pause(schedule.id)
    minute = datetime.now(UTC).minute
    await _change(lab, schedule.id, trigger=CronTrigger(cron=f"{minute} * * * *"))

    changed = await lab.schedule(schedule.id)
    held = await lab.client.get_schedule_handle(f"schedule/{schedule.id}").describe()
    assert changed.status is ScheduleStatus.PAUSED
    assert held.schedule.state.paused
    await lab.pause(schedule.id, paused=False)
    await asyncio.sleep(2)
    assert await lab.runs(schedule.id) == []


@pytest.mark.parametrize("gone", ["disabled", "deleted"])
async def test_a_schedule_whose_account_is_gone_pauses_itself_and_says_so(
    lab: SchedulerLab, gone: str
) -> None:
    account_id = await _account(lab)
    schedule = await lab.add(
        EVERY_SECOND, target=CloudScanTarget(account_id=account_id), paused=True
    )
    async with lab.database.transaction() as session:
        if gone == "deleted":
            await accounts.delete_account(session, lab.team_id, account_id)
        else:
            await accounts.change_account(
                session,
                lab.team_id,
                account_id,
                AccountChange(enabled=False),
                at=datetime.now(UTC),
            )
    await lab.pause(schedule.id, paused=False)

    runs = await lab.until(schedule.id, lambda runs: len(runs) > 0)

    words = (
        "Its account was deleted." if gone == "deleted" else "Its account production is disabled."
    )
    assert (runs[0].outcome, runs[0].reason) == (RunOutcome.REFUSED, words)
    paused = await lab.schedule(schedule.id)
    assert (paused.status, paused.note) == (ScheduleStatus.PAUSED, words)


async def test_runs_by_hand_do_not_use_up_the_runs_of_a_schedule(lab: SchedulerLab) -> None:
    schedule = await lab.add(NEVER_SOON, max_runs=1)

    await lab.run_now(schedule.id)
    await lab.run_now(schedule.id)

    stands = await lab.schedule(schedule.id)
    assert (stands.status, stands.counters.fired) == (ScheduleStatus.ACTIVE, 0)


async def test_a_run_that_waits_is_refused_when_its_schedule_is_deleted(
    lab: SchedulerLab,
) -> None:
    schedule = await lab.add(NEVER_SOON, overlap=OverlapPolicy.QUEUE, seconds=60)
    first = await lab.start(schedule.id)
    waiting = await lab.start(schedule.id)
    async with lab.database.transaction() as session:
        await schedules.delete_schedule(session, schedule)
    await lab.let_go(schedule.id)

    by_id = {run.id: run for run in await lab.runs(schedule.id)}
    assert by_id[first].outcome is RunOutcome.COMPLETED
    assert by_id[waiting].outcome is RunOutcome.REFUSED
    assert by_id[waiting].reason == "The schedule was deleted."


async def test_a_deleted_schedule_fires_no_more(lab: SchedulerLab) -> None:
    schedule = await lab.add(EVERY_SECOND)
    async with lab.database.transaction() as session:
        await schedules.delete_schedule(session, schedule)  # and the process dies here

    await lab.until_gone(schedule.id)  # its next time finds that it is gone

    known = len(await lab.runs(schedule.id))
    await asyncio.sleep(2)
    assert len(await lab.runs(schedule.id)) == known
