"""One list of assets out of what cloud, network and targets each know. No I/O.

A name counts for the addresses that it was looked up to, and stands for itself when there are none.
Private addresses are joined like public ones, though two networks may each have the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from contracts.assets import AssetFacts, CloudClaim, HostSeen, RangeLooked, TargetClaim
from contracts.vocabulary import AssetSource, Exposure, Standing
from scanners.asset_claims import is_private
from scanners.targets.address_policy import within
from scanners.targets.host_values import Network, network_of


@dataclass
class _Gathered:
    names: set[str] = field(default_factory=set)
    resource_ids: set[UUID] = field(default_factory=set)
    target_ids: set[UUID] = field(default_factory=set)
    open_ports: set[int] = field(default_factory=set)
    is_public_in_cloud: bool = False
    has_answered: bool = False


def was_looked_at(address: str, looked: Iterable[RangeLooked]) -> bool:
    """True when every range that holds it came to its end, and one does: only then may silence
    there mean anything, or an asset go."""
    at = network_of(address)
    holding = [each for each in looked if within(at, _range(each.network))]
    return bool(holding) and all(each.is_complete for each in holding)


@lru_cache(maxsize=1_000)
def _range(text: str) -> Network:
    return network_of(text)


def join(
    cloud: Iterable[CloudClaim],
    targets: Iterable[TargetClaim],
    seen: Iterable[HostSeen],
    looked: Sequence[RangeLooked],
    addresses_of: Mapping[str, Sequence[str]],
) -> list[AssetFacts]:
    """Every asset once, in the order of `where`; the order of what comes in changes nothing.

    `addresses_of` holds the names that were looked up; every address in it was checked.
    """
    gathered: dict[tuple[str, bool], _Gathered] = defaultdict(_Gathered)

    def at(where: str, is_name: bool) -> list[_Gathered]:
        addresses = addresses_of.get(where, ()) if is_name else ()
        if not addresses:
            return [gathered[where, is_name]]
        found = [gathered[each, False] for each in addresses]
        for each in found:
            each.names.add(where)
        return found

    for claim in cloud:
        for asset in at(claim.where, claim.is_name):
            asset.resource_ids.add(claim.resource_id)
            asset.is_public_in_cloud |= claim.is_public
    for target in targets:
        for asset in at(target.where, target.is_name):
            asset.target_ids.add(target.target_id)
    for host in seen:
        asset = gathered[host.address, False]
        asset.has_answered = True
        asset.open_ports.update(host.open_ports)
    return [
        _facts(where, is_name, asset, looked)
        for (where, is_name), asset in sorted(gathered.items(), key=lambda item: item[0])
    ]


def _facts(
    where: str, is_name: bool, asset: _Gathered, looked: Sequence[RangeLooked]
) -> AssetFacts:
    is_known = {
        AssetSource.CLOUD: bool(asset.resource_ids),
        AssetSource.NETWORK: asset.has_answered,
        AssetSource.TARGET: bool(asset.target_ids),
    }
    # A public name that leads to a private address is not reached through that address.
    is_exposed = (asset.is_public_in_cloud or asset.has_answered) and (
        is_name or not is_private(where)
    )
    if not asset.resource_ids and not asset.target_ids:
        standing = Standing.UNMANAGED
    elif is_exposed and not asset.has_answered and not is_name and was_looked_at(where, looked):
        standing = Standing.UNSEEN
    else:
        standing = Standing.MANAGED
    return AssetFacts(
        where=where,
        is_name=is_name,
        names=tuple(sorted(asset.names)),
        sources=tuple(source for source, known in is_known.items() if known),
        resource_ids=tuple(sorted(asset.resource_ids)),
        target_ids=tuple(sorted(asset.target_ids)),
        open_ports=tuple(sorted(asset.open_ports)),
        exposure=Exposure.INTERNET_EXPOSED if is_exposed else Exposure.INTERNAL,
        standing=standing,
    )
