"""Resources: the inventory that discovery brought."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.auth import Viewer
from api.filters import ResourceListQuery
from api.problems import described
from api.routes import BASE
from api.state import Session
from contracts.base import Page
from contracts.resources import Resource
from storage.inventory import resources

router = APIRouter(prefix=f"{BASE}/resources", tags=["resources"])


@router.get("", responses=described(), summary="List resources")
async def list_resources(
    query: Annotated[ResourceListQuery, Query()], caller: Viewer, session: Session
) -> Page[Resource]:
    """The team's cloud resources; `gone_at` is set once a discovery no longer sees one."""
    return await resources.list_resources(
        session, caller.team_id, query.filter(), limit=query.limit, cursor=query.cursor
    )


@router.get("/{resource_id}", responses=described(404), summary="Show a resource")
async def get_resource(resource_id: UUID, caller: Viewer, session: Session) -> Resource:
    """One resource with its tags and attributes."""
    return await resources.get_resource(session, caller.team_id, resource_id)
