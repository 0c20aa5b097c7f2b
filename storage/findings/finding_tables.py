"""The tables of findings and resources: what merging writes and reads are served from."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Identity,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from contracts.vocabulary import FindingState, FindingStatus, FindingTransition, Severity
from storage.tables import NEW_ID, SEVERITY, STATE, STATUS, TRANSITION, Base

SHOWN = text("gone_at IS NULL OR status <> 'pass'")
"""Findings that lists and counts show: a pass whose resource is gone tells nobody anything."""


class CheckCoverageRow(Base):
    """One check in one region of an account: what findings point at, and when the check last
    completed there, in which scan (null: never). Findings are far more than these.

    `opened_at` is when the newest finding was opened there, by a trigger on `finding`: who asks
    what is new need not look where nothing is.
    """

    __tablename__ = "check_coverage"
    __table_args__ = (
        UniqueConstraint(
            "account_id", "source", "check_id", "region", name="check_coverage_place_key"
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    team_id: Mapped[UUID]
    account_id: Mapped[UUID]
    source: Mapped[str]
    provider: Mapped[str]
    check_id: Mapped[str]
    region: Mapped[str]
    service: Mapped[str]
    scan_id: Mapped[UUID | None]
    at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]


class FindingRow(Base):
    """The current state of one check on one resource.

    The id is the finding's identity: a digest (storage/merge/identity.py), so ids are spread evenly
    and say nothing of time. `seen_at` and `seen_scan_id` are stamped when the row is written
    anyway; an unchanged finding was last seen when its check last completed in its region.
    """

    __tablename__ = "finding"
    __table_args__ = (
        # In the order of lists, with what filters look at: walking it reads no table.
        Index(
            "finding_worst_idx",
            *("team_id", "severity", "id"),
            postgresql_include=["coverage_id", "resource_hash", "first_seen_at", "status", "state"],
            postgresql_where=SHOWN,
        ),
        # For merging, and for what matches few. Few distinct keys: these take a few bytes a row.
        Index("finding_place_idx", "coverage_id", "severity", "status", "state"),
        # The few that a person decided about.
        Index(
            "finding_held_idx",
            "coverage_id",
            postgresql_where=text("state IN ('muted', 'accepted')"),
        ),
        # What is gone: retention looks for it, and a first scan writes none of it.
        Index(
            "finding_gone_idx",
            *("coverage_id", "gone_at"),
            postgresql_where=text("gone_at IS NOT NULL"),
        ),
        Index("finding_resource_idx", "resource_hash"),
        Index("finding_scan_idx", "first_scan_id", "severity"),
        Index(
            "finding_seen_idx",
            *("seen_scan_id", "severity"),
            postgresql_where=text("seen_scan_id <> first_scan_id"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID]
    first_seen_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    coverage_id: Mapped[int]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    status: Mapped[FindingStatus] = mapped_column(STATUS)
    state: Mapped[FindingState] = mapped_column(STATE)
    resource_hash: Mapped[int] = mapped_column(Computed("hashtext(resource_uid)", persisted=True))
    first_scan_id: Mapped[UUID]
    seen_scan_id: Mapped[UUID]
    resource_uid: Mapped[str]
    resource_name: Mapped[str]
    resource_type: Mapped[str]
    detail: Mapped[str]


class FindingEventRow(Base):
    """Every transition of a finding after it was opened; append-only, in the order of ids.

    How it was opened stands in the finding itself: a row for that would double what a first scan
    writes and say nothing new.
    """

    __tablename__ = "finding_event"
    __table_args__ = (
        Index(
            "finding_event_scan_idx",
            "scan_id",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
    )

    finding_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    scan_id: Mapped[UUID | None]
    transition: Mapped[FindingTransition] = mapped_column(TRANSITION)
    reason: Mapped[str | None]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


class FindingCountRow(Base):
    """How many findings lists show, for each check and region of an account.

    Triggers on `finding` append what a statement changed, so many rows may share a key: their sum
    counts. Appending takes no lock that another writer waits for; `fold_counts` sums them up.
    """

    __tablename__ = "finding_count"
    __table_args__ = (
        Index("finding_count_account_idx", "account_id", "severity"),
        Index("finding_count_check_idx", "team_id", "severity", "check_id"),
        Index("finding_count_service_idx", "team_id", "severity", "service"),
        Index("finding_count_region_idx", "team_id", "severity", "region"),
        Index("finding_count_verdict_idx", "team_id", "severity", "status", "state"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    coverage_id: Mapped[int]
    team_id: Mapped[UUID]
    account_id: Mapped[UUID]
    source: Mapped[str]
    check_id: Mapped[str]
    service: Mapped[str]
    region: Mapped[str]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    status: Mapped[FindingStatus] = mapped_column(STATUS)
    state: Mapped[FindingState] = mapped_column(STATE)
    n: Mapped[int] = mapped_column(BigInteger)


class FindingTotalRow(Base):
    """The same for a whole team, so that its summary need not read every account's counts."""

    __tablename__ = "finding_total"
    __table_args__ = (Index("finding_total_team_idx", "team_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[UUID]
    source: Mapped[str]
    service: Mapped[str]
    region: Mapped[str]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    status: Mapped[FindingStatus] = mapped_column(STATUS)
    state: Mapped[FindingState] = mapped_column(STATE)
    n: Mapped[int] = mapped_column(BigInteger)


FINDING_SUBJECT = Table(
    "finding_subject",
    Base.metadata,
    Column("team_id", Uuid(), nullable=False),
    Column("resource_uid", Text(), nullable=False),
    Column("resource_name", Text(), nullable=False),
    Column("words", TSVECTOR(), nullable=False),
    Index("finding_subject_uid_idx", text("hashtext(resource_uid)")),
    Index("finding_subject_words_idx", "words", postgresql_using="gin"),
)
"""The resources that findings are about, for `q`; a trigger on `finding` appends new ones.

Two merges at once may append the same one: without a unique key neither waits for the other.
"""


class TypeCoverageRow(Base):
    """When discovery last read a type of resource completely in an account."""

    __tablename__ = "type_coverage"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID]
    at: Mapped[datetime]


class ResourceRow(Base):
    """The inventory. `seen_at` is stamped only when the row is written anyway: an unchanged
    resource was last seen when its type was last read completely (`type_coverage`)."""

    __tablename__ = "resource"
    __table_args__ = (
        UniqueConstraint("account_id", "source", "type", "uid"),
        Index("resource_team_idx", "team_id", "id", postgresql_where=text("gone_at IS NULL")),
        Index(
            "resource_account_type_idx",
            *("account_id", "type", "id"),
            postgresql_where=text("gone_at IS NULL"),
        ),
        Index(
            "resource_gone_idx",
            *("account_id", "gone_at"),
            postgresql_where=text("gone_at IS NOT NULL"),
        ),
        Index(
            "resource_region_idx",
            *("team_id", "region", "id"),
            postgresql_where=text("gone_at IS NULL"),
        ),
        Index(
            "resource_tags_idx",
            "tags",
            postgresql_using="gin",
            postgresql_ops={"tags": "jsonb_path_ops"},
        ),
        Index("resource_words_idx", "words", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID]
    account_id: Mapped[UUID]
    source: Mapped[str]
    provider: Mapped[str]
    type: Mapped[str]
    uid: Mapped[str]
    name: Mapped[str]
    region: Mapped[str]
    tags: Mapped[dict[str, str]]
    attributes: Mapped[dict[str, Any]]
    words: Mapped[Any] = mapped_column(TSVECTOR)
    first_seen_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]
