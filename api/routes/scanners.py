"""Scanners: what this machine can scan with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Viewer
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Shared
from contracts.base import Page
from contracts.native import ScannerInfo
from storage import cursors

router = APIRouter(prefix=f"{BASE}/scanners", tags=["scanners"])


@router.get("", responses=described(), summary="List scanners")
async def list_scanners(
    query: Annotated[PageQuery, Query()], caller: Viewer, shared: Shared
) -> Page[ScannerInfo]:
    """The scanners that Cloudsweep knows, and which of them the API's own machine has.

    Workers on other machines may have others: there, `cloudsweep scanners list` tells.
    """
    after = (cursors.decode("scanners", query.cursor, [str]) or [""])[0]
    known = sorted(await shared.inventory.list(shared.settings), key=lambda each: each.name)
    items = [each for each in known if each.name > after]
    shown = items[: query.limit]
    is_last = len(items) <= query.limit
    return Page(
        items=shown, next_cursor=None if is_last else cursors.encode("scanners", shown[-1].name)
    )
