"""Scopes: what a team may scan. An approval, so that only admins make, change and delete them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples
from api.auth import Admin, Viewer
from api.filters import ScopeListQuery
from api.problems import Refusal, described
from api.routes import BASE
from api.state import Now, Session, Shared
from api.target_control import refuse_while_relied_on
from contracts.base import Page
from contracts.targets import NewScope, Scope, ScopeChange
from scanners.targets.scope_judgement import read_entries
from storage import keys
from storage.targets import target_scopes

router = APIRouter(prefix=f"{BASE}/scopes", tags=["scopes"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=described(409, 413),
    summary="Approve a scope",
)
async def create_scope(
    new: Annotated[NewScope, Body(openapi_examples=examples.SCOPES)],
    caller: Admin,
    session: Session,
    shared: Shared,
    now: Now,
    response: Response,
) -> Scope:
    """Say what the team may scan, who approved it, and until when.

    Metadata services, loopback, link-local and the like are never scanned, whatever a scope says.
    Private networks are scanned only when a scope names them: a wider network does not.
    """
    if new.valid_until is not None and new.valid_until <= now:
        errors = [("valid_until", "This time has passed. Choose a later one.")]
        raise Refusal(422, "1 field of the request is wrong.", errors=errors)
    allowed = read_entries(new.allows, allow_loopback=shared.settings.allow_loopback_targets)
    canonical = new.model_copy(update={"allows": allowed})
    who = await keys.key_name(session, caller.key_id)
    made = await target_scopes.create_scope(session, caller.team_id, canonical, who=who, at=now)
    response.headers["Location"] = f"{BASE}/scopes/{made.id}"
    return made


@router.get("", responses=described(), summary="List scopes")
async def list_scopes(
    query: Annotated[ScopeListQuery, Query()], caller: Viewer, session: Session, now: Now
) -> Page[Scope]:
    """The team's scopes, oldest first, also those that have ended."""
    return await target_scopes.list_scopes(session, caller.team_id, at=now, **query.model_dump())


@router.get("/{scope_id}", responses=described(404), summary="Show a scope")
async def get_scope(scope_id: UUID, caller: Viewer, session: Session) -> Scope:
    """One scope: what it allows, by whose approval, and until when."""
    return await target_scopes.get_scope(session, caller.team_id, scope_id)


@router.patch("/{scope_id}", responses=described(404, 409, 413), summary="Change a scope")
async def change_scope(
    scope_id: UUID, change: ScopeChange, caller: Admin, session: Session, shared: Shared, now: Now
) -> Scope:
    """Change only the fields that are sent; null clears `valid_until`, a time that has passed ends
    the scope. Targets that it no longer allows are refused from their next check on.
    """
    nulls = [
        name
        for name in sorted(change.model_fields_set - {"valid_until"})
        if getattr(change, name) is None
    ]
    if nulls:
        raise Refusal(
            422,
            "A field that every scope has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )
    if change.allows is not None:
        allowed = read_entries(change.allows, allow_loopback=shared.settings.allow_loopback_targets)
        change = change.model_copy(update={"allows": allowed})
    return await target_scopes.change_scope(session, caller.team_id, scope_id, change, at=now)


@router.delete(
    "/{scope_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404, 409),
    summary="Delete a scope",
)
async def delete_scope(scope_id: UUID, caller: Admin, session: Session, now: Now) -> None:
    """Delete a scope; 409, which names them, while targets lie in this scope only."""
    scope = await target_scopes.get_scope(session, caller.team_id, scope_id)
    await refuse_while_relied_on(session, scope, at=now)
    await target_scopes.delete_scope(session, caller.team_id, scope_id)
