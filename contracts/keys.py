"""API keys as people see them; the secret itself is shown once, in `KeyCreated`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from contracts.base import Contract, PlainText
from contracts.vocabulary import Role


class NewKey(Contract):
    """A key to create in the caller's team."""

    name: PlainText = Field(min_length=1, max_length=100)
    role: Role = Role.VIEWER


class Key(Contract):
    """A key without its secret; `prefix` is the part that may be shown to tell keys apart."""

    id: UUID
    name: str
    role: Role
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class KeyCreated(Key):
    """The only answer that ever carries the secret."""

    key: str


class Caller(Contract):
    """Who is asking: the team every row is looked up in, and what the key may do."""

    key_id: UUID
    team_id: UUID
    role: Role
