"""What the watchdog repairs, and how people see it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.vocabulary import RunOutcome


class RepairKind(StrEnum):
    """What had drifted; each has one way to mend it."""

    SCAN_LOST = "scan_lost"
    SCAN_UNWANTED = "scan_unwanted"
    SCAN_NOT_STARTED = "scan_not_started"
    SCAN_STUCK = "scan_stuck"
    QUEUE_WITHOUT_WORKER = "queue_without_worker"
    SHARD_SILENT = "shard_silent"
    IMPORT_ABANDONED = "import_abandoned"
    SHARDS_LEFT = "shards_left"
    STAGING_LEFT = "staging_left"
    RESOURCES_UNSEEN = "resources_unseen"
    COUNTS_WRONG = "counts_wrong"
    TOTALS_WRONG = "totals_wrong"
    VULNERABILITIES_DIFFER = "vulnerabilities_differ"
    RECONCILER_LATE = "reconciler_late"
    SCHEDULES_DIFFER = "schedules_differ"


class Repair(Contract):
    """Something that had drifted, and what was tried."""

    kind: RepairKind
    subject: str = Field(description="What it is about, such as `scan/<id>`.")
    words: str = Field(description="What was found, and what was done.")
    first_at: datetime
    last_at: datetime
    attempts: int
    error: str | None = Field(description="Why the last attempt failed.")
    settled_at: datetime | None = Field(description="When a later look no longer found it.")
    given_up_until: datetime | None = Field(
        description="It was tried too often in one day; it is tried again after this time."
    )


class WatchdogRun(Contract):
    """The last run of the watchdog that has ended."""

    outcome: RunOutcome
    started_at: datetime | None
    ended_at: datetime | None
    counts: dict[str, int] = Field(description="Repairs by kind, those of this team.")


class Consistency(Contract):
    """Whether the store, Temporal and the workers agree, and what was repaired."""

    last_run: WatchdogRun | None
    repairs: list[Repair] = Field(description="The newest ones, newest first.")
    given_up: list[Repair] = Field(description="What cannot be repaired; a person has to look.")


class Fault(Contract):
    """Something that has drifted, before it is repaired."""

    subject: str
    team_id: UUID
    words: str
