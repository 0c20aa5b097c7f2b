"""API keys: create, list, revoke; for admins."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from api.auth import Admin
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session
from contracts.base import Page
from contracts.keys import Key, KeyCreated, NewKey
from storage import keys

router = APIRouter(prefix=f"{BASE}/keys", tags=["keys"])


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=described(409, 413), summary="Create a key"
)
async def create_key(key: NewKey, caller: Admin, session: Session, now: Now) -> KeyCreated:
    """Create a key in the caller's team. The answer is the only one that holds its secret."""
    return await keys.create_key(session, caller.team_id, key, at=now)


@router.get("", responses=described(), summary="List keys")
async def list_keys(
    query: Annotated[PageQuery, Query()], caller: Admin, session: Session
) -> Page[Key]:
    """The team's keys without their secrets, revoked ones too."""
    return await keys.list_keys(session, caller.team_id, limit=query.limit, cursor=query.cursor)


@router.delete("/{key_id}", responses=described(404, 409), summary="Revoke a key")
async def revoke_key(key_id: UUID, caller: Admin, session: Session, now: Now) -> Key:
    """Revoke a key at once and for good; the team's last admin key is refused with 409."""
    return await keys.revoke_key(session, caller.team_id, key_id, at=now)
