"""Retention: how long what is over is kept, what is held back, and what a cycle deletes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, model_validator

from contracts.base import Contract, PlainText
from contracts.decisions import Name, Pattern, Reason
from contracts.scans import ScanError
from contracts.vocabulary import RetentionKind, Severity

KeepDays = Annotated[int, Field(ge=1, le=36_500)]

DEFAULT_DAYS: Final[Mapping[RetentionKind, int]] = {
    RetentionKind.EVENTS: 400,
    RetentionKind.RESOLVED_FINDINGS: 400,
    RetentionKind.SCANS: 180,
    RetentionKind.RUNS: 400,
    RetentionKind.GONE_RESOURCES: 400,
}

_OF_FINDINGS: Final = frozenset({"account_id", "check_id", "severity", "region", "resource", "tag"})
CRITERIA: Final[Mapping[RetentionKind, frozenset[str]]] = {
    RetentionKind.EVENTS: _OF_FINDINGS,
    RetentionKind.RESOLVED_FINDINGS: _OF_FINDINGS,
    RetentionKind.SCANS: frozenset({"account_id"}),
    RetentionKind.RUNS: frozenset({"account_id", "job"}),
    RetentionKind.GONE_RESOURCES: frozenset({"account_id", "region", "resource", "tag"}),
}
"""What rows of a kind have that a hold may name."""

ALL_CRITERIA: Final = ("account_id", "check_id", "severity", "region", "resource", "tag", "job")


class PolicyChange(Contract):
    """How long a kind is kept from now on."""

    keep_days: KeepDays | None = Field(description="Days of 24 hours; null: for ever.")


class RetentionPolicy(PolicyChange):
    """How long a team keeps a kind, and what the last cycle that deleted any of it did."""

    kind: RetentionKind
    is_default: bool = Field(description="Nobody of the team ever changed it.")
    updated_at: datetime | None
    updated_by: str | None
    last_deleted_at: datetime | None
    last_deleted: int


class ProposedPolicies(Contract):
    """Policies to preview instead of the stored ones, for the kinds that are named."""

    keep_days: dict[RetentionKind, KeepDays | None] = Field(default_factory=dict)


class KindPreview(PolicyChange):
    """What the next cycle would do with a kind; each row that is old enough is counted once."""

    kind: RetentionKind
    before: datetime | None = Field(description="What is as old as this is deleted.")
    deletes: int
    oldest_at: datetime | None = Field(description="The oldest row that would be deleted.")
    held: int = Field(description="Old enough, but held back by a legal hold.")
    needed: int = Field(description="Old enough, but something else still needs it.")


class RetentionPreview(Contract):
    """What a cycle that began now would delete."""

    at: datetime
    kinds: list[KindPreview]


class NewHold(Contract):
    """Rows that match everything that is given are not deleted until the hold is lifted."""

    name: Annotated[PlainText, Field(min_length=1, max_length=100)]
    reason: Reason
    kinds: Annotated[list[RetentionKind], Field(min_length=1)] | None = Field(
        None, description="Only these; null: every kind whose rows have what is named."
    )
    account_id: UUID | None = None
    check_id: Name | None = None
    severity: Annotated[list[Severity], Field(min_length=1)] | None = None
    region: Name | None = None
    resource: Pattern | None = Field(
        None, description="UID or name of the resource; * stands for any text."
    )
    tag: Annotated[Pattern, Field(pattern=r"^[^:]+:.*$")] | None = Field(
        None, description="A tag of the resource, such as env:prod, as the inventory has it."
    )
    job: Name | None = Field(None, description="Runs of this job.")

    @model_validator(mode="after")
    def _holds_something(self) -> NewHold:
        if not self.named() and self.kinds is None:
            raise ValueError(f"Name at least one of kinds, {', '.join(ALL_CRITERIA)}.")
        return self

    def named(self) -> frozenset[str]:
        """The criteria that are given."""
        return frozenset(name for name in ALL_CRITERIA if getattr(self, name) is not None)


class Hold(NewHold):
    """A legal hold as the API shows it; a lifted one holds nothing any more."""

    id: UUID
    created_at: datetime
    created_by: str
    lifted_at: datetime | None
    lifted_by: str | None


class RetentionRequest(Contract):
    """One cycle over all teams; it carries on from the histories before."""

    after: UUID | None = Field(None, description="The last team that is done.")
    teams: int = 0
    changed: int = Field(0, description="Teams of which something was deleted.")
    failed: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list, description="What was deleted of the first.")
    failures: list[str] = Field(default_factory=list, description="Why the first failed.")
    error: ScanError | None = Field(None, description="Of the first team that failed.")


class RetentionPage(Contract):
    """Up to so many teams in their order."""

    after: UUID | None
    limit: int


class RetentionTeams(Contract):
    """The teams of a page; none: it was the last."""

    team_ids: list[UUID]


class RetentionStep(Contract):
    """Delete what a team need not keep any more at this time, batch by batch."""

    cycle: UUID
    team_id: UUID
    at: datetime
    limit: int = Field(description="Rows of one batch.")


class RetentionDone(Contract):
    """What the cycle has deleted of a team, by kind; nothing is left."""

    team: str
    counts: dict[str, int]
