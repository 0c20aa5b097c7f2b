"""Rules of cascades as people keep them, and the record of what each started in each chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.cascades import PREDEFINED, Cascade, CascadeChange, NewCascade
from contracts.errors import Conflict, NotFound
from contracts.scans import NativeOptions, ScanTrigger
from contracts.targets import NewTarget
from contracts.vocabulary import TargetKind, TriggerKind
from storage import cursors
from storage.cascades.cascade_tables import CascadeRuleRow, CascadeStartRow
from storage.scans import scans
from storage.tables import ScanRow
from storage.targets.target_tables import TargetRow

TAG = "cascade"
"""Of targets that a rule made, with its name."""


async def create_rule(
    session: AsyncSession, team_id: UUID, new: NewCascade, *, at: datetime
) -> Cascade:
    """A new rule of the team; Conflict when the name is taken."""
    await _add_predefined(session, team_id, at)
    row = await _insert(session, team_id, new, at, predefined=False)
    if row is None:
        raise _name_taken(new.name)
    return _shown(row)


async def list_rules(
    session: AsyncSession, team_id: UUID, *, at: datetime, limit: int, cursor: str | None = None
) -> Page[Cascade]:
    """The team's rules, oldest first; those that come with Cloudsweep, too."""
    await _add_predefined(session, team_id, at)
    query = select(CascadeRuleRow).where(CascadeRuleRow.team_id == team_id)
    after = cursors.decode_id("cascades", cursor)
    if after is not None:
        query = query.where(CascadeRuleRow.id > after)
    rows = (await session.scalars(query.order_by(CascadeRuleRow.id).limit(limit + 1))).all()
    shown = [_shown(row) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("cascades", shown[-1].id) if len(rows) > limit else None,
    )


async def all_rules(session: AsyncSession, team_id: UUID, *, at: datetime) -> list[Cascade]:
    """Every rule of the team, oldest first."""
    await _add_predefined(session, team_id, at)
    rows = await session.scalars(
        select(CascadeRuleRow).where(CascadeRuleRow.team_id == team_id).order_by(CascadeRuleRow.id)
    )
    return [_shown(row) for row in rows]


async def enabled_rules(session: AsyncSession, team_id: UUID) -> list[Cascade]:
    """The rules of the team that start scans."""
    rows = await session.scalars(
        select(CascadeRuleRow)
        .where(CascadeRuleRow.team_id == team_id, CascadeRuleRow.enabled)
        .order_by(CascadeRuleRow.id)
    )
    return [_shown(row) for row in rows]


async def get_rule(session: AsyncSession, team_id: UUID, rule_id: UUID) -> Cascade:
    """One rule of the team."""
    row = await session.scalar(
        select(CascadeRuleRow).where(
            CascadeRuleRow.id == rule_id, CascadeRuleRow.team_id == team_id
        )
    )
    if row is None:
        raise _not_found()
    return _shown(row)


async def change_rule(
    session: AsyncSession, team_id: UUID, rule_id: UUID, change: CascadeChange, *, at: datetime
) -> Cascade:
    """Only fields that were given change; one that comes with Cloudsweep keeps its name."""
    rule = await get_rule(session, team_id, rule_id)
    if rule.predefined and change.name not in (None, rule.name):
        raise Conflict(
            f"The rule {rule.name} comes with Cloudsweep, under this name.",
            fix="Add one of your own.",
        )
    fields: dict[str, Any] = {
        name: value
        for name, value in change.model_dump(mode="json", exclude_unset=True).items()
        if value is not None
    }
    try:
        row = await session.scalar(
            update(CascadeRuleRow)
            .where(CascadeRuleRow.id == rule_id, CascadeRuleRow.team_id == team_id)
            .values(updated_at=at, **fields)
            .returning(CascadeRuleRow)
            .execution_options(populate_existing=True)
        )
    except IntegrityError:  # of what may change, only the name is unique
        raise _name_taken(str(fields.get("name"))) from None
    if row is None:
        raise _not_found()
    return _shown(row)


async def delete_rule(session: AsyncSession, team_id: UUID, rule_id: UUID) -> None:
    """Delete a rule; what it started stays. Conflict for one that comes with Cloudsweep."""
    rule = await get_rule(session, team_id, rule_id)
    if rule.predefined:
        raise Conflict(
            f"The rule {rule.name} comes with Cloudsweep.",
            fix=f"Disable it: `cloudsweep cascade disable {rule.name}`.",
        )
    await session.execute(delete(CascadeRuleRow).where(CascadeRuleRow.id == rule_id))


