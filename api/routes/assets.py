"""Assets: what is exposed, what is known and what is not, out of inventory, network and targets."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.auth import Viewer
from api.filters import AssetListQuery, AssetQuery
from api.problems import described
from api.routes import BASE
from api.state import Session
from contracts.assets import Asset, AssetSummary
from contracts.base import Page
from storage.inventory import assets

router = APIRouter(prefix=f"{BASE}/assets", tags=["assets"])


@router.get("", responses=described(), summary="List assets")
async def list_assets(
    query: Annotated[AssetListQuery, Query()], caller: Viewer, session: Session
) -> Page[Asset]:
    """The addresses and names that hybrid discovery joined, newest first, without what is gone."""
    return await assets.list_assets(
        session, caller.team_id, query.filter(), limit=query.limit, cursor=query.cursor
    )


@router.get("/summary", responses=described(), summary="Summarize assets")
async def summarize_assets(
    query: Annotated[AssetQuery, Query()], caller: Viewer, session: Session
) -> AssetSummary:
    """How many of them are exposed, managed, unmanaged, unseen, and who knows them."""
    return await assets.summarize_assets(session, caller.team_id, query.filter())


@router.get("/{asset_id}", responses=described(404), summary="Show an asset")
async def get_asset(asset_id: UUID, caller: Viewer, session: Session) -> Asset:
    """One asset: its names, open ports, and the resources and targets that it is."""
    return await assets.get_asset(session, caller.team_id, asset_id)
