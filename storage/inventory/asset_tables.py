"""The tables of assets: what discovery saw on the network, and the list that it was joined into."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class AssetRow(Base):
    """An address or name. Written only when something about it changes."""

    __tablename__ = "asset"
    __table_args__ = (
        UniqueConstraint("team_id", "value"),
        Index("asset_team_idx", "team_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    value: Mapped[str]
    is_name: Mapped[bool] = mapped_column(Boolean())
    names: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    sources: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    resource_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    target_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    open_ports: Mapped[list[int]] = mapped_column(ARRAY(Integer()))
    exposure: Mapped[str]
    standing: Mapped[str]
    first_seen_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]


class AssetSeenRow(Base):
    """A host that answered a shard of a discovery; its ports of those that were looked at."""

    __tablename__ = "asset_seen"
    __table_args__ = (
        ForeignKeyConstraint(
            ["scan_id", "key"], ["scan_task.scan_id", "scan_task.key"], ondelete="CASCADE"
        ),
    )

    scan_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    open_ports: Mapped[list[int]] = mapped_column(ARRAY(Integer()))
