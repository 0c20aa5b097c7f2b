"""Targets of native scans: create, list, change, delete, and ask whether they may be scanned."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples
from api.auth import Operator, Viewer
from api.filters import TargetListQuery
from api.problems import Refusal, described
from api.routes import BASE
from api.state import Now, Session, Shared
from api.target_control import check_target as checked
from api.target_control import judge_of
from contracts.base import Page
from contracts.targets import NewTarget, Target, TargetChange, TargetCheck
from scanners.targets.target_values import parse_target
from storage.targets import targets

router = APIRouter(prefix=f"{BASE}/targets", tags=["targets"])


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=described(409, 413), summary="Add a target"
)
async def create_target(
    new: Annotated[NewTarget, Body(openapi_examples=examples.TARGETS)],
    caller: Operator,
    session: Session,
    shared: Shared,
    now: Now,
    response: Response,
) -> Target:
    """Register something to scan. It is kept in one canonical form, and has to lie in a scope.

    Its name is not looked up yet: `POST /targets/{id}/check` does, and so does every scan.
    """
    value = parse_target(new.kind, new.value)
    judge = await judge_of(session, shared.settings, caller.team_id, at=now)
    scope = judge.judge(value)
    canonical = new.model_copy(update={"value": value.text})
    made = await targets.create_target(session, caller.team_id, canonical, at=now)
    response.headers["Location"] = f"{BASE}/targets/{made.id}"
    return made.model_copy(update={"scope": scope})


@router.get("", responses=described(), summary="List targets")
async def list_targets(
    query: Annotated[TargetListQuery, Query()],
    caller: Viewer,
    session: Session,
    shared: Shared,
    now: Now,
) -> Page[Target]:
    """The team's targets, oldest first; `scope` is null on those that no scope allows any more."""
    page = await targets.list_targets(session, caller.team_id, **query.model_dump())
    judge = await judge_of(session, shared.settings, caller.team_id, at=now)
    return Page(items=list(map(judge.with_scope, page.items)), next_cursor=page.next_cursor)


@router.get("/{target_id}", responses=described(404), summary="Show a target")
async def get_target(
    target_id: UUID, caller: Viewer, session: Session, shared: Shared, now: Now
) -> Target:
    """One target of the team, and the scope that it lies in."""
    target = await targets.get_target(session, caller.team_id, target_id)
    judge = await judge_of(session, shared.settings, caller.team_id, at=now)
    return judge.with_scope(target)


@router.patch("/{target_id}", responses=described(404, 413), summary="Change a target")
async def change_target(
    target_id: UUID,
    change: TargetChange,
    caller: Operator,
    session: Session,
    shared: Shared,
    now: Now,
) -> Target:
    """Change its tags, or disable it: a disabled target is not scanned. Another value is another
    target.
    """
    nulls = [name for name in sorted(change.model_fields_set) if getattr(change, name) is None]
    if nulls:
        raise Refusal(
            422,
            "A field that every target has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )
    changed = await targets.change_target(session, caller.team_id, target_id, change, at=now)
    judge = await judge_of(session, shared.settings, caller.team_id, at=now)
    return judge.with_scope(changed)


@router.delete(
    "/{target_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404),
    summary="Remove a target",
)
async def delete_target(target_id: UUID, caller: Operator, session: Session) -> None:
    """Remove a target."""
    await targets.delete_target(session, caller.team_id, target_id)


@router.post("/{target_id}/check", responses=described(404), summary="Check a target")
async def check_target(target_id: UUID, caller: Operator, shared: Shared, now: Now) -> TargetCheck:
    """Look it up now, within some seconds, from the API: which scope allows it and at which
    addresses, or which rule refuses it and what to do. Nothing is connected to.
    """
    async with shared.database.transaction() as session:
        target = await targets.get_target(session, caller.team_id, target_id)
    return await checked(shared.database, shared.settings, target, at=now)
