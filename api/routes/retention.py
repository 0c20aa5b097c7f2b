"""Retention: how long what is over is kept, what a cycle would delete, legal holds."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples
from api.auth import Admin, Viewer
from api.filters import HoldListQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session
from contracts.base import Page
from contracts.retention import (
    Hold,
    NewHold,
    PolicyChange,
    ProposedPolicies,
    RetentionPolicy,
    RetentionPreview,
)
from contracts.vocabulary import RetentionKind
from storage import keys
from storage.retention import retention, retention_holds, retention_policies

router = APIRouter(prefix=f"{BASE}/retention", tags=["retention"])


@router.get("", responses=described(), summary="Show the retention policies")
async def list_retention(caller: Viewer, session: Session) -> Page[RetentionPolicy]:
    """For how many days the team keeps each kind of row, null is for ever, and what was deleted of
    it last. All kinds are on the one page.
    """
    return Page(items=await retention_policies.list_policies(session, caller.team_id))


@router.post("/preview", responses=described(413), summary="Preview what is deleted")
async def preview_retention(
    caller: Viewer,
    session: Session,
    now: Now,
    proposed: Annotated[
        ProposedPolicies | None, Body(openapi_examples=examples.RETENTION_PREVIEWS)
    ] = None,
) -> RetentionPreview:
    """Count what a cycle that began now would delete, what legal holds hold back, and what is old
    but still needed; by the stored policies, or by those of the body before they are saved.
    """
    days = proposed.keep_days if proposed else {}
    return await retention.preview(session, caller.team_id, days, at=now)


@router.get("/holds", responses=described(), summary="List legal holds")
async def list_holds(
    query: Annotated[HoldListQuery, Query()], caller: Viewer, session: Session
) -> Page[Hold]:
    """The team's holds, newest first; with `lifted=true` those that were lifted."""
    return await retention_holds.list_holds(session, caller.team_id, **query.model_dump())


@router.post(
    "/holds",
    status_code=status.HTTP_201_CREATED,
    responses=described(404, 409, 413),
    summary="Create a legal hold",
)
async def create_hold(
    new: Annotated[NewHold, Body(openapi_examples=examples.HOLDS)],
    caller: Admin,
    session: Session,
    now: Now,
    response: Response,
) -> Hold:
    """Hold back rows that match everything that is named: from this answer on no cycle deletes
    them, until the hold is lifted.
    """
    who = await keys.key_name(session, caller.key_id)
    hold = await retention_holds.create_hold(session, caller.team_id, new, who=who, at=now)
    response.headers["Location"] = f"{BASE}/retention/holds/{hold.id}"
    return hold


@router.get("/holds/{hold_id}", responses=described(404), summary="Show a legal hold")
async def get_hold(hold_id: UUID, caller: Viewer, session: Session) -> Hold:
    """One hold, also when it was lifted: what it holds, why, who made it and who lifted it."""
    return await retention_holds.get_hold(session, caller.team_id, hold_id)


@router.delete(
    "/holds/{hold_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404),
    summary="Lift a legal hold",
)
async def lift_hold(hold_id: UUID, caller: Admin, session: Session, now: Now) -> None:
    """Lift a hold: the next cycle deletes what only it held back. It can still be read."""
    who = await keys.key_name(session, caller.key_id)
    await retention_holds.lift_hold(session, caller.team_id, hold_id, who=who, at=now)


@router.put("/{kind}", responses=described(404, 413), summary="Change a retention policy")
async def change_retention(
    kind: RetentionKind, change: PolicyChange, caller: Admin, session: Session, now: Now
) -> RetentionPolicy:
    """Keep a kind for so many days, or for ever; the next cycle goes by it. Preview it first."""
    who = await keys.key_name(session, caller.key_id)
    return await retention_policies.save_policy(
        session, caller.team_id, kind, change.keep_days, who=who, at=now
    )
