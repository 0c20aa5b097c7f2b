"""Hybrid discovery: which ranges are looked at, one range, and one list of assets out of it all."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Final
from uuid import UUID

from temporalio import activity

from activities import target_pinning
from activities.native_scans import NativeScanActivities
from activities.progress import ShardProgress, heartbeating
from contracts.assets import AssetCounts, CloudClaim, HostSeen, RangeLooked, TargetClaim
from contracts.errors import (
    ScopeInvalid,
    TargetInvalid,
    TargetUnreachable,
)
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    NativeFinding,
    NativeTool,
    ScanPolicy,
)
from contracts.scans import Coverage, PhasePlan, Problem, ScanRequest, ShardReport, ShardTask
from contracts.targets import PinnedTarget, Scope, Target
from contracts.vocabulary import ErrorClass, Provider, ScopeKind, TargetKind, TaskKind
from scanners.asset_claims import PLACES, claims_of
from scanners.asset_join import join, was_looked_at
from scanners.native import native_plan
from scanners.targets.address_policy import WIDEST_TARGET, within
from scanners.targets.host_values import Network
from scanners.targets.target_resolution import Pinning
from scanners.targets.target_values import parse_target
from storage.inventory import assets
from storage.scans import scan_policies, scan_state
from storage.targets import target_scopes, targets

MOST_RANGES: Final = 64
"""Ranges of the largest size that a target may have, in one discovery."""
MOST_NAMES: Final = 500
"""Names that are looked up in one discovery; those after them stand for themselves."""
LOOKUPS_AT_ONCE: Final = 8


class AssetDiscoveryActivities(NativeScanActivities):
    """Idempotent: what a shard saw replaces what an earlier attempt saw, and joining anew writes
    only what differs."""

    @activity.defn
    async def plan_ranges(self, request: ScanRequest) -> PhasePlan:
        """One shard for each range of the scopes, every address checked and pinned.

        A range that may not be looked at becomes a note. ScopeInvalid when scopes are too large.
        """
        return await self._planned(request, self._plan_ranges)

    async def _plan_ranges(self, scan: scan_state.ScanRecord) -> list[scan_state.PlannedShard]:
        if scan.hybrid is None:
            raise ScopeInvalid("This scan is no discovery of assets.")
        now = _now()
        async with self._database.transaction() as session:
            policy = await scan_policies.load_policy(session, scan.team_id, scan.hybrid.policy)
            scopes = await target_scopes.all_scopes(session, scan.team_id)
        only = scan.hybrid.scopes
        ranges = _ranges(
            scope for scope in scopes if scope.is_valid(now) and (only is None or scope.id in only)
        )
        policy = policy.model_copy(update={"checks": "quick"})  # who is there, not what is wrong
        pinning = await target_pinning.pinning_of(
            self._database, self._settings, scan.team_id, at=now
        )
        shards, notes = list[scan_state.PlannedShard](), list[str]()
        for each in ranges:
            target = target_pinning.passing_target(scan.team_id, TargetKind.CIDR, str(each), at=now)
            try:
                shards.append(_shard(await pinning.pin(target), policy))
            except TargetInvalid as error:
                notes.append(f"Not looked at: {error.message}")
        if not ranges:
            notes.append(
                "No valid scope names a network: only the inventory and the targets are joined."
            )
        async with self._database.transaction() as session:
            await scan_state.write_plan(session, scan.id, shards, notes=notes)
        return shards

    @activity.defn
    async def look_at_range(self, task: ShardTask) -> ShardReport:
        """Check the range once more, connect to the ports of the policy, keep who answered."""
        shard, _, where = await self._start(task, NativeTool.NMAP)
        pinning = await target_pinning.pinning_of(
            self._database, self._settings, where.team_id, at=_now()
        )
        planned = PinnedTarget.model_validate(shard.plan["pinned"])
        target = target_pinning.passing_target(
            where.team_id, planned.kind, planned.value, at=planned.pinned_at
        )
        pinned = await pinning.verify(planned, target)
        policy = ScanPolicy.model_validate(shard.plan["policy"])
        jobs = native_plan.jobs(NativeTool.NMAP, pinned, policy)
        hosts = defaultdict[str, set[int]](set)
        wanting: list[str] = []
        async with (
            ShardProgress(self._database, task, total=100) as progress,
            aclosing(self._run(task, jobs, progress)) as words,
        ):
            async for word in words:
                if isinstance(word, NativeFinding) and word.rule == "open-port":
                    *_, address, protocol, port = word.identity
                    if protocol == "tcp":
                        hosts[address].add(int(port))
                elif isinstance(word, AssetCoverage):
                    if word.outcome is AssetOutcome.ASSESSED:
                        hosts[word.asset].update(())  # it answered, if only to refuse
                    elif word.outcome is not AssetOutcome.UNREACHABLE:
                        wanting.append(f"{word.asset}: {word.reason}")
        async with self._database.transaction() as session:
            await assets.keep_seen(session, task.scan_id, task.key, hosts)
        report = await self._report(where, _coverage(pinned, wanting), 0, 0)
        await self._forget(task)  # last: a worker that dies before it loses nothing
        return report

    @activity.defn
    async def join_assets(self, request: ScanRequest) -> AssetCounts:
        """Join what the inventory, the network and the targets say now into the list of assets.

        Where a range was not seen to its end, what answered there before counts as there.
        """
        async with heartbeating():
            async with self._database.transaction() as session:
                scan = await scan_state.load_scan(session, request.scan_id)
                looked = await assets.looked_at_by(session, scan.id)
                seen = await assets.seen_by(session, scan.id)
                before = await assets.seen_before(session, scan.team_id)
                wanted = await targets.all_enabled(session, scan.team_id)
            seen += await asyncio.to_thread(_not_looked_at, before, looked)
            claims = await self._claims(scan.team_id)
            named = [claim for claim in map(_claim, wanted) if claim is not None]
            names = {each.where for each in claims if each.is_name}
            names |= {each.where for each in named if each.is_name}
            addresses_of = await self._addresses_of(scan.team_id, sorted(names)[:MOST_NAMES])
            facts = await asyncio.to_thread(join, claims, named, seen, looked, addresses_of)
            async with self._database.transaction() as session:
                counts = await assets.write_assets(session, scan.team_id, facts, at=_now())
                told = ", ".join(f"{number} {what}" for what, number in counts.model_dump().items())
                await scan_state.add_notes(session, scan.id, [f"Assets: {told}."])
        return counts

    async def _claims(self, team_id: UUID) -> list[CloudClaim]:
        claims: list[CloudClaim] = []
        loopback = self._settings.allow_loopback_targets
        async with self._database.transaction() as session:
            async for row in assets.resources_of(session, team_id, PLACES):
                found = claims_of(
                    Provider(row.provider),
                    row.type,
                    row.id,
                    row.attributes,
                    allow_loopback=loopback,
                )
                claims += found.claims
        return claims

    async def _addresses_of(self, team_id: UUID, names: Sequence[str]) -> dict[str, list[str]]:
        """The addresses of the names that lie in a scope; every address is in one, too."""
        now = _now()
        pinning = await target_pinning.pinning_of(self._database, self._settings, team_id, at=now)
        slots = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def look_up(name: str) -> tuple[str, list[str]]:
            async with slots:
                return name, await _pinned(pinning, team_id, name, now)

        found = await asyncio.gather(*map(look_up, names))
        return {name: addresses for name, addresses in found if addresses}


async def _pinned(pinning: Pinning, team_id: UUID, name: str, now: datetime) -> list[str]:
    target = target_pinning.passing_target(team_id, TargetKind.HOST, name, at=now)
    try:
        return (await pinning.pin(target)).addresses
    except (TargetInvalid, TargetUnreachable):  # out of scope, or nobody knows it
        return []


def _not_looked_at(hosts: Sequence[HostSeen], looked: Sequence[RangeLooked]) -> list[HostSeen]:
    return [host for host in hosts if not was_looked_at(host.address, looked)]


def _ranges(scopes: Iterable[Scope]) -> list[Network]:
    """The networks of these scopes in ranges as large as a target may be, none within another."""
    ranges: dict[Network, None] = {}
    for scope in scopes:
        for entry in scope.allows:
            if entry.kind is not ScopeKind.CIDR:
                continue
            network = ip_network(entry.value)
            bits = max(0, WIDEST_TARGET[network.version] - network.prefixlen)
            if len(ranges) + 2**bits > MOST_RANGES:
                raise ScopeInvalid(
                    f"With {network} of the scope {scope.name} there are more than {MOST_RANGES} "
                    f"ranges of a /{WIDEST_TARGET[network.version]}, which one discovery looks at.",
                    field="scopes",
                    fix="Name in `scopes` those with smaller networks.",
                )
            ranges |= dict.fromkeys(network.subnets(prefixlen_diff=bits))
    return [
        each
        for each in ranges
        if not any(other != each and within(each, other) for other in ranges)
    ]


def _claim(target: Target) -> TargetClaim | None:
    if target.kind not in (TargetKind.HOST, TargetKind.URL):
        return None
    try:
        value = parse_target(target.kind, target.value)
    except TargetInvalid:  # of an earlier version
        return None
    if value.name is not None:
        return TargetClaim(target.id, value.name, True)
    return TargetClaim(target.id, str(value.network[0]), False) if value.network else None


def _shard(pinned: PinnedTarget, policy: ScanPolicy) -> scan_state.PlannedShard:
    return scan_state.PlannedShard(
        kind=TaskKind.NATIVE,
        key=f"{assets.RANGE}{pinned.value}",
        title=f"Look at {pinned.value}",
        batch=0,
        plan={
            "policy": policy.model_dump(mode="json"),
            "pinned": pinned.model_dump(mode="json"),
        },
    )


def _coverage(pinned: PinnedTarget, wanting: list[str]) -> Coverage:
    return Coverage(
        planned=1,
        run=0 if wanting else 1,
        not_assessed=1 if wanting else 0,
        problems=[
            Problem(
                service=NativeTool.NMAP,
                region=pinned.value,
                error_class=ErrorClass.OTHER,
                count=len(wanting),
                message="; ".join(wanting)[:300],
            )
        ]
        if wanting
        else [],
    )


def _now() -> datetime:
    return datetime.now(UTC)