async def started(session: AsyncSession, root_scan_id: UUID) -> dict[UUID, UUID]:
    """Rule -> the scan that it started in this chain."""
    rows = await session.execute(
        select(CascadeStartRow.rule_id, CascadeStartRow.scan_id).where(
            CascadeStartRow.root_scan_id == root_scan_id
        )
    )
    return {row.rule_id: row.scan_id for row in rows}


async def started_after(session: AsyncSession, parent_scan_id: UUID, root: UUID) -> list[UUID]:
    """The scans that follow this one directly."""
    rows = await session.scalars(
        select(CascadeStartRow.scan_id)
        .where(
            CascadeStartRow.root_scan_id == root, CascadeStartRow.parent_scan_id == parent_scan_id
        )
        .order_by(CascadeStartRow.scan_id)
    )
    return list(rows)


async def record_start(
    session: AsyncSession,
    team_id: UUID,
    rule: Cascade,
    targets: Sequence[tuple[TargetKind, str]],
    *,
    root_scan_id: UUID,
    parent_scan_id: UUID,
    scopes: list[UUID] | None,
    at: datetime,
) -> UUID | None:
    """A pending scan of these targets, which are made where the team has none of them.

    Once in each chain: None when the rule has started one already. All of it is one transaction,
    so whatever repeats it finds either nothing of it or everything. Conflict when the chain's root
    is deleted.
    """
    root = select(ScanRow.id).where(ScanRow.id == root_scan_id)
    if await session.scalar(root.with_for_update(read=True, key_share=True)) is None:
        raise Conflict("The scan that this chain began with was deleted.")
    # Of two at once the second waits here, then sees that the rule has started one.
    lock = select(CascadeRuleRow.enabled).where(CascadeRuleRow.id == rule.id)
    if not await session.scalar(lock.with_for_update(key_share=True)):
        return None  # disabled or deleted a moment ago
    if rule.id in await started(session, root_scan_id):
        return None
    options = NativeOptions(
        targets=[await _target(session, team_id, each, rule.name, at) for each in targets],
        tools=rule.then.tools,
        policy=rule.then.policy,
    )
    trigger = ScanTrigger(
        kind=TriggerKind.CASCADE,
        root_scan_id=root_scan_id,
        parent_scan_id=parent_scan_id,
        rule=rule.name,
        scopes=scopes,
    )
    scan, _ = await scans.create_scan(
        session, team_id, options, trigger=trigger, idempotency_key=None, at=at
    )
    await session.execute(
        insert(CascadeStartRow).values(
            root_scan_id=root_scan_id,
            rule_id=rule.id,
            parent_scan_id=parent_scan_id,
            scan_id=scan.id,
            at=at,
        )
    )
    return scan.id


async def disabled_targets(
    session: AsyncSession, team_id: UUID, kind: TargetKind, values: Sequence[str]
) -> set[str]:
    """Those of these that the team has as disabled targets."""
    rows = await session.scalars(
        select(TargetRow.value).where(
            TargetRow.team_id == team_id,
            TargetRow.kind == kind,
            TargetRow.value.in_(values),
            ~TargetRow.enabled,
        )
    )
    return set(rows)


async def _target(
    session: AsyncSession, team_id: UUID, what: tuple[TargetKind, str], rule: str, at: datetime
) -> UUID:
    kind, value = what
    new = NewTarget(kind=kind, value=value, tags={TAG: rule})
    await session.execute(
        insert(TargetRow)
        .values(team_id=team_id, created_at=at, updated_at=at, **new.model_dump())
        .on_conflict_do_nothing()
    )
    found = await session.scalars(
        select(TargetRow.id).where(
            TargetRow.team_id == team_id, TargetRow.kind == kind, TargetRow.value == value
        )
    )
    return found.one()


async def _add_predefined(session: AsyncSession, team_id: UUID, at: datetime) -> None:
    """Made when they are first asked for, all of them disabled."""
    for new in PREDEFINED:
        await _insert(session, team_id, new, at, predefined=True)


async def _insert(
    session: AsyncSession, team_id: UUID, new: NewCascade, at: datetime, *, predefined: bool
) -> CascadeRuleRow | None:
    return (
        await session.scalars(
            insert(CascadeRuleRow)
            .values(
                team_id=team_id,
                predefined=predefined,
                created_at=at,
                updated_at=at,
                **new.model_dump(mode="json"),
            )
            .on_conflict_do_nothing(index_elements=["team_id", "name"])
            .returning(CascadeRuleRow)
        )
    ).one_or_none()


def _not_found() -> NotFound:
    return NotFound("There is no such rule in this team.")


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"A rule named {name} exists already.", fix="Change that one, or choose another name."
    )


def _shown(row: CascadeRuleRow) -> Cascade:
    return Cascade.model_validate({name: getattr(row, name) for name in Cascade.model_fields})
