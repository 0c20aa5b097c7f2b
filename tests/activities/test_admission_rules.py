"""The overlap rules, one line each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from activities.admission_rules import Action, judge_overlap
from contracts.runs import RunInTheWay
from contracts.vocabulary import OverlapPolicy, RunOutcome
from storage.schedules.job_runs import Holder

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def _holder(number: int, *, is_waiting: bool = False, is_run: bool = True) -> Holder:
    return Holder(
        id=UUID(int=number),
        is_run=is_run,
        is_waiting=is_waiting,
        queued_at=NOON + timedelta(seconds=number),
        in_the_way=RunInTheWay(workflow_id=f"run/{number}"),
    )


RUNNING = [_holder(1)]
RUNNING_AND_WAITING = [_holder(1), _holder(2, is_waiting=True)]

RULES = [
    # policy, what has not ended, takes turns by itself, has waited -> action
    *((policy, [], False, False, Action.START) for policy in OverlapPolicy),
    (OverlapPolicy.SKIP, RUNNING, False, False, Action.LEAVE_OUT),
    (OverlapPolicy.SKIP, RUNNING, True, False, Action.LEAVE_OUT),
    (OverlapPolicy.QUEUE, RUNNING, False, False, Action.WAIT),
    (OverlapPolicy.QUEUE, RUNNING_AND_WAITING, False, False, Action.WAIT),
    (OverlapPolicy.QUEUE, RUNNING, True, False, Action.START),
    (OverlapPolicy.QUEUE_ONE, RUNNING, False, False, Action.WAIT),
    (OverlapPolicy.QUEUE_ONE, RUNNING, True, False, Action.START),
    (OverlapPolicy.QUEUE_ONE, RUNNING_AND_WAITING, False, False, Action.LEAVE_OUT),
    (OverlapPolicy.QUEUE_ONE, RUNNING_AND_WAITING, True, False, Action.LEAVE_OUT),
    (OverlapPolicy.QUEUE_ONE, RUNNING_AND_WAITING, False, True, Action.WAIT),
    (OverlapPolicy.CANCEL_PREVIOUS, RUNNING, False, False, Action.DISPLACE),
    (OverlapPolicy.CANCEL_PREVIOUS, RUNNING, True, True, Action.DISPLACE),
    (OverlapPolicy.TERMINATE_PREVIOUS, RUNNING, True, False, Action.DISPLACE),
    (OverlapPolicy.ALLOW, RUNNING_AND_WAITING, False, False, Action.START),
]


@pytest.mark.parametrize(("overlap", "held", "takes_turns", "has_waited", "action"), RULES)
def test_the_overlap_policy_decides(
    overlap: OverlapPolicy, held: list[Holder], takes_turns: bool, has_waited: bool, action: Action
) -> None:
    verdict = judge_overlap(overlap, held, takes_turns=takes_turns, has_waited=has_waited)

    assert verdict.action is action
    if held:
        assert f"(overlap: {overlap})" in verdict.words
    if action is Action.LEAVE_OUT:
        assert verdict.outcome is RunOutcome.SKIPPED


def test_the_words_name_what_decided() -> None:
    scan = [_holder(7, is_run=False)]
    verdict = judge_overlap(OverlapPolicy.SKIP, scan, takes_turns=True, has_waited=False)
    assert verdict.words == f"Scan {UUID(int=7)} has not ended (overlap: skip)."
