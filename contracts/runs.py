"""Runs of jobs: their record, and the messages of the workflow that runs one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from pydantic import Field

from contracts.base import Contract
from contracts.scans import ScanError
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger


def run_id_at(schedule_id: UUID, nominal: datetime) -> UUID:
    """The id of the run of a schedule at this time: the same time never has two."""
    return uuid5(schedule_id, nominal.astimezone(UTC).isoformat())


class RunItem(Contract):
    """The tracked item whose expiry made a run due."""

    id: UUID
    kind: str
    name: str
    expires_at: datetime


class Run(Contract):
    """One time that a job was due, as the API shows it: also one that was skipped or missed."""

    id: UUID
    schedule_id: UUID | None
    job: str
    params: dict[str, Any]
    trigger: RunTrigger
    nominal_at: datetime = Field(description="The time it was due.")
    outcome: RunOutcome
    reason: str | None = Field(description="Which rule decided: why skipped, waiting, refused.")
    overlap: OverlapPolicy
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    delay_seconds: float | None = Field(description="From the nominal time to the start.")
    duration_seconds: float | None
    summary: dict[str, Any] | None = Field(description="What the job says it did.")
    error: ScanError | None
    scan_id: UUID | None
    item: RunItem | None
    workflow_id: str | None
    temporal_url: str | None


class NewRun(Contract):
    """Run a job now."""

    params: dict[str, Any] = Field(default_factory=dict)


class RunRequest(Contract):
    """What a `JobRun` is to run. One of `schedule_id` and `job` is given.

    Fired by Temporal it has the schedule only: the run's id and nominal time follow from the
    time that Temporal says.
    """

    schedule_id: UUID | None = None
    team_id: UUID | None = None
    job: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    trigger: RunTrigger = RunTrigger.SCHEDULE
    run_id: UUID | None = None
    nominal_at: datetime | None = None
    overlap: OverlapPolicy | None = None
    item: RunItem | None = None


class RunAsked(RunRequest):
    """The same, complete, as its workflow asks to be admitted."""

    run_id: UUID
    nominal_at: datetime
    asked_at: datetime
    workflow_id: str
    execution_id: str = Field(description="Temporal's id of this execution, the same in a retry.")


class RunPlan(Contract):
    """The workflow that does a run's work: one of its own, or, `inline`, within the run's."""

    workflow: str = Field(description="Its name; where it is (`module:Class`) if it is inline.")
    workflow_id: str
    inline: bool = False
    task_queue: str
    argument: dict[str, Any]
    timeout_seconds: float
    summary: str
    attributes: dict[str, str] = Field(default_factory=dict, description="Search attributes.")


class RunInTheWay(Contract):
    """What has to end before a run may start: a run, or a scan that was started by hand."""

    workflow_id: str
    work_id: str | None = Field(None, description="The workflow that does the run's work.")
    scan_id: UUID | None = None


class RunAdmission(Contract):
    """Whether a run may start. Neither a plan nor anything in its way: it ended, as recorded."""

    outcome: RunOutcome
    words: str = Field("", description="Which rule decided.")
    plan: RunPlan | None = None
    in_the_way: list[RunInTheWay] = Field(
        default_factory=list, description="What to end first, as the overlap policy says."
    )
    terminate: bool = Field(False, description="End them at once, without letting them clean up.")


class RunDisplacement(Contract):
    """End these, for the sake of a run."""

    in_the_way: list[RunInTheWay]
    terminate: bool


class RunEnd(Contract):
    """How a run's work ended, to record."""

    run_id: UUID
    outcome: RunOutcome
    ended_at: datetime
    result: dict[str, Any] | None = None
    error: ScanError | None = None


class RunSummary(Contract):
    """What a `JobRun` returns."""

    run_id: UUID
    outcome: RunOutcome
    words: str = ""


class RunClosed(Contract):
    """What recording the end of a run came to; `next_workflow_id` waits for its turn."""

    outcome: RunOutcome
    next_workflow_id: str | None = None


class BackfillRequest(Contract):
    """Runs of one schedule to start one after the other, in the order of their times."""

    schedule_id: UUID
    team_id: UUID
    times: list[datetime]
    overlap: OverlapPolicy


class JobSummary(Contract):
    """What a maintenance job returns: counts by name."""

    counts: dict[str, int] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


class SweepRequest(Contract):
    """Start what tracked items that are due make due."""

    started: int = Field(0, description="By the histories before, where it goes on in a new one.")


class SweepBatch(Contract):
    """One bounded step of a sweep: what is due at this time."""

    at: datetime
    limit: int


class SweepDone(Contract):
    """How many targets a step started; fewer than its limit means that nothing is left."""

    started: int


class ReconcileRequest(Contract):
    """Compare the schedules here with those of Temporal."""

    full: bool = Field(
        False, description="Also compare what Temporal's list does not show, one by one."
    )
