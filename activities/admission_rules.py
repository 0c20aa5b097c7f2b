"""The rules by which a run that is due may start, waits, displaces others, or is left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

from contracts.runs import RunAsked
from contracts.schedules import StoredSchedule
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger, ScheduleStatus
from scheduling.times import next_times, occurrences
from storage.schedules.job_runs import Holder

ON_TIME: Final = timedelta(seconds=15)
"""A run that starts within this of its time is on time, however often its schedule fires."""

ONE_FOR_ALL: Final = frozenset(OverlapPolicy) - {OverlapPolicy.QUEUE, OverlapPolicy.ALLOW}
"""Policies under which of several times missed together only the last one runs."""


class Action(Enum):
    """What happens to a run that is due."""

    START = auto()
    WAIT = auto()
    DISPLACE = auto()
    LEAVE_OUT = auto()


class Verdict(NamedTuple):
    """What happens, and which rule decided."""

    action: Action
    words: str = ""
    outcome: RunOutcome = RunOutcome.RUNNING


def judge_time(asked: RunAsked, schedule: StoredSchedule, overlap: OverlapPolicy) -> Verdict | None:
    """The verdict on a time that its schedule fired, as far as the time decides it."""
    if schedule.status is ScheduleStatus.FINISHED:
        return _left_out(RunOutcome.REFUSED, "The schedule is finished.")
    if schedule.max_runs is not None and schedule.counters.fired >= schedule.max_runs:
        return _left_out(RunOutcome.REFUSED, f"The schedule has had its {schedule.max_runs} runs.")
    if asked.trigger is not RunTrigger.SCHEDULE:
        return None  # an expiry that was noticed is not lost to a pause
    if schedule.status is ScheduleStatus.PAUSED:
        return _left_out(RunOutcome.SKIPPED, "The schedule is paused.")
    late = asked.asked_at - asked.nominal_at - timedelta(seconds=schedule.jitter_seconds)
    if late > timedelta(seconds=schedule.catchup_seconds) + ON_TIME:
        return _left_out(
            RunOutcome.MISSED,
            f"Nothing could start it in time: it is {late.total_seconds():.0f} s late, and a run "
            f"missed by more than {schedule.catchup_seconds} s is dropped.",
        )
    if late > ON_TIME and overlap in ONE_FOR_ALL:
        later = next(occurrences(schedule, after=asked.nominal_at, until=asked.asked_at), None)
        if later is not None:
            return _left_out(
                RunOutcome.MISSED,
                "Nothing could start it in time, and a later run is due as well: of several missed "
                f"times only the last one runs (overlap: {overlap}).",
            )
    return None


def is_last(asked: RunAsked, schedule: StoredSchedule, *, starts: bool) -> bool:
    """Whether a schedule has nothing left to fire after this run."""
    if not asked.trigger.counts:
        return False
    fired = schedule.counters.fired + starts
    if schedule.max_runs is not None and fired >= schedule.max_runs:
        return True
    if asked.trigger is not RunTrigger.SCHEDULE:
        return False
    return not next_times(schedule, after=asked.nominal_at, count=1)


def judge_overlap(
    overlap: OverlapPolicy, held: Sequence[Holder], *, takes_turns: bool, has_waited: bool
) -> Verdict:
    """The verdict by the overlap policy, given what has not ended.

    `takes_turns`: the work itself waits until its account is free, so a run that has to wait may
    start. `has_waited`: it was let into the queue before.
    """
    if not held:
        return Verdict(Action.START)
    first = _named(held[0])
    rule = f"(overlap: {overlap})"
    wait = Action.START if takes_turns else Action.WAIT
    match overlap:
        case OverlapPolicy.SKIP if not has_waited:
            return _left_out(RunOutcome.SKIPPED, f"{first} has not ended {rule}.")
        case OverlapPolicy.QUEUE_ONE if not has_waited and any(h.is_waiting for h in held):
            waiting = _named(next(holder for holder in held if holder.is_waiting))
            return _left_out(RunOutcome.SKIPPED, f"{waiting} is waiting already {rule}.")
        case OverlapPolicy.CANCEL_PREVIOUS | OverlapPolicy.TERMINATE_PREVIOUS:
            verb = "cancelled" if overlap is OverlapPolicy.CANCEL_PREVIOUS else "terminated"
            return Verdict(Action.DISPLACE, f"{first} was {verb} for this one {rule}.")
        case OverlapPolicy.ALLOW:
            words = f"{first} has not ended {rule}"
            turns = "; scans of one account take turns" if takes_turns else ""
            return Verdict(Action.START, f"{words}{turns}.")
        case _:
            return Verdict(wait, f"Waits until {first} has ended {rule}.", RunOutcome.QUEUED)


def _named(holder: Holder) -> str:
    return f"{'Run' if holder.is_run else 'Scan'} {holder.id}"


def _left_out(outcome: RunOutcome, words: str) -> Verdict:
    return Verdict(Action.LEAVE_OUT, words, outcome)
