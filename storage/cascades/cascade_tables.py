"""The tables of cascades: rules of teams, and what each started in each chain of scans."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class CascadeRuleRow(Base):
    """A rule; it does nothing until it is enabled."""

    __tablename__ = "cascade_rule"
    __table_args__ = (UniqueConstraint("team_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    predefined: Mapped[bool]
    when: Mapped[dict[str, Any]]
    then: Mapped[dict[str, Any]]
    max_targets: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CascadeStartRow(Base):
    """That a rule started a scan in a chain. The key is why chains end: a rule starts one in each.

    A rule or a scan that is deleted leaves it as it is; it goes with the root of the chain.
    """

    __tablename__ = "cascade_start"

    root_scan_id: Mapped[UUID] = mapped_column(
        ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True
    )
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    parent_scan_id: Mapped[UUID]
    scan_id: Mapped[UUID]
    at: Mapped[datetime]
