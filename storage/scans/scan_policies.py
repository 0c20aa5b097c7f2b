"""How hard native scans may work: the policies that every team has, and a team's own."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.native import POLICIES, PolicyLimits, ScanPolicy, ShownScanPolicy
from storage import cursors
from storage.cascades.cascade_tables import CascadeRuleRow
from storage.schedules.schedule_tables import ScheduleRow
from storage.targets.target_tables import ScanPolicyRow

MOST: Final = 100
"""Policies of a team's own: people choose one by its name."""


async def all_policies(session: AsyncSession, team_id: UUID) -> dict[str, ShownScanPolicy]:
    """Those that are built in and the team's own, in the order of names."""
    rows = await session.scalars(
        select(ScanPolicyRow)
        .where(ScanPolicyRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    built_in = [ShownScanPolicy(**each.model_dump(), builtin=True) for each in POLICIES.values()]
    policies = sorted((*built_in, *map(_shown, rows)), key=lambda policy: policy.name)
    return {policy.name: policy for policy in policies}


async def list_policies(
    session: AsyncSession, team_id: UUID, *, limit: int, cursor: str | None = None
) -> Page[ShownScanPolicy]:
    """The same, a page at a time."""
    after = (cursors.decode("scan-policies", cursor, [str]) or [""])[0]
    policies = await all_policies(session, team_id)
    items = [policy for name, policy in policies.items() if name > after]
    shown = items[:limit]
    is_last = len(items) <= limit
    return Page(
        items=shown,
        next_cursor=None if is_last else cursors.encode("scan-policies", shown[-1].name),
    )


async def get_policy(session: AsyncSession, team_id: UUID, name: str) -> ShownScanPolicy:
    """One of them."""
    policies = await all_policies(session, team_id)
    if name not in policies:
        raise NotFound(
            f"There is no scan policy `{name}`.", fix=f"There are: {', '.join(policies)}."
        )
    return policies[name]


async def load_policy(session: AsyncSession, team_id: UUID, name: str) -> ScanPolicy:
    """What a scan that begins now may do; NotFound, which names those that there are."""
    shown = await get_policy(session, team_id, name)
    return ScanPolicy.model_validate(
        {each: getattr(shown, each) for each in ScanPolicy.model_fields}
    )


async def set_policy(
    session: AsyncSession, team_id: UUID, name: str, limits: PolicyLimits, *, who: str, at: datetime
) -> tuple[ShownScanPolicy, bool]:
    """The team's policy of this name with these limits, and whether it is new."""
    _refuse_built_in(name)
    owned = select(func.count()).where(ScanPolicyRow.team_id == team_id, ScanPolicyRow.name != name)
    if (await session.scalar(owned) or 0) >= MOST:
        raise Conflict(
            f"A team has at most {MOST} scan policies of its own.", fix="Delete one first."
        )
    fields = {"limits": limits.model_dump(mode="json"), "changed_by": who, "updated_at": at}
    row = (
        await session.scalars(
            insert(ScanPolicyRow)
            .values(team_id=team_id, name=name, created_at=at, **fields)
            .on_conflict_do_update(index_elements=["team_id", "name"], set_=fields)
            .returning(ScanPolicyRow)
            .execution_options(populate_existing=True)
        )
    ).one()
    return _shown(row), row.created_at == at


async def delete_policy(session: AsyncSession, team_id: UUID, name: str) -> None:
    """Delete one of the team's own; Conflict while a schedule, or a rule of cascades, names it."""
    _refuse_built_in(name)
    deleted = await session.scalar(
        delete(ScanPolicyRow)
        .where(ScanPolicyRow.team_id == team_id, ScanPolicyRow.name == name)
        .returning(ScanPolicyRow.name)
    )
    if deleted is None:
        raise NotFound(f"There is no scan policy `{name}` of the team's own.")
    naming = select(ScheduleRow.name).where(
        ScheduleRow.team_id == team_id,
        ScheduleRow.finished_at.is_(None),
        ScheduleRow.target["params"]["policy"].as_string() == name,
    )
    schedules = (await session.scalars(naming.order_by(ScheduleRow.name).limit(10))).all()
    if schedules:
        raise Conflict(
            f"Schedules name the policy `{name}`: {', '.join(schedules)}.",
            fix="Let them name another, or delete them first.",
        )
    following = select(CascadeRuleRow.name).where(
        CascadeRuleRow.team_id == team_id, CascadeRuleRow.then["policy"].as_string() == name
    )
    rules = (await session.scalars(following.order_by(CascadeRuleRow.name).limit(10))).all()
    if rules:
        raise Conflict(
            f"Rules of cascades name the policy `{name}`: {', '.join(rules)}.",
            fix="Let them name another, or delete them first.",
        )


def _refuse_built_in(name: str) -> None:
    if name in POLICIES:
        raise Conflict(
            f"The policy `{name}` is built in: it stays as it is.",
            fix="Choose another name for one of your own.",
        )


def _shown(row: ScanPolicyRow) -> ShownScanPolicy:
    return ShownScanPolicy(
        name=row.name,
        builtin=False,
        changed_by=row.changed_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        **row.limits,
    )
