"""Schedules: when something recurs, what is started then, and what happens if it cannot be."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.base import Contract, PlainText
from contracts.runs import Run
from contracts.scans import ScanOptions
from contracts.vocabulary import OverlapPolicy, ScheduleStatus, Weekday

ScheduleName = Annotated[PlainText, Field(min_length=1, max_length=100)]
JobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
CronText = Annotated[PlainText, Field(min_length=1, max_length=200)]
Note = Annotated[PlainText, Field(max_length=500)]

CLOUD_SCAN = "cloud_scan"
"""The job that scans an account, as the catalogue names it."""


class CronTrigger(Contract):
    """Times of Unix cron: five fields, or a name such as @daily; several fire at each one's times.

    As in cron, a day of the month *or* a day of the week fires when both are restricted.
    """

    type: Literal["cron"] = "cron"
    cron: CronText | Annotated[list[CronText], Field(min_length=1, max_length=20)]
    timezone: Annotated[PlainText, Field(min_length=1, max_length=100)] = Field(
        "UTC", description="IANA name, such as Europe/Berlin."
    )

    @property
    def expressions(self) -> list[str]:
        """The expressions as a list, however they were given."""
        return [self.cron] if isinstance(self.cron, str) else list(self.cron)


class IntervalTrigger(Contract):
    """Every so many seconds, counted from 1970-01-01T00:00:00Z plus the offset."""

    type: Literal["interval"] = "interval"
    every_seconds: int = Field(ge=1, le=366 * 86_400)
    offset_seconds: int = Field(0, ge=0, description="Less than every_seconds.")


class OneTimeTrigger(Contract):
    """Once, at this time."""

    type: Literal["one_time"] = "one_time"
    at: AwareDatetime


class ExpiryTrigger(Contract):
    """Once for each tracked item of a kind, and each time it expires, `lead_seconds` before.

    Renewing an item (a later `expires_at`) arms it again.
    """

    type: Literal["expiry"] = "expiry"
    item_kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    lead_seconds: int | None = Field(
        None, ge=0, le=10 * 366 * 86_400, description="Each item's own lead where left out."
    )
    filter: dict[Annotated[PlainText, Field(min_length=1, max_length=100)], PlainText] = Field(
        default_factory=dict, description="Attributes that an item must have."
    )


Trigger = Annotated[
    CronTrigger | IntervalTrigger | OneTimeTrigger | ExpiryTrigger, Field(discriminator="type")
]


class ExcludedDates(Contract):
    """Whole days without a run: `2026-12-25` once, `12-25` every year."""

    type: Literal["dates"] = "dates"
    dates: Annotated[
        list[Annotated[str, Field(pattern=r"^(\d{4}-)?\d{2}-\d{2}$")]],
        Field(min_length=1, max_length=366),
    ]
    name: Annotated[PlainText, Field(max_length=100)] = ""


class ExcludedWindow(Contract):
    """A time of day without a run, on these days of the week; past midnight if `end` is earlier.

    `start` is excluded, `end` is not; minutes count, seconds do not.
    """

    type: Literal["window"] = "window"
    start: time
    end: time
    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)] = Field(
        default_factory=lambda: list(Weekday), description="Days on which the window begins."
    )
    name: Annotated[PlainText, Field(max_length=100)] = ""


class ExcludedPeriod(Contract):
    """A span of time without a run, from `start` until before `end`; at most 366 days."""

    type: Literal["period"] = "period"
    start: AwareDatetime
    end: AwareDatetime
    name: Annotated[PlainText, Field(max_length=100)] = ""


Exclusion = Annotated[ExcludedDates | ExcludedWindow | ExcludedPeriod, Field(discriminator="type")]


class CloudScanTarget(Contract):
    """A scan of an account."""

    kind: Literal["cloud_scan"] = "cloud_scan"
    account_id: UUID
    options: ScanOptions = ScanOptions()


class JobTarget(Contract):
    """A job of the catalogue."""

    kind: Literal["job"] = "job"
    job: JobName
    params: dict[str, Any] = Field(default_factory=dict)


Target = Annotated[CloudScanTarget | JobTarget, Field(discriminator="kind")]


class Timing(Contract):
    """When a schedule fires: all that decides its times."""

    trigger: Trigger
    starts_at: AwareDatetime | None = Field(None, description="No run before this time.")
    ends_at: AwareDatetime | None = Field(None, description="No run after this time.")
    jitter_seconds: int = Field(
        0, ge=0, le=86_400, description="Each run starts up to this much later, by chance."
    )
    exclude: Annotated[list[Exclusion], Field(max_length=50)] = Field(
        default_factory=list,
        description="Holidays and blackout windows, in the time zone of the trigger (else UTC).",
    )

    @property
    def timezone(self) -> str:
        """The zone in which days and hours are meant."""
        return self.trigger.timezone if isinstance(self.trigger, CronTrigger) else "UTC"


class ScheduleDefinition(Timing):
    """Everything that people say of a schedule."""

    name: ScheduleName
    target: Target
    overlap: OverlapPolicy = OverlapPolicy.SKIP
    catchup_seconds: int = Field(
        3600, ge=10, le=31 * 86_400, description="A run missed by more than this is dropped."
    )
    max_runs: int | None = Field(
        None, ge=1, le=1_000_000, description="Finished after so many runs."
    )
    pause_after_failures: int = Field(
        5, ge=0, le=1000, description="Pauses itself after so many failures in a row; 0: never."
    )


class NewSchedule(ScheduleDefinition):
    """A schedule to create or to preview."""

    paused: bool = False
    note: Note = ""


class ScheduleChange(Contract):
    """What may change on a schedule; fields left out stay as they are.

    A null clears `starts_at`, `ends_at` and `max_runs`.
    """

    name: ScheduleName | None = None
    target: Target | None = None
    trigger: Trigger | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    jitter_seconds: int | None = Field(None, ge=0, le=86_400)
    exclude: Annotated[list[Exclusion], Field(max_length=50)] | None = None
    overlap: OverlapPolicy | None = None
    catchup_seconds: int | None = Field(None, ge=10, le=31 * 86_400)
    max_runs: int | None = Field(None, ge=1, le=1_000_000)
    pause_after_failures: int | None = Field(None, ge=0, le=1000)
    note: Note | None = None


class ScheduleCounters(Contract):
    """What came of a schedule's times since it was created; runs by hand and backfills aside."""

    fired: int = 0
    skipped: int = 0
    missed: int = 0
    failed: int = 0
    refused: int = 0


