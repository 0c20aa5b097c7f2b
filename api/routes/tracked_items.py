"""Tracked items: what expires one day, so that schedules can act before it does."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples
from api.auth import Operator, Viewer
from api.filters import ItemListQuery
from api.problems import Refusal, described
from api.routes import BASE
from api.state import Now, Session
from contracts.base import Page
from contracts.tracked_items import NewTrackedItem, TrackedItem, TrackedItemChange
from storage.schedules import tracked_items

FIRST_YEAR: Final = 1990
LAST_YEAR: Final = 9990

router = APIRouter(prefix=f"{BASE}/tracked-items", tags=["tracked items"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=described(409, 413),
    summary="Track an item",
)
async def create_tracked_item(
    item: Annotated[NewTrackedItem, Body(openapi_examples=examples.ITEMS)],
    caller: Operator,
    session: Session,
    now: Now,
    response: Response,
) -> TrackedItem:
    """Keep when something expires: a certificate, a credential, evidence, an acceptance.

    Schedules with an `expiry` trigger fire once per item and expiry, `lead_seconds` before it.
    """
    _refuse_odd_year(item.expires_at)
    made = await tracked_items.create_item(session, caller.team_id, item, at=now)
    response.headers["Location"] = f"{BASE}/tracked-items/{made.id}"
    return made


@router.get("", responses=described(), summary="List tracked items")
async def list_tracked_items(
    query: Annotated[ItemListQuery, Query()], caller: Viewer, session: Session
) -> Page[TrackedItem]:
    """The team's items, those first that expire first."""
    _refuse_odd_year(query.expires_before, "expires_before")
    return await tracked_items.list_items(session, caller.team_id, **query.model_dump())


@router.get("/{item_id}", responses=described(404), summary="Show a tracked item")
async def get_tracked_item(item_id: UUID, caller: Viewer, session: Session) -> TrackedItem:
    """One item: when it expires, when it is due, and whose it is."""
    return await tracked_items.get_item(session, caller.team_id, item_id)


@router.patch(
    "/{item_id}", responses=described(404, 409, 413), summary="Change or renew a tracked item"
)
async def change_tracked_item(
    item_id: UUID, change: TrackedItemChange, caller: Operator, session: Session, now: Now
) -> TrackedItem:
    """Change only the fields that are sent. A later `expires_at` renews the item: its expiry is
    armed again, and fires once more.
    """
    nulls = [name for name in sorted(change.model_fields_set) if getattr(change, name) is None]
    if nulls:
        raise Refusal(
            422,
            "A field that every tracked item has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )
    _refuse_odd_year(change.expires_at)
    return await tracked_items.change_item(session, caller.team_id, item_id, change, at=now)


@router.delete(
    "/{item_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404),
    summary="Stop tracking an item",
)
async def delete_tracked_item(item_id: UUID, caller: Operator, session: Session) -> None:
    """Forget an item; what its expiry has started goes on."""
    await tracked_items.delete_item(session, caller.team_id, item_id)


def _refuse_odd_year(moment: datetime | None, field: str = "expires_at") -> None:
    """Leads and zones are added to these times, so that they must stay away from the ends."""
    if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
        words = f"Choose a time between the years {FIRST_YEAR} and {LAST_YEAR}."
        raise Refusal(422, "1 field of the request is wrong.", errors=[(field, words)])
