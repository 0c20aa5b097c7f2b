"""Scan policies: how hard native scans may work. They protect what is scanned: admins set them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response, status

from api import examples
from api.auth import Admin, Viewer
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session
from contracts.base import Page
from contracts.native import PolicyLimits, PolicyName, ShownScanPolicy
from storage import keys
from storage.scans import scan_policies

router = APIRouter(prefix=f"{BASE}/scan-policies", tags=["scan policies"])

Name = Annotated[PolicyName, Path(description="Small letters, digits and hyphens.")]


@router.get("", responses=described(), summary="List scan policies")
async def list_scan_policies(
    query: Annotated[PageQuery, Query()], caller: Viewer, session: Session
) -> Page[ShownScanPolicy]:
    """The built-in ones and the team's own, in the order of names."""
    return await scan_policies.list_policies(session, caller.team_id, **query.model_dump())


@router.get("/{name}", responses=described(404), summary="Show a scan policy")
async def get_scan_policy(name: Name, caller: Viewer, session: Session) -> ShownScanPolicy:
    """One policy: pace, ports, checks and limits."""
    return await scan_policies.get_policy(session, caller.team_id, name)


@router.put(
    "/{name}",
    responses={
        **described(409, 413),
        status.HTTP_201_CREATED: {"model": ShownScanPolicy, "description": "It is new."},
    },
    summary="Set a scan policy",
)
async def set_scan_policy(
    name: Name,
    limits: Annotated[PolicyLimits, Body(openapi_examples=examples.SCAN_POLICIES)],
    caller: Admin,
    session: Session,
    now: Now,
    response: Response,
) -> ShownScanPolicy:
    """Make or replace a policy of the team's own; whatever is left out has its default.

    Scans that are planned already keep the limits that they were planned with. A built-in policy
    stays as it is: 409.
    """
    who = await keys.key_name(session, caller.key_id)
    policy, is_new = await scan_policies.set_policy(
        session, caller.team_id, name, limits, who=who, at=now
    )
    if is_new:
        response.status_code = status.HTTP_201_CREATED
        response.headers["Location"] = f"{BASE}/scan-policies/{name}"
    return policy


@router.delete(
    "/{name}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404, 409),
    summary="Delete a scan policy",
)
async def delete_scan_policy(name: Name, caller: Admin, session: Session) -> None:
    """Delete one of the team's own; 409, which names them, while schedules use it."""
    await scan_policies.delete_policy(session, caller.team_id, name)
