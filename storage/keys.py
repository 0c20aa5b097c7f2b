"""API keys: made once, stored as a hash, looked up on every call."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.keys import Caller, Key, KeyCreated, NewKey
from contracts.vocabulary import Role
from storage import cursors
from storage.tables import KeyRow, TeamRow

SECRET_PREFIX: Final = "csk_"  # noqa: S105 (how a secret begins, so that scanners of code find it)
SECRET_BYTES: Final = 32
SHOWN_CHARACTERS: Final = 12
USED_EVERY: Final = timedelta(minutes=1)
"""`last_used_at` is no finer than this, so that reading does not write on every call."""


def new_secret() -> str:
    """A new key: 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """What is stored of a key. A plain hash: 256 random bits cannot be guessed, however fast."""
    return hashlib.sha256(secret.encode()).digest()


async def create_team(session: AsyncSession, name: str) -> UUID:
    """The team of this name, made if it does not exist."""
    await session.execute(insert(TeamRow).values(name=name).on_conflict_do_nothing())
    return (await session.execute(select(TeamRow.id).where(TeamRow.name == name))).scalar_one()


async def create_key(
    session: AsyncSession, team_id: UUID, key: NewKey, *, at: datetime
) -> KeyCreated:
    """A new key of the team; nothing but this answer ever holds its secret."""
    secret = new_secret()
    row = await store_key(session, team_id, key, secret, at=at)
    return KeyCreated(**_shown(row).model_dump(), key=secret)


async def store_key(
    session: AsyncSession, team_id: UUID, key: NewKey, secret: str, *, at: datetime
) -> KeyRow:
    """Store a key under a secret that the caller made."""
    row = KeyRow(
        team_id=team_id,
        name=key.name,
        role=key.role,
        prefix=secret[:SHOWN_CHARACTERS],
        hash=hash_secret(secret),
        created_at=at,
        last_used_at=None,
        revoked_at=None,
    )
    session.add(row)
    await session.flush()
    return row


async def list_keys(
    session: AsyncSession, team_id: UUID, *, limit: int, cursor: str | None = None
) -> Page[Key]:
    """The team's keys, newest first, revoked ones too."""
    query = select(KeyRow).where(KeyRow.team_id == team_id)
    after = cursors.decode_id("keys", cursor)
    if after is not None:
        query = query.where(KeyRow.id < after)
    rows = (await session.scalars(query.order_by(KeyRow.id.desc()).limit(limit + 1))).all()
    more = len(rows) > limit
    return Page(
        items=[_shown(row) for row in rows[:limit]],
        next_cursor=cursors.encode("keys", rows[limit - 1].id) if more else None,
    )


async def revoke_key(session: AsyncSession, team_id: UUID, key_id: UUID, *, at: datetime) -> Key:
    """Idempotent: the first time counts. Conflict for the team's last admin key."""
    # The team's row is the lock: of two admin keys revoked at once, one stays.
    await session.execute(
        select(TeamRow.id).where(TeamRow.id == team_id).with_for_update(key_share=True)
    )
    row = (
        await session.scalars(select(KeyRow).where(KeyRow.id == key_id, KeyRow.team_id == team_id))
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such key in this team.")
    if row.revoked_at is not None:
        return _shown(row)
    if row.role == Role.ADMIN and await _admins(session, team_id) == 1:
        raise Conflict(
            "This is the team's last admin key.",
            fix="Create another admin key first; without one nobody can manage the team.",
        )
    row.revoked_at = at
    await session.flush()
    return _shown(row)


async def authenticate(session: AsyncSession, secret: str, *, at: datetime) -> Caller | None:
    """Who holds this key; None if it is unknown or revoked."""
    row = (
        await session.execute(
            select(KeyRow.id, KeyRow.team_id, KeyRow.role, KeyRow.last_used_at).where(
                KeyRow.hash == hash_secret(secret), KeyRow.revoked_at.is_(None)
            )
        )
    ).one_or_none()
    if row is None:
        return None
    if row.last_used_at is None or row.last_used_at <= at - USED_EVERY:
        await _note_use(session, row.id, at)
    return Caller(key_id=row.id, team_id=row.team_id, role=Role(row.role))


async def key_name(session: AsyncSession, key_id: UUID) -> str:
    """What people call a key: who did something, in histories."""
    return str(await session.scalar(select(KeyRow.name).where(KeyRow.id == key_id)))


async def _note_use(session: AsyncSession, key_id: UUID, at: datetime) -> None:
    due = or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at <= at - USED_EVERY)
    # Skipping a locked row: calls with one key at the same time do not wait for each other.
    free = select(KeyRow.id).where(KeyRow.id == key_id, due).with_for_update(skip_locked=True)
    await session.execute(
        update(KeyRow)
        .where(KeyRow.id.in_(free))
        .values(last_used_at=at)
        .execution_options(synchronize_session=False)
    )


async def _admins(session: AsyncSession, team_id: UUID) -> int:
    query = select(func.count()).where(
        KeyRow.team_id == team_id, KeyRow.role == Role.ADMIN, KeyRow.revoked_at.is_(None)
    )
    return (await session.execute(query)).scalar_one()


def _shown(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        prefix=row.prefix,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
