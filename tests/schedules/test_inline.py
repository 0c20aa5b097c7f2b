"""Jobs that are done within the run's own workflow end, and are ended, as all others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from contracts.runs import Run
from contracts.schedules import OneTimeTrigger
from contracts.vocabulary import OverlapPolicy, RunOutcome
from tests.support.scheduler import INLINE, SchedulerLab, outcomes

LONG = 600.0
RUNNING = RunOutcome.RUNNING


def tomorrow() -> OneTimeTrigger:
    """No time that comes up while a test runs."""
    return OneTimeTrigger(at=datetime.now(UTC) + timedelta(days=1))


async def _started(lab: SchedulerLab, schedule_id: UUID) -> UUID:
    run_id = await lab.start(schedule_id)
    await lab.until(schedule_id, lambda runs: (run_id, RUNNING) in _states(runs))
    return run_id


def _states(runs: list[Run]) -> list[tuple[UUID, RunOutcome]]:
    return [(run.id, run.outcome) for run in runs]


async def _ended(lab: SchedulerLab, schedule_id: UUID) -> Run:
    (run,) = await lab.until(schedule_id, lambda runs: all(run.outcome.ended for run in runs))
    return run


async def test_its_summary_is_recorded(lab: SchedulerLab) -> None:
    schedule = await lab.add(tomorrow(), job=INLINE)
    done = await lab.run_now(schedule.id)
    assert done.outcome is RunOutcome.COMPLETED
    assert (await _ended(lab, schedule.id)).summary == {"counts": {"done": 1}, "notes": []}


async def test_its_failure_is_recorded_in_its_own_words(lab: SchedulerLab) -> None:
    schedule = await lab.add(tomorrow(), job=INLINE, fails=True)
    await lab.start(schedule.id)
    run = await _ended(lab, schedule.id)
    assert run.outcome is RunOutcome.FAILED
    assert run.error is not None
    assert "It was told to fail." in run.error.message


async def test_it_ends_when_it_takes_longer_than_it_may(
    lab: SchedulerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lab.jobs, INLINE.name, INLINE._replace(timeout=timedelta(seconds=1)))
    schedule = await lab.add(tomorrow(), job=INLINE, seconds=LONG)
    await lab.start(schedule.id)
    run = await _ended(lab, schedule.id)
    assert run.outcome is RunOutcome.TIMED_OUT
    assert run.error is not None
    assert run.error.code == "timed_out"


async def test_a_cancelled_one_says_so(lab: SchedulerLab) -> None:
    schedule = await lab.add(tomorrow(), job=INLINE, seconds=LONG)
    run_id = await _started(lab, schedule.id)
    await lab.client.get_workflow_handle(f"run/{run_id}").cancel()
    assert (await _ended(lab, schedule.id)).outcome is RunOutcome.CANCELLED


@pytest.mark.parametrize(
    ("policy", "displaced"),
    [
        (OverlapPolicy.CANCEL_PREVIOUS, RunOutcome.CANCELLED),
        (OverlapPolicy.TERMINATE_PREVIOUS, RunOutcome.TERMINATED),
    ],
)
async def test_one_that_is_in_the_way_is_displaced_as_the_policy_says(
    lab: SchedulerLab, policy: OverlapPolicy, displaced: RunOutcome
) -> None:
    schedule = await lab.add(tomorrow(), job=INLINE, seconds=LONG, overlap=policy)
    await _started(lab, schedule.id)
    second = await _started(lab, schedule.id)
    assert outcomes(await lab.runs(schedule.id)) == [displaced, RUNNING]
    await lab.client.get_workflow_handle(f"run/{second}").cancel()
    await lab.until(schedule.id, lambda runs: all(run.outcome.ended for run in runs))
