"""The tables of findings and resources: what merging writes and reads are served from."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from contracts.vocabulary import FindingState, FindingStatus, FindingTransition, Severity
from storage.tables import NEW_ID, SEVERITY, STATE, STATUS, TRANSITION, Base

SHOWN = text("gone_at IS NULL OR status <> 'pass'")
"""Findings that lists and counts show: a pass whose resource is gone tells nobody anything."""


class FindingRow(Base):
    """The current state of one check on one resource.

    `identity` is a digest (storage/merge/identity.py), `ordinal` tells apart what shares one. The
    id's time is at or after `first_seen_at`, so that newest first is the order of ids. `seen_at`
    and `seen_scan_id` are stamped when the row is written anyway; an unchanged finding was last
    seen when its check last completed in its region (`check_coverage`).
    """

    __tablename__ = "finding"
    __table_args__ = (
        UniqueConstraint("identity", "ordinal"),
        Index("finding_place_idx", "account_id", "check_id", "region"),
        Index("finding_resource_idx", "team_id", "resource_uid"),
        Index(
            "finding_worst_idx",
            *("team_id", "severity", "status", "state", "id"),
            postgresql_where=SHOWN,
        ),
        Index(
            "finding_service_idx",
            *("account_id", "service", "region", "severity", "status", "state", "id"),
            postgresql_where=SHOWN,
        ),
        Index(
            "finding_check_idx",
            *("team_id", "check_id", "severity", "status", "state", "id"),
            postgresql_where=SHOWN,
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID]
    account_id: Mapped[UUID]
    identity: Mapped[UUID]
    first_scan_id: Mapped[UUID]
    seen_scan_id: Mapped[UUID]
    first_seen_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    status: Mapped[FindingStatus] = mapped_column(STATUS)
    state: Mapped[FindingState] = mapped_column(STATE)
    ordinal: Mapped[int]
    source: Mapped[str]
    provider: Mapped[str]
    check_id: Mapped[str]
    service: Mapped[str]
    region: Mapped[str]
    resource_uid: Mapped[str]
    resource_name: Mapped[str]
    resource_type: Mapped[str]
    detail: Mapped[str]


class FindingEventRow(Base):
    """Every transition of a finding; append-only, in the order of ids."""

    __tablename__ = "finding_event"
    __table_args__ = (Index("finding_event_scan_idx", "scan_id"),)

    finding_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    at: Mapped[datetime]
    scan_id: Mapped[UUID | None]
    transition: Mapped[FindingTransition] = mapped_column(TRANSITION)
    reason: Mapped[str | None]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]


class FindingCountRow(Base):
    """How many findings lists show, by everything that `GET /findings/summary` counts.

    Triggers on `finding` append what a statement changed, so many rows may share a key: their sum
    counts. Appending takes no lock that another writer waits for; `fold_counts` sums them up.
    Rows without an account count the whole team, so that its summary need not read every account's.
    """

    __tablename__ = "finding_count"
    __table_args__ = (Index("finding_count_idx", "team_id", "account_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID]
    account_id: Mapped[UUID | None]
    source: Mapped[str]
    service: Mapped[str]
    region: Mapped[str]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    status: Mapped[FindingStatus] = mapped_column(STATUS)
    state: Mapped[FindingState] = mapped_column(STATE)
    n: Mapped[int] = mapped_column(BigInteger)


class FindingSubjectRow(Base):
    """The resources that findings are about, for `q`; a trigger on `finding` appends new ones.

    Two merges at once may append the same one: without a unique key neither waits for the other.
    """

    __tablename__ = "finding_subject"
    __table_args__ = (
        Index("finding_subject_idx", "account_id", "resource_uid"),
        Index("finding_subject_words_idx", "words", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID]
    account_id: Mapped[UUID]
    resource_uid: Mapped[str]
    resource_name: Mapped[str]
    words: Mapped[Any] = mapped_column(TSVECTOR)


class CheckCoverageRow(Base):
    """When a check last completed in a region of an account, and in which scan.

    A type of discovery that was read completely is a row too: the type, region "".
    """

    __tablename__ = "check_coverage"
    __table_args__ = (Index("check_coverage_scan_idx", "scan_id"),)

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    check_id: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str] = mapped_column(primary_key=True)
    scan_id: Mapped[UUID]
    at: Mapped[datetime]


class ResourceRow(Base):
    """The inventory. `seen_at` is stamped only when the row is written anyway: an unchanged
    resource was last seen when its type was last read completely (`check_coverage`)."""

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
