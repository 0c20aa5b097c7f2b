"""The tables as SQLAlchemy sees them; `migrations/` makes them, and a test compares the two.

Rows that come by the million (findings, their events, resources, coverage) carry no foreign keys:
a check per inserted row would double the cost of a merge. Whoever deletes an account deletes them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from contracts.vocabulary import FindingState, FindingStatus, FindingTransition, Severity


class Base(DeclarativeBase):
    """Text is unbounded, times have a zone, objects are jsonb, unless a column says otherwise."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
        }
    )
    type_annotation_map: ClassVar[dict[Any, TypeEngine[Any]]] = {
        str: Text(),
        UUID: Uuid(as_uuid=True),
        datetime: DateTime(timezone=True),
        int: Integer(),
        float: Double(),
        bool: Boolean(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        dict[str, list[str]]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text()),
    }


def _enum(words: type[StrEnum], name: str) -> Enum:
    return Enum(words, name=name, values_callable=lambda members: [word.value for word in members])


SEVERITY = _enum(Severity, "severity")
STATUS = _enum(FindingStatus, "finding_status")
STATE = _enum(FindingState, "finding_state")
TRANSITION = _enum(FindingTransition, "finding_transition")

NEW_ID = text("uuidv7()")


class TeamRow(Base):
    """Every row belongs to a team."""

    __tablename__ = "team"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    name: Mapped[str] = mapped_column(unique=True)


class KeyRow(Base):
    """An API key: only the SHA-256 of its secret."""

    __tablename__ = "api_key"
    __table_args__ = (Index("api_key_team_id_id_idx", "team_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    role: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AccountRow(Base):
    """An account to scan and the reference to its credentials."""

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("team_id", "name"),
        Index("account_team_id_id_idx", "team_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    provider: Mapped[str]
    uid: Mapped[str | None]
    credentials: Mapped[dict[str, Any]]
    regions: Mapped[list[str] | None]
    endpoint_url: Mapped[str | None]
    home_region: Mapped[str | None]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScanRow(Base):
    """A scan. While it is not ended its numbers are summed from its tasks; `counts` and `progress`
    are stored when it ends. `running_since`: without a pause or an end in between. `cascade`: which
    scans it follows by which rule, and the scopes that bind it."""

    __tablename__ = "scan"
    __table_args__ = (
        UniqueConstraint("team_id", "idempotency_key"),
        Index(
            "scan_one_running_per_account_idx",
            "account_id",
            unique=True,
            postgresql_where=text("status IN ('running', 'paused')"),
        ),
        Index("scan_team_id_id_idx", "team_id", "id"),
        Index("scan_account_id_id_idx", "account_id", "id"),
        Index("scan_finished_idx", "team_id", "finished_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str]
    status: Mapped[str]
    options: Mapped[dict[str, Any]]
    trigger_kind: Mapped[str]
    schedule_id: Mapped[UUID | None]
    cascade: Mapped[dict[str, Any] | None]
    idempotency_key: Mapped[str | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    waiting_for: Mapped[str | None]
    notes: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    progress: Mapped[float | None]
    counts: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    running_since: Mapped[datetime | None]


class ScanTaskRow(Base):
    """One shard of a scan; `rows` and `covered` are what it reported to have staged.

    Staged rows name it by `id`; `source` is the scanner they are of.
    """

    __tablename__ = "scan_task"
    __table_args__ = (
        Index(
            "scan_task_live_idx",
            "scan_id",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
    )

    scan_id: Mapped[UUID] = mapped_column(
        ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    source: Mapped[str | None]
    kind: Mapped[str]
    title: Mapped[str]
    batch: Mapped[int]
    position: Mapped[int]
    plan: Mapped[dict[str, Any]]
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    progress: Mapped[float] = mapped_column(server_default=text("0"))
    rows: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    covered: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    coverage: Mapped[dict[str, Any] | None]
    counts: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class CheckRow(Base):
    """What a check means, once; findings point at it."""

    __tablename__ = "check_definition"

    source: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    check_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    severity: Mapped[Severity] = mapped_column(SEVERITY)
    service: Mapped[str]
    description: Mapped[str]
    risk: Mapped[str]
    remediation: Mapped[str]
    references: Mapped[list[str]]
    categories: Mapped[list[str]]
    frameworks: Mapped[dict[str, list[str]]]
