"""Scans and their shards: what people ask for, what they see, and what crosses the workflow."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.accounts import RegionName
from contracts.base import Contract
from contracts.vocabulary import (
    ErrorClass,
    Provider,
    ScanKind,
    ScanStatus,
    TaskKind,
    TaskStatus,
    TriggerKind,
)

ScopeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


class ScanOptions(Contract):
    """The scope of a scan; a list left out means everything."""

    regions: Annotated[list[RegionName], Field(min_length=1, max_length=100)] | None = None
    services: Annotated[list[ScopeName], Field(min_length=1, max_length=500)] | None = None
    checks: Annotated[list[ScopeName], Field(min_length=1, max_length=2000)] | None = None
    frameworks: Annotated[list[ScopeName], Field(min_length=1, max_length=100)] | None = None
    discovery: bool = True
    compliance: bool = True
    tools: Annotated[list[ScopeName], Field(max_length=20)] | None = Field(
        default=None,
        description="Native tools that look at a cluster. Left out: those that are installed and "
        "look at all of it, unless the scan is limited to some checks. Empty: none.",
    )


class NewScan(ScanOptions):
    """A scan to start now."""

    account_id: UUID


class NativeOptions(Contract):
    """The scope of a native scan: which tools look at which targets, how hard."""

    targets: Annotated[list[UUID], Field(min_length=1, max_length=100)]
    tools: Annotated[list[ScopeName], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Left out: every tool that suits the target and is installed."
    )
    policy: Annotated[
        ScopeName, Field(description="How hard: gentle, normal, fast, or one of the team's own.")
    ] = "normal"


class HybridOptions(Contract):
    """The scope of hybrid discovery: in which approved networks it looks, how hard."""

    scopes: Annotated[list[UUID], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Left out: the networks of every scope that is valid."
    )
    policy: Annotated[
        ScopeName, Field(description="How hard: gentle, normal, fast, or one of the team's own.")
    ] = "normal"


def _is_none(value: object) -> bool:
    return value is None


class ScanTrigger(Contract):
    """What started a scan; what only a cascade has is left out of all others."""

    kind: TriggerKind = TriggerKind.MANUAL
    schedule_id: UUID | None = None
    root_scan_id: UUID | None = Field(
        None, exclude_if=_is_none, description="The scan that its chain began with."
    )
    parent_scan_id: UUID | None = Field(
        None, exclude_if=_is_none, description="The scan that it follows."
    )
    rule: str | None = Field(
        None, exclude_if=_is_none, description="The rule of cascades that started it."
    )
    scopes: list[UUID] | None = Field(
        None,
        exclude_if=_is_none,
        description="It may scan only what lies in these; left out: in any of the team.",
    )


class ScanError(Contract):
    """Why a scan or shard failed, in words that are safe to show."""

    code: str
    message: str
    fix: str | None = None


class FindingCounts(Contract):
    """What merging did to findings."""

    new: int = 0
    changed: int = 0
    resolved: int = 0
    unchanged: int = 0

    def __add__(self, other: FindingCounts) -> FindingCounts:
        return FindingCounts(
            new=self.new + other.new,
            changed=self.changed + other.changed,
            resolved=self.resolved + other.resolved,
            unchanged=self.unchanged + other.unchanged,
        )


class TaskCounts(Contract):
    """How many shards a scan has, how many are done or skipped, how many failed."""

    total: int = 0
    done: int = 0
    failed: int = 0


class ScanCounts(Contract):
    """The numbers of a scan."""

    resources: int = 0
    findings: FindingCounts = FindingCounts()
    tasks: TaskCounts = TaskCounts()


class Scan(Contract):
    """A scan as the API shows it."""

    id: UUID
    kind: ScanKind
    account_id: UUID
    status: ScanStatus
    progress: float = Field(ge=0, le=100, description="Per cent of the work that is done.")
    trigger: ScanTrigger
    options: ScanOptions | NativeOptions | HybridOptions
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    queue_seconds: float | None
    duration_seconds: float | None
    waiting_for: str | None = Field(description="Why a pending scan has not begun, in words.")
    workflow_id: str
    temporal_url: str | None
    counts: ScanCounts
    notes: list[str] = Field(
        default_factory=list, description="What a reader should know, such as a skipped phase."
    )
    error: ScanError | None


class Problem(Contract):
    """API errors of one class that a scanner met in one service and region.

    While it stands, nothing in `checks` is resolved and no verdict of them is believed, unless the
    class is `not_implemented`, where the endpoint simply lacks the call.
    """

    service: str
    region: str | None
    error_class: ErrorClass
    count: int
    checks: list[str] = Field(default_factory=list)
    message: str = Field(default="", description="One example, at most 300 characters, redacted.")


class Coverage(Contract):
    """What one shard really assessed."""

    planned: int = Field(0, description="Checks planned, or tables for discovery.")
    run: int = Field(0, description="Checks that ran to their end, or tables read to the end.")
    not_assessed: int = Field(0, description="(check, region) pairs that cannot be trusted.")
    problems: list[Problem] = Field(default_factory=list)

    @property
    def may_be_completed(self) -> bool:
        """Whether another try may assess more: calls were throttled or not answered."""
        return bool(self.not_assessed) and any(
            problem.error_class in (ErrorClass.THROTTLED, ErrorClass.UNREACHABLE)
            for problem in self.problems
        )


class ScanTask(Contract):
    """One shard of a scan."""

    kind: TaskKind
    key: str
    status: TaskStatus
    attempt: int
    rows: int
    progress: float = Field(ge=0, le=100)
    started_at: datetime | None
    finished_at: datetime | None
    coverage: Coverage | None
    counts: FindingCounts | None
    error: ScanError | None


# ---- messages between the workflow and its activities ----


class ScanRequest(Contract):
    """Start of a `CloudScan`; everything else is in the scan's row."""

    scan_id: UUID


