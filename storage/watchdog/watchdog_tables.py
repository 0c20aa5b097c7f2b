"""The tables of the watchdog: what it repaired, and which accounts' totals it has checked."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class RepairRow(Base):
    """Something that had drifted, and what was tried.

    Settled once a later look no longer finds it; until then `attempts` counts the tries since
    `first_at`.
    """

    __tablename__ = "repair"
    __table_args__ = (
        Index(
            "repair_open_idx",
            *("kind", "subject"),
            unique=True,
            postgresql_where=text("settled_at IS NULL"),
        ),
        Index("repair_team_idx", "team_id", "last_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    kind: Mapped[str]
    subject: Mapped[str]
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    words: Mapped[str]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    attempts: Mapped[int]
    error: Mapped[str | None]
    settled_at: Mapped[datetime | None]


class CountCheckRow(Base):
    """When the running totals of an account were last compared with its findings."""

    __tablename__ = "count_check"

    account_id: Mapped[UUID] = mapped_column(
        ForeignKey("account.id", ondelete="CASCADE"), primary_key=True
    )
    at: Mapped[datetime]
