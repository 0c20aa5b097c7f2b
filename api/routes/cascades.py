"""Cascades: rules that start a scan of targets from what another found. Admins keep them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import cascade_control, examples
from api.auth import Admin, Operator, Viewer
from api.pagination import PageQuery
from api.problems import Refusal, described
from api.routes import BASE
from api.state import Now, Session, Shared
from contracts.base import Page
from contracts.cascades import (
    Cascade,
    CascadeChange,
    CascadePreview,
    CascadePreviewRequest,
    NewCascade,
)
from storage.cascades import cascades

router = APIRouter(prefix=f"{BASE}/cascades", tags=["cascades"])


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=described(409, 413), summary="Add a rule"
)
async def create_cascade(
    new: Annotated[NewCascade, Body(openapi_examples=examples.CASCADES)],
    caller: Admin,
    session: Session,
    now: Now,
    response: Response,
) -> Cascade:
    """Say which scan follows what a scan finds new. It does nothing until it is enabled.

    What follows stays in the scopes of the scan that the chain began with; each rule starts one
    scan in each chain.
    """
    await cascade_control.refuse_unknown(session, caller.team_id, new.then)
    made = await cascades.create_rule(session, caller.team_id, new, at=now)
    response.headers["Location"] = f"{BASE}/cascades/{made.id}"
    return made


@router.get("", responses=described(), summary="List rules")
async def list_cascades(
    query: Annotated[PageQuery, Query()], caller: Viewer, session: Session, now: Now
) -> Page[Cascade]:
    """The team's rules, oldest first; those that come with Cloudsweep are disabled at first."""
    return await cascades.list_rules(session, caller.team_id, at=now, **query.model_dump())


@router.post("/preview", responses=described(404, 413), summary="Preview what follows a scan")
async def preview_cascades(
    asked: Annotated[CascadePreviewRequest, Body(openapi_examples=examples.CASCADE_PREVIEWS)],
    caller: Operator,
    session: Session,
    shared: Shared,
    now: Now,
) -> CascadePreview:
    """What a rule would make of a scan, enabled or not: the targets, tools and scopes, and what is
    refused by which rule. Starts nothing and looks no name up. Without a rule, all of the team's.
    """
    return await cascade_control.preview(session, shared.settings, caller.team_id, asked, at=now)


@router.get("/{rule_id}", responses=described(404), summary="Show a rule")
async def get_cascade(rule_id: UUID, caller: Viewer, session: Session) -> Cascade:
    """One rule: what it waits for, and what it starts."""
    return await cascades.get_rule(session, caller.team_id, rule_id)


@router.patch("/{rule_id}", responses=described(404, 409, 413), summary="Change a rule")
async def change_cascade(
    rule_id: UUID, change: CascadeChange, caller: Admin, session: Session, now: Now
) -> Cascade:
    """Change only the fields that are sent; `when` and `then` are replaced as a whole."""
    nulls = [name for name in sorted(change.model_fields_set) if getattr(change, name) is None]
    if nulls:
        raise Refusal(
            422,
            "A field that every rule has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )
    if change.then is not None:
        await cascade_control.refuse_unknown(session, caller.team_id, change.then)
    return await cascades.change_rule(session, caller.team_id, rule_id, change, at=now)


@router.delete(
    "/{rule_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404, 409),
    summary="Delete a rule",
)
async def delete_cascade(rule_id: UUID, caller: Admin, session: Session) -> None:
    """Delete a rule; what it started goes on. 409 for those that come with Cloudsweep."""
    await cascades.delete_rule(session, caller.team_id, rule_id)
