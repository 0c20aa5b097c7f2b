"""Tracked items: kept by people, and read by the sweep for what is due."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.runs import RunItem
from contracts.schedules import ExpiryTrigger, StoredSchedule
from contracts.tracked_items import NewTrackedItem, TrackedItem, TrackedItemChange
from storage import cursors
from storage.schedules.schedule_tables import ExpiryFiringRow, TrackedItemRow


class Firing(NamedTuple):
    """An expiry that a schedule noticed and whose target is still to be started."""

    schedule_id: UUID
    item: RunItem
    lead_seconds: int


async def create_item(
    session: AsyncSession, team_id: UUID, item: NewTrackedItem, *, at: datetime
) -> TrackedItem:
    """A new item of the team; Conflict when there is one of this kind and name."""
    row = (
        await session.scalars(
            insert(TrackedItemRow)
            .values(
                team_id=team_id,
                due_at=item.expires_at - timedelta(seconds=item.lead_seconds),
                created_at=at,
                updated_at=at,
                **item.model_dump(),
            )
            .on_conflict_do_nothing()
            .returning(TrackedItemRow)
        )
    ).one_or_none()
    if row is None:
        raise _name_taken(item.kind, item.name)
    return _shown(row)


async def list_items(
    session: AsyncSession,
    team_id: UUID,
    *,
    kind: Sequence[str] | None = None,
    owner: Sequence[str] | None = None,
    expires_before: datetime | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[TrackedItem]:
    """The team's items, those first that expire first."""
    query = select(TrackedItemRow).where(TrackedItemRow.team_id == team_id)
    if kind is not None:
        query = query.where(TrackedItemRow.kind.in_(kind))
    if owner is not None:
        query = query.where(TrackedItemRow.owner.in_(owner))
    if expires_before is not None:
        query = query.where(TrackedItemRow.expires_at < expires_before)
    after = cursors.decode("tracked_items", cursor, [datetime.fromisoformat, UUID])
    if after is not None:
        query = query.where(
            text("(expires_at, id) > (:expires_at, :id)").bindparams(
                expires_at=after[0], id=after[1]
            )
        )
    ordered = query.order_by(TrackedItemRow.expires_at, TrackedItemRow.id)
    rows = (await session.scalars(ordered.limit(limit + 1))).all()
    shown = rows[:limit]
    return Page(
        items=[_shown(row) for row in shown],
        next_cursor=cursors.encode("tracked_items", shown[-1].expires_at.isoformat(), shown[-1].id)
        if len(rows) > limit
        else None,
    )


async def get_item(session: AsyncSession, team_id: UUID, item_id: UUID) -> TrackedItem:
    """One item of the team."""
    return _shown(await _row(session, team_id, item_id))


async def change_item(
    session: AsyncSession, team_id: UUID, item_id: UUID, change: TrackedItemChange, *, at: datetime
) -> TrackedItem:
    """Only fields that were given change. A new `expires_at` arms the expiry again."""
    row = await _row(session, team_id, item_id, lock=True)
    fields = {
        name: value
        for name, value in change.model_dump(exclude_unset=True).items()
        if value is not None
    }
    expires_at = fields.get("expires_at", row.expires_at)
    lead = fields.get("lead_seconds", row.lead_seconds)
    changed = (
        update(TrackedItemRow)
        .where(TrackedItemRow.id == item_id)
        .values(due_at=expires_at - timedelta(seconds=lead), updated_at=at, **fields)
        .returning(TrackedItemRow)
        .execution_options(populate_existing=True)
    )
    try:
        return _shown((await session.scalars(changed)).one())
    except IntegrityError:  # of what may change, only the name is unique
        raise _name_taken(row.kind, str(fields.get("name"))) from None


async def delete_item(session: AsyncSession, team_id: UUID, item_id: UUID) -> None:
    """Delete an item; what its expiry started goes on."""
    await _row(session, team_id, item_id)
    await session.execute(delete(TrackedItemRow).where(TrackedItemRow.id == item_id))


