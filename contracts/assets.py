"""Assets: what the cloud inventory, the network and the team's targets say of one address or name.

All of it are plain values; nothing here was looked up or connected to.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class AssetSource(StrEnum):
    """Who names an asset."""

    CLOUD = "cloud"
    NETWORK = "network"
    TARGET = "target"


class Exposure(StrEnum):
    """Whether the internet can be expected to reach it."""

    INTERNET_EXPOSED = "internet_exposed"
    INTERNAL = "internal"


class Standing(StrEnum):
    """Whether anybody answers for it.

    `unseen`: the cloud says that it is public, its range was looked at to the end, and nothing
    answered there.
    """

    MANAGED = "managed"
    UNMANAGED = "unmanaged"
    UNSEEN = "unseen"


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
