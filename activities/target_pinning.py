"""Whether a stored target may be scanned, as planning, every attempt and people ask it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from contracts.targets import PinnedTarget, Target
from contracts.vocabulary import TargetKind
from runtime.own_servers import own_servers
from runtime.settings import Settings
from runtime.temporal import connect_config
from scanners.targets.scope_judgement import Approval, Surroundings, approvals_of
from scanners.targets.target_resolution import Pinning, Resolver, look_around, system_resolver
from storage.database import Database
from storage.targets import target_scopes, targets


async def pin_target(
    database: Database,
    settings: Settings,
    team_id: UUID,
    target_id: UUID,
    *,
    at: datetime,
    scopes: Collection[UUID] | None = None,
    resolver: Resolver = system_resolver,
) -> PinnedTarget:
    """Look the target up once and check every address; TargetInvalid says which rule refuses it.

    With `scopes`, only these of the team's allow it.
    """
    target, pinning = await _judged(database, settings, team_id, target_id, at, scopes, resolver)
    return await pinning.pin(target)


async def verify_target(
    database: Database,
    settings: Settings,
    pinned: PinnedTarget,
    *,
    at: datetime,
    scopes: Collection[UUID] | None = None,
    resolver: Resolver = system_resolver,
) -> PinnedTarget:
    """Check a pinned target again, at execution and at each retry: what may be connected to now."""
    target, pinning = await _judged(
        database, settings, pinned.team_id, pinned.target_id, at, scopes, resolver
    )
    return await pinning.verify(pinned, target)


async def pinning_of(
    database: Database,
    settings: Settings,
    team_id: UUID,
    *,
    at: datetime,
    resolver: Resolver = system_resolver,
) -> Pinning:
    """What this team's targets are judged by now, also those that are no rows."""
    async with database.transaction() as session:
        scopes = await target_scopes.all_scopes(session, team_id)
    # No connection is held while name servers are asked.
    around = await surroundings_of(settings, resolver=resolver)
    return Pinning(approvals_of(scopes), around, at, resolver)


def passing_target(team_id: UUID, kind: TargetKind, value: str, *, at: datetime) -> Target:
    """A target that is no row: a range of a scope, a name that the inventory has."""
    return Target(
        id=UUID(int=0),
        team_id=team_id,
        kind=kind,
        value=value,
        tags={},
        enabled=True,
        scope=None,
        created_at=at,
        updated_at=at,
    )


async def surroundings_of(
    settings: Settings, *, resolver: Resolver = system_resolver
) -> Surroundings:
    """What this installation is, with its own servers looked up."""
    temporal = connect_config(settings)["target_host"]
    return await look_around(
        own_servers(settings, temporal),
        allow_loopback=settings.allow_loopback_targets,
        own_paths=[str(settings.data_dir)],
        resolver=resolver,
    )


async def _judged(
    database: Database,
    settings: Settings,
    team_id: UUID,
    target_id: UUID,
    at: datetime,
    within_scopes: Collection[UUID] | None,
    resolver: Resolver,
) -> tuple[Target, Pinning]:
    async with database.transaction() as session:
        target = await targets.get_target(session, team_id, target_id)
    pinning = await pinning_of(database, settings, team_id, at=at, resolver=resolver)
    return target, replace(pinning, approvals=within(pinning.approvals, within_scopes))


def within(approvals: Sequence[Approval], scopes: Collection[UUID] | None) -> list[Approval]:
    """Only the approvals of these scopes; None means all."""
    return [each for each in approvals if scopes is None or each.scope.id in scopes]