_NOTICE: Final = """
    INSERT INTO expiry_firing (schedule_id, item_id, expires_at, at)
    SELECT :schedule_id, item.id, item.expires_at, :at
    FROM tracked_item AS item
    WHERE item.team_id = :team_id AND item.kind = :kind AND {due}
      AND item.attributes @> CAST(:filter AS jsonb)
      AND NOT EXISTS (
          SELECT FROM expiry_firing AS known
          WHERE known.schedule_id = :schedule_id AND known.item_id = item.id
            AND known.expires_at = item.expires_at
      )
    ORDER BY item.expires_at, item.id
    LIMIT :limit
    ON CONFLICT DO NOTHING
"""


async def notice_due(
    session: AsyncSession, schedule: StoredSchedule, *, at: datetime, limit: int
) -> int:
    """Record what is due for an expiry schedule and was not noticed yet; how many that is.

    One query, however many items there are; an expiry is noticed once, for good.
    """
    trigger = schedule.trigger
    if not isinstance(trigger, ExpiryTrigger):
        return 0
    values: dict[str, Any] = {
        "schedule_id": schedule.id,
        "team_id": schedule.team_id,
        "kind": trigger.item_kind,
        "filter": json.dumps(trigger.filter),
        "at": at,
        "limit": limit,
    }
    due = "item.due_at <= :at"
    if trigger.lead_seconds is not None:
        due = "item.expires_at <= :horizon"
        values["horizon"] = at + timedelta(seconds=trigger.lead_seconds)
    found = await session.execute(text(_NOTICE.format(due=due)), values)
    return int(found.rowcount)  # type: ignore[attr-defined]  # a CursorResult, as of every INSERT


async def open_firings(
    session: AsyncSession, schedule_ids: Iterable[UUID], *, limit: int
) -> list[Firing]:
    """Expiries of these schedules whose target is still to be started, oldest first."""
    rows = await session.execute(
        select(
            ExpiryFiringRow,
            TrackedItemRow.kind,
            TrackedItemRow.name,
            TrackedItemRow.lead_seconds,
        )
        .join(TrackedItemRow, TrackedItemRow.id == ExpiryFiringRow.item_id)
        .where(
            ExpiryFiringRow.started_at.is_(None),
            ExpiryFiringRow.schedule_id.in_(list(schedule_ids)),
        )
        .order_by(ExpiryFiringRow.at, ExpiryFiringRow.expires_at, ExpiryFiringRow.item_id)
        .limit(limit)
    )
    return [
        Firing(
            firing.schedule_id,
            RunItem(id=firing.item_id, kind=kind, name=name, expires_at=firing.expires_at),
            lead,
        )
        for firing, kind, name, lead in rows
    ]


async def mark_started(session: AsyncSession, started: Sequence[Firing], *, at: datetime) -> None:
    """Their targets are started."""
    await session.execute(
        text("""
            UPDATE expiry_firing AS firing SET started_at = :at
            FROM unnest(CAST(:schedules AS uuid[]), CAST(:items AS uuid[]),
                        CAST(:times AS timestamptz[])) AS started (schedule_id, item_id, expires_at)
            WHERE (firing.schedule_id, firing.item_id, firing.expires_at)
                = (started.schedule_id, started.item_id, started.expires_at)
        """),
        {
            "at": at,
            "schedules": [firing.schedule_id for firing in started],
            "items": [firing.item.id for firing in started],
            "times": [firing.item.expires_at for firing in started],
        },
    )


async def _row(
    session: AsyncSession, team_id: UUID, item_id: UUID, *, lock: bool = False
) -> TrackedItemRow:
    query = select(TrackedItemRow).where(
        TrackedItemRow.id == item_id, TrackedItemRow.team_id == team_id
    )
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("There is no such tracked item in this team.")
    return row


def _shown(row: TrackedItemRow) -> TrackedItem:
    return TrackedItem.model_validate(
        {name: getattr(row, name) for name in TrackedItem.model_fields}
    )


def _name_taken(kind: str, name: str) -> Conflict:
    return Conflict(
        f"There is a {kind} named {name} already.", fix="Renew that one, or choose another name."
    )
