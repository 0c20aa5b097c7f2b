"""Cutting a scan into shards such that their union is one full run, nothing twice.

A shard is a group of services that share what they fetch, over a batch of regions where all of its
services are regional, over all regions once where they are not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from contracts.base import Contract
from contracts.errors import ScopeInvalid
from contracts.vocabulary import Provider
from scanners.prowler.prowler_catalogue import Catalogue
from scanners.prowler.prowler_services import REGIONAL_SERVICES, group_names, group_of

SMALL: Final = 60
"""Checks that are not worth a process of their own: it costs about two seconds of CPU to start."""
FEW: Final = 20
"""Checks that are not worth splitting by region: with fewer, starting a process for each batch, one
after the other, costs more CPU than the scan itself and saves no time."""


class ProwlerShard(Contract):
    """One run of the scanner. `batch` i starts i * stagger after the phase began."""

    key: str
    title: str
    checks: list[str]
    regions: list[str]
    batch: int


def plan_shards(
    catalogue: Catalogue,
    *,
    regions: list[str],
    home_region: str,
    services: list[str] | None = None,
    checks: list[str] | None = None,
    frameworks: list[str] | None = None,
    region_batch_size: int,
) -> list[ProwlerShard]:
    """The shards of a scan: each planned (check, region) is in exactly one.

    What `services`, `checks` and `frameworks` name is united; none of them means everything that
    does not run on request only. Findings about the whole account fall in the home region if it
    is among the regions, else in the first of them. Providers other than AWS are not split by
    region: `regions` says where earlier findings lay, so that these count as covered. The order is
    that of the table of services: the caller shuffles. Raises ScopeInvalid for an unknown name,
    with the nearest known ones.
    """
    chosen = _choose(catalogue, services, checks, frameworks)
    regions = sorted(set(regions))
    is_aws = catalogue.provider is Provider.AWS
    if is_aws and not regions:
        raise ScopeInvalid("The scan has no region.", field="regions")
    batches = _batches(regions, home_region, region_batch_size)
    regional = [c for c in chosen if catalogue.service_of(c) in REGIONAL_SERVICES]
    # Without the home region, regional services would take another default one beside the others.
    few = len(regional) < FEW and home_region in regions
    if len(batches) < 2 or few or not is_aws:
        parts = _grouped(catalogue, chosen)
        return [_shard(group, checks, regions, 0) for group, checks in parts.items()]
    others = [c for c in chosen if catalogue.service_of(c) not in REGIONAL_SERVICES]
    shards = [
        _shard(group, checks, regions, 0) for group, checks in _grouped(catalogue, others).items()
    ]
    shards += [
        _shard(group, checks, batch, number)
        for group, checks in _grouped(catalogue, regional).items()
        for number, batch in enumerate(batches)
    ]
    return shards


def _batches(regions: list[str], home_region: str, size: int) -> list[list[str]]:
    """Regions in batches of about equal length, the home region in the first."""
    ordered = sorted(regions, key=lambda region: (region != home_region, region))
    count = -(-len(ordered) // size)
    return [sorted(ordered[start::count]) for start in range(count)] if count else []


def _grouped(catalogue: Catalogue, checks: list[str]) -> dict[str, list[str]]:
    """Checks by group; the smallest joins the next one until all are worth a process."""
    grouped: dict[str, list[str]] = {name: [] for name in group_names(catalogue.provider)}
    for check in checks:
        grouped[group_of(catalogue.provider, catalogue.service_of(check))].append(check)
    sizes = sorted((len(found), name) for name, found in grouped.items() if found)
    while len(sizes) > 1 and sizes[0][0] < SMALL:
        (count, smallest), (more, next_one), *rest = sizes
        grouped[next_one] = sorted(grouped[next_one] + grouped.pop(smallest))
        sizes = sorted([(count + more, next_one), *rest])
    return {name: found for name, found in grouped.items() if found}


def _shard(group: str, checks: list[str], regions: list[str], batch: int) -> ProwlerShard:
    where = f"{regions[0]}+{len(regions) - 1}" if len(regions) > 1 else "".join(regions)
    spoken = (
        ", ".join(regions) if len(regions) <= 3 else f"{regions[0]} and {len(regions) - 1} more"
    )
    services = sorted({check.split("_", 1)[0] for check in checks})
    named = ", ".join(services) if len(services) <= 4 else f"{len(services)} services"
    return ProwlerShard(
        key=f"{group}/{where}" if where else group,
        title=f"{group.capitalize()}: {len(checks)} checks of {named}"
        + (f" in {spoken}" if spoken else ""),
        checks=checks,
        regions=regions,
        batch=batch,
    )


def _choose(
    catalogue: Catalogue,
    services: list[str] | None,
    checks: list[str] | None,
    frameworks: list[str] | None,
) -> list[str]:
    """The checks that a scope names, sorted; refuses a scope that names none."""
    everything = [check.check_id for check in catalogue.checks]
    by_default = set(everything) - catalogue.on_request
    if services is None and checks is None and frameworks is None:
        return sorted(by_default)
    chosen: set[str] = set()
    for service in _known("services", services, catalogue.services):
        chosen.update(by_default.intersection(catalogue.services[service]))
    aliases = _framework_aliases(catalogue)
    for framework in _known("frameworks", frameworks, aliases, shown=catalogue.frameworks):
        chosen.update(by_default.intersection(catalogue.frameworks[aliases[framework]]))
    chosen.update(_known("checks", checks, everything))
    if not chosen:
        raise ScopeInvalid(
            "The scope holds no check that runs unless it is named.",
            field="checks",
            fix="Name the checks themselves: some run on request only.",
        )
    return sorted(chosen)


def _framework_aliases(catalogue: Catalogue) -> dict[str, str]:
    """How people may write a framework: its name or Prowler's key, blanks as dashes, any case."""
    aliases: dict[str, str] = {}
    for key, name in catalogue.framework_keys.items():
        if name in catalogue.frameworks:
            aliases |= {_folded(key): name, _folded(name): name}
    return aliases


def _folded(name: str) -> str:
    return re.sub(r"[ _/-]+", "-", name).casefold()


def _known(
    field: str, asked: list[str] | None, known: Iterable[str], *, shown: Iterable[str] = ()
) -> list[str]:
    """The names asked for, if all of them are known."""
    names = list(known)
    found = []
    for name in asked or ():
        wanted = _folded(name) if field == "frameworks" else name
        if wanted not in names:
            near = difflib.get_close_matches(name, list(shown) or names, n=3, cutoff=0.5)
            raise ScopeInvalid(
                f"There is no {field[:-1]} {name}.",
                field=field,
                fix=f"Did you mean {' or '.join(near)}?" if near else f"List the {field} first.",
            )
        found.append(wanted)
    return found
