"""A stored target is pinned, and verified against what is stored by then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from activities.target_pinning import pin_target, verify_target
from contracts.errors import NotFound, TargetInvalid
from contracts.targets import NewScope, NewTarget, ScopeChange, ScopeEntry
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule
from runtime.settings import Settings
from storage.database import Database
from storage.keys import create_team
from storage.targets import target_scopes, targets

NOW = datetime(2030, 1, 1, tzinfo=UTC)


async def names(name: str) -> Sequence[str]:
    """The name server of these tests."""
    return ["203.0.113.9", "203.0.113.10"]


async def test_a_target_is_verified_against_what_is_stored_by_then(database_url: str) -> None:
    database = Database.open(database_url, pool_size=2)
    settings = Settings.model_validate({"database_url": database_url})
    domain = ScopeEntry(kind=ScopeKind.DOMAIN, value="example.com")
    async with database.transaction() as session:
        team_id = await create_team(session, f"team-{uuid4()}")
        scope = await target_scopes.create_scope(
            session, team_id, NewScope(name="perimeter", allows=[domain]), who="admin", at=NOW
        )
        target = await targets.create_target(
            session, team_id, NewTarget(kind=TargetKind.HOST, value="example.com"), at=NOW
        )
    pinned = await pin_target(database, settings, team_id, target.id, at=NOW, resolver=names)
    assert pinned.addresses == ["203.0.113.9", "203.0.113.10"]
    assert pinned.scope == scope.ref()
    again = await verify_target(database, settings, pinned, at=NOW, resolver=names)
    assert again == pinned
    with pytest.raises(NotFound):
        await pin_target(database, settings, uuid4(), target.id, at=NOW, resolver=names)

    async with database.transaction() as session:
        end = ScopeChange(valid_until=NOW + timedelta(hours=1))
        await target_scopes.change_scope(session, team_id, scope.id, end, at=NOW)
    assert await verify_target(database, settings, pinned, at=NOW, resolver=names) == pinned
    later = NOW + timedelta(hours=1)
    with pytest.raises(TargetInvalid) as caught:
        await verify_target(database, settings, pinned, at=later, resolver=names)
    assert caught.value.rule is TargetRule.SCOPE_EXPIRED

    async with database.transaction() as session:
        await targets.delete_target(session, team_id, target.id)
    with pytest.raises(NotFound):
        await verify_target(database, settings, pinned, at=NOW, resolver=names)
    await database.close()
