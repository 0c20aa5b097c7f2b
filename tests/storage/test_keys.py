"""API keys: only their hash is kept, and a team keeps one admin."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from contracts.errors import Conflict, NotFound
from contracts.keys import KeyCreated, NewKey
from contracts.vocabulary import Role
from storage import keys
from storage.database import Database
from tests.storage.lab import Lab, at_once

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def _make(database: Database, team_id: UUID, role: Role = Role.ADMIN) -> KeyCreated:
    async with database.transaction() as session:
        return await keys.create_key(session, team_id, NewKey(name="key", role=role), at=NOW)


async def test_a_key_is_shown_once_and_stored_as_its_hash(lab: Lab) -> None:
    made = await _make(lab.database, lab.team_id, Role.OPERATOR)
    assert made.key.startswith("csk_")
    assert len(made.key) > 40
    assert made.key.startswith(made.prefix)
    stored = await lab.sql("SELECT api_key::text FROM api_key")
    assert all(made.key not in row for (row,) in stored)
    async with lab.database.transaction() as session:
        (listed,) = (await keys.list_keys(session, lab.team_id, limit=10)).items
        caller = await keys.authenticate(session, made.key, at=NOW)
        assert await keys.authenticate(session, made.key[:-1], at=NOW) is None
        assert await keys.authenticate(session, "", at=NOW) is None
    assert listed.model_dump() == made.model_dump(exclude={"key"})
    assert caller is not None
    assert (caller.team_id, caller.role, caller.key_id) == (lab.team_id, Role.OPERATOR, made.id)


async def test_last_use_is_written_at_most_once_a_minute(lab: Lab) -> None:
    made = await _make(lab.database, lab.team_id)
    written = []
    for seconds in (0, 30, 59, 60, 61, 130):
        async with lab.database.transaction() as session:
            await keys.authenticate(session, made.key, at=NOW + timedelta(seconds=seconds))
            (key,) = (await keys.list_keys(session, lab.team_id, limit=1)).items
            written.append(key.last_used_at)
    expected = [0, 0, 0, 60, 60, 130]
    assert written == [NOW + timedelta(seconds=seconds) for seconds in expected]


async def test_calls_with_one_key_at_once_do_not_wait_for_each_other(lab: Lab) -> None:
    made = await _make(lab.database, lab.team_id)
    async with lab.database.transaction() as first:
        assert await keys.authenticate(first, made.key, at=NOW)
        async with asyncio.timeout(10), lab.database.transaction() as second:
            assert await keys.authenticate(second, made.key, at=NOW)


async def test_a_revoked_key_opens_nothing_and_stays_listed(lab: Lab) -> None:
    made = await _make(lab.database, lab.team_id, Role.VIEWER)
    async with lab.database.transaction() as session:
        revoked = await keys.revoke_key(session, lab.team_id, made.id, at=NOW)
        again = await keys.revoke_key(session, lab.team_id, made.id, at=NOW + timedelta(hours=1))
        assert await keys.authenticate(session, made.key, at=NOW) is None
        assert (await keys.list_keys(session, lab.team_id, limit=1)).items == [revoked]
    assert revoked.revoked_at == again.revoked_at == NOW


async def test_the_last_admin_key_cannot_be_revoked(lab: Lab) -> None:
    first = await _make(lab.database, lab.team_id)
    await _make(lab.database, lab.team_id, Role.OPERATOR)

    async def revoke(key: KeyCreated) -> None:
        async with lab.database.transaction() as session:
            await keys.revoke_key(session, lab.team_id, key.id, at=NOW)

    with pytest.raises(Conflict, match="last admin key"):
        await revoke(first)
    second = await _make(lab.database, lab.team_id)
    outcomes = await at_once(revoke(first), revoke(second))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]


async def test_keys_of_another_team_are_not_found(lab: Lab) -> None:
    made = await _make(lab.database, lab.team_id)
    async with lab.database.transaction() as session:
        other = await keys.create_team(session, "other")
        assert await keys.create_team(session, "other") == other
        with pytest.raises(NotFound):
            await keys.revoke_key(session, other, made.id, at=NOW)
        with pytest.raises(NotFound):
            await keys.revoke_key(session, lab.team_id, uuid4(), at=NOW)
        assert (await keys.list_keys(session, other, limit=5)).items == []


async def test_keys_are_paged_newest_first(lab: Lab) -> None:
    made = [(await _make(lab.database, lab.team_id)).id for _ in range(5)]
    found, cursor = [], None
    async with lab.database.transaction() as session:
        while True:
            page = await keys.list_keys(session, lab.team_id, limit=2, cursor=cursor)
            found += [key.id for key in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == made[::-1]
