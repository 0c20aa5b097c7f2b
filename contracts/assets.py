"""Assets: what inventory, network and the team's targets say of one address or name."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.vocabulary import AssetSource, Exposure, Standing


class CloudClaim(NamedTuple):
    """A resource that says it has this address or name; both are in their canonical form."""

    resource_id: UUID
    where: str
    is_name: bool
    is_public: bool


class TargetClaim(NamedTuple):
    """A host or url target. A cidr target is none: it names no asset, only where to look."""

    target_id: UUID
    where: str
    is_name: bool


class HostSeen(NamedTuple):
    """An address that answered, with its open ports; there may be none."""

    address: str
    open_ports: tuple[int, ...] = ()


class RangeLooked(NamedTuple):
    """A range that network discovery was sent to, and whether it came to its end."""

    network: str
    is_complete: bool


class AssetFacts(NamedTuple):
    """One asset as all sources together say it; every tuple is sorted, so equal facts are equal."""

    where: str
    is_name: bool
    names: tuple[str, ...]
    sources: tuple[AssetSource, ...]
    resource_ids: tuple[UUID, ...]
    target_ids: tuple[UUID, ...]
    open_ports: tuple[int, ...]
    exposure: Exposure
    standing: Standing


class AssetCounts(Contract):
    """What a discovery did to the list of assets."""

    new: int = 0
    changed: int = 0
    gone: int = 0
    unchanged: int = 0


class Asset(Contract):
    """An address or a name as the API shows it."""

    id: UUID
    value: str = Field(description="The address, or the name that has none that may be known.")
    names: list[str] = Field(description="Names that lead to this address.")
    sources: list[AssetSource] = Field(description="Who knows it: cloud, network, target.")
    exposure: Exposure
    standing: Standing
    open_ports: list[int] = Field(description="TCP, of those that were looked at.")
    resource_ids: list[UUID] = Field(description="Resources of the inventory that have it.")
    target_ids: list[UUID]
    first_seen_at: datetime
    changed_at: datetime
    gone_at: datetime | None


class AssetFilter(Contract):
    """Filters of `GET /assets` and its summary."""

    exposure: list[Exposure] | None = None
    standing: list[Standing] | None = None
    source: list[AssetSource] | None = None
    q: str | None = None


class AssetSummary(Contract):
    """How many assets there are, by who knows them and by exposure."""

    total: int
    by_exposure: dict[Exposure, int]
    by_standing: dict[Standing, int]
    by_source: dict[AssetSource, int] = Field(description="An asset counts for each source.")
    unmanaged_and_exposed: int