class StoredSchedule(ScheduleDefinition):
    """A schedule as its row has it."""

    id: UUID
    team_id: UUID
    paused: bool
    note: str
    status: ScheduleStatus
    finished_at: datetime | None
    default_of: str | None = Field(
        description="The job whose default schedule this is: it can be changed, not deleted."
    )
    counters: ScheduleCounters
    failures_in_a_row: int
    accounted_until: datetime = Field(
        description="Times up to here are recorded as runs, or were before the schedule was armed."
    )
    created_at: datetime
    updated_at: datetime

    @property
    def job(self) -> str:
        """The job that it starts, as the catalogue names it."""
        return self.target.job if isinstance(self.target, JobTarget) else CLOUD_SCAN

    @property
    def params(self) -> dict[str, Any]:
        """What the job is started with."""
        if isinstance(self.target, JobTarget):
            return self.target.params
        options = self.target.options.model_dump(mode="json")
        return {"account_id": str(self.target.account_id), **options}


class Schedule(ScheduleDefinition):
    """A schedule as the API shows it."""

    id: UUID
    paused: bool
    note: str
    status: ScheduleStatus
    is_default: bool
    in_words: str
    next_runs: list[datetime] = Field(description="Up to five; none while it is paused.")
    counters: ScheduleCounters
    failures_in_a_row: int
    late: bool = Field(description="A time has passed by 15 s and nothing has started.")
    late_reason: str | None
    last_run: Run | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class SchedulePreview(Contract):
    """When a schedule would fire, before it is saved."""

    next_runs: list[datetime] = Field(description="In the zone of the schedule.")
    in_words: str
    warnings: list[str]


class ScheduleNote(Contract):
    """Why a schedule is paused or resumed."""

    note: Note = ""


class ScheduleTriggerNow(Contract):
    """Run a schedule now, whatever its times."""

    overlap: OverlapPolicy | None = Field(None, description="The schedule's own if left out.")


class NewBackfill(Contract):
    """Run a schedule for times that have passed; both ends count."""

    start: AwareDatetime
    end: AwareDatetime
    overlap: OverlapPolicy = Field(
        OverlapPolicy.QUEUE, description="Between these runs, and with others."
    )
    rerun: bool = Field(False, description="Also times at which a run started already.")
    dry_run: bool = Field(False, description="Only list the times.")


class Backfill(Contract):
    """The runs that a backfill starts, or would start."""

    times: list[datetime]
    already_ran: int = Field(description="Times left out because a run started then.")
    workflow_id: str | None
