"""The tables of native scans: targets, the scopes that allow them, and how hard they may work."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class TargetRow(Base):
    """Something to scan; `value` is in its canonical form."""

    __tablename__ = "target"
    __table_args__ = (
        UniqueConstraint("team_id", "kind", "value"),
        Index("target_team_idx", "team_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    kind: Mapped[str]
    value: Mapped[str]
    tags: Mapped[dict[str, str]]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScopeRow(Base):
    """What a team may scan: an approval, with its entries in canonical form."""

    __tablename__ = "scope"
    __table_args__ = (
        UniqueConstraint("team_id", "name"),
        Index("scope_team_idx", "team_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    allows: Mapped[list[Any]] = mapped_column(JSONB(none_as_null=True))
    approved_by: Mapped[str]
    note: Mapped[str]
    valid_until: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScanPolicyRow(Base):
    """How hard native scans may work: a team's own, beside those that are built in."""

    __tablename__ = "scan_policy"

    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    limits: Mapped[dict[str, Any]]
    changed_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScanCheckpointRow(Base):
    """What a tool has done of a shard that still runs, as its own report tells it, compressed."""

    __tablename__ = "scan_checkpoint"
    __table_args__ = (
        ForeignKeyConstraint(
            ["scan_id", "key"], ["scan_task.scan_id", "scan_task.key"], ondelete="CASCADE"
        ),
    )

    scan_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[int]
    report: Mapped[bytes]
    at: Mapped[datetime]
