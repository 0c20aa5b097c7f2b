"""Vulnerabilities: what people work on, made of the findings of every source."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.vocabulary import (
    Severity,
    SlaState,
    VulnerabilityStatus,
    VulnerabilityTransition,
)


class Vulnerability(Contract):
    """One weakness on one asset, whoever reports it."""

    id: UUID
    account_id: UUID
    account_uid: str
    weakness: str = Field(description="The check, or the CVE.")
    resource_uid: str
    title: str
    severity: Severity = Field(description="The worst of its open occurrences.")
    status: VulnerabilityStatus
    owner: str | None
    first_detected_at: datetime
    reopened_at: datetime | None
    closed_at: datetime | None
    due_at: datetime | None = Field(description="Null: nobody has to act, or never due.")
    sla: SlaState | None
    accepted_until: datetime | None
    open_occurrences: int
    total_occurrences: int
    updated_at: datetime


class Occurrence(Contract):
    """A finding that is, or was, this vulnerability."""

    finding_id: UUID
    source: str
    severity: Severity
    is_open: bool
    opened_at: datetime
    closed_at: datetime | None


class VulnerabilityEvent(Contract):
    """One transition; append-only. `before` and `after` hold the fields that differ."""

    at: datetime
    who: str = Field(description="The name of a key, or the job that did it.")
    transition: VulnerabilityTransition
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class VulnerabilityDetail(Vulnerability):
    """A vulnerability with its occurrences and its history, oldest first."""

    occurrences: list[Occurrence]
    history: list[VulnerabilityEvent]


class VulnerabilityFilter(Contract):
    """Filters of `GET /vulnerabilities`; lists mean any of, different fields mean all of."""

    status: list[VulnerabilityStatus] | None = None
    severity: list[Severity] | None = None
    owner: list[str] | None = None
    account_id: list[UUID] | None = None
    weakness: list[str] | None = None
    sla: list[SlaState] | None = None
    q: str | None = None


class VulnerabilitySummary(Contract):
    """Counts of the vulnerabilities that match a filter."""

    total: int
    status: dict[str, int]
    severity: dict[str, int]
    sla: dict[str, int]


class SyncCounts(Contract):
    """What a sync did to vulnerabilities."""

    created: int = 0
    updated: int = 0
    reopened: int = 0
    closed: int = 0
    unchanged: int = 0

    def plus(self, other: SyncCounts) -> SyncCounts:
        """Both together."""
        mine, theirs = self.model_dump(), other.model_dump()
        return SyncCounts(**{name: mine[name] + theirs[name] for name in mine})


class NewSync(Contract):
    """What a sync looks at: accounts that changed since the last one, or all of them."""

    full: bool = Field(False, description="Compare everything, also what did not change.")


class SyncRequest(NewSync):
    """Bring a team's vulnerabilities to what its findings say.

    The other fields carry on from the histories before, where it goes on in a new one.
    """

    team_id: UUID
    after: UUID | None = None
    done: SyncCounts = SyncCounts()
    accounts: int = 0
    failed: list[UUID] = Field(default_factory=list)
    asked: NewSync | None = Field(None, description="What was asked for meanwhile.")


class SyncPlanning(Contract):
    """Which accounts of a team are to be synced, in the order of their ids."""

    team_id: UUID
    full: bool
    after: UUID | None
    limit: int


class SyncPlan(Contract):
    """The next accounts; fewer than the limit means that these are the last."""

    accounts: list[UUID]


class AccountSync(Contract):
    """Sync one account."""

    team_id: UUID
    account_id: UUID
    full: bool


class SyncAllRequest(NewSync):
    """Sync every team that has something to sync; the rest carries on from histories before."""

    after: UUID | None = None
    teams: int = 0
    joined: int = 0
    failed: int = 0
    done: SyncCounts = SyncCounts()


class TeamsPlanning(Contract):
    """Which teams have something to sync, in the order of their ids."""

    full: bool
    after: UUID | None
    limit: int


class TeamsPlan(Contract):
    """The next teams; fewer than the limit means that these are the last."""

    teams: list[UUID]


class SyncStarted(Contract):
    """A sync that was asked for, and the workflow that does it."""

    workflow_id: str
