"""The tables of retention: policies, legal holds, and what cycles deleted."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class RetentionPolicyRow(Base):
    """How long a team keeps a kind; null: for ever. Without a row the default holds."""

    __tablename__ = "retention_policy"

    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    keep_days: Mapped[int | None]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str]


class RetentionHoldRow(Base):
    """What is not deleted until the hold is lifted; a lifted one stays, to be read."""

    __tablename__ = "retention_hold"
    __table_args__ = (
        Index(
            "retention_hold_name_idx",
            *("team_id", "name"),
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
        ),
        Index("retention_hold_team_idx", "team_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    reason: Mapped[str]
    kinds: Mapped[list[str] | None]
    account_id: Mapped[UUID | None]
    check_id: Mapped[str | None]
    severity: Mapped[list[str] | None]
    region: Mapped[str | None]
    resource: Mapped[str | None]
    tag: Mapped[str | None]
    job: Mapped[str | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]


class RetentionTallyRow(Base):
    """How much a cycle deleted, and how new the newest of it was: counted in the transaction that
    deletes, so that it is exact."""

    __tablename__ = "retention_tally"

    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    cycle: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    deleted: Mapped[int] = mapped_column(BigInteger)
    newest: Mapped[datetime]