class Shard(Contract):
    """One shard as the workflow knows it: its key, its name for people, when it may start."""

    kind: TaskKind
    key: str
    title: str
    batch: int = Field(0, description="Batch i starts i * stagger after the phase began.")


class ShardTask(Contract):
    """One shard to run."""

    scan_id: UUID
    key: str


class ShardBatch(Contract):
    """Shards whose rows are staged, to merge."""

    scan_id: UUID
    keys: list[str]


class ScanBegun(Contract):
    """What `begin_scan` found. `waits_for` set means: not begun, that scan has the account."""

    waits_for: str | None = Field(None, description="Why the scan has to wait, in words.")
    account_name: str = ""
    provider: Provider = Provider.AWS
    regions: list[str] = Field(default_factory=list)
    home_region: str = ""
    stagger_seconds: float = 0
    shards_in_flight: int = 1


class ScanPlanning(Contract):
    """Plan one phase of a scan over these regions."""

    scan_id: UUID
    regions: list[str]
    home_region: str


class PhasePlan(Contract):
    """The shards of one phase that are still to run, in the order to start them."""

    shards: list[Shard] = Field(default_factory=list)


class ShardFailed(Contract):
    """A shard that ended without a result, to record."""

    scan_id: UUID
    key: str
    error: ScanError


class MergeReport(Contract):
    """What merging some shards did, and which of them could not be merged: the others are."""

    counts: FindingCounts = FindingCounts()
    failed: list[ShardFailed] = Field(default_factory=list)


class ScanPaused(Contract):
    """Whether a scan starts new shards, to record."""

    scan_id: UUID
    paused: bool


class ShardReport(Contract):
    """How a shard went: rows staged and coverage in numbers; findings never travel here."""

    key: str
    rows: int
    planned: int
    run: int
    not_assessed: int


class ScanEnd(Contract):
    """How a scan ended, to record. `outcome` None: derive it from the shards."""

    scan_id: UUID
    outcome: ScanStatus | None = None
    error: ScanError | None = None


class ScanSummary(Contract):
    """What a `CloudScan` returns: how it ended and its numbers."""

    status: ScanStatus
    counts: ScanCounts
    next_scan_id: UUID | None = Field(None, description="The scan of this account that waited.")
    may_cascade: bool = Field(False, description="Whether rules may start others from it.")


class ScanPhase(Contract):
    """Answer of the `progress` query."""

    phase: str
    paused: bool
    shards_total: int
    shards_done: int
    shards_failed: int
    waiting_for: str | None = None
