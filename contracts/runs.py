"""Runs of jobs: their record, and the messages of the workflow that runs one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.scans import ScanError
from contracts.vocabulary import OverlapPolicy, RunOutcome, RunTrigger


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
    """The workflow that does a run's work."""

    workflow: str
    workflow_id: str
    task_queue: str
    argument: dict[str, Any]
    timeout_seconds: float
    summary: str


class RunAdmission(Contract):
    """Whether a run may start. Neither a plan nor anything in its way: it ended, as recorded."""

    outcome: RunOutcome
    words: str = Field("", description="Which rule decided.")
    plan: RunPlan | None = None
    in_the_way: list[str] = Field(
        default_factory=list, description="Workflows to end first, as the overlap policy says."
    )
    terminate: bool = Field(False, description="End them at once, without letting them clean up.")


class RunDisplacement(Contract):
    """End these workflows, for the sake of a run."""

    run_id: UUID
    workflow_ids: list[str]
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
    """Start what tracked items that are due make due; `at` is set when it goes on in a new run."""

    at: datetime | None = None
    started: int = 0


class SweepBatch(Contract):
    """One bounded step of a sweep."""

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


class ReconcileStep(Contract):
    """One bounded step: schedules after this id."""

    at: datetime
    after: UUID | None = None
    full: bool = False


class ReconcileDone(Contract):
    """What a step did, and where the next one begins; None when it was the last."""

    counts: dict[str, int] = Field(default_factory=dict)
    after: UUID | None = None
