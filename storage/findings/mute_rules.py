"""Mute rules: kept by people, applied by the sync."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.decisions import MuteCriteria, MutePreview, MuteRule, NewMuteRule
from contracts.errors import NotFound, ScopeInvalid
from storage import accounts, cursors
from storage.findings.finding_states import count_matches
from storage.vulnerabilities.vulnerability_sync import ask_for_sync
from storage.vulnerabilities.vulnerability_tables import MuteRuleRow


async def preview_rule(session: AsyncSession, team_id: UUID, criteria: MuteCriteria) -> MutePreview:
    """How many open findings these criteria match now."""
    if criteria.account_id is not None:
        await accounts.get_account(session, team_id, criteria.account_id)
    names = MuteCriteria.model_fields
    found = await count_matches(session, team_id, {name: getattr(criteria, name) for name in names})
    return MutePreview(
        total=sum(n for _, n, _ in found),
        severity={severity: n for severity, n, _ in found},
        accounts=len({account for _, _, accounts in found for account in accounts}),
    )


async def create_rule(
    session: AsyncSession, team_id: UUID, new: NewMuteRule, *, who: str, at: datetime
) -> MuteRule:
    """A new rule; the next sync of each account that it may match applies it."""
    if new.until is not None and new.until <= at:
        raise ScopeInvalid("This time has passed.", field="until", fix="Choose a later one.")
    if new.account_id is not None:
        await accounts.get_account(session, team_id, new.account_id)
    row = (
        await session.scalars(
            insert(MuteRuleRow)
            .values(
                **new.model_dump(), team_id=team_id, created_by=who, created_at=at, enabled=True
            )
            .returning(MuteRuleRow)
        )
    ).one()
    await ask_for_sync(session, team_id, new.account_id)
    return _shown(row)


async def list_rules(
    session: AsyncSession, team_id: UUID, *, limit: int, cursor: str | None = None
) -> Page[MuteRule]:
    """The team's rules, newest first."""
    query = select(MuteRuleRow).where(MuteRuleRow.team_id == team_id)
    before = cursors.decode_id("mute_rules", cursor)
    if before is not None:
        query = query.where(MuteRuleRow.id < before)
    rows = (await session.scalars(query.order_by(MuteRuleRow.id.desc()).limit(limit + 1))).all()
    shown = [_shown(row) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("mute_rules", shown[-1].id) if len(rows) > limit else None,
    )


async def get_rule(session: AsyncSession, team_id: UUID, rule_id: UUID) -> MuteRule:
    """One rule of the team."""
    row = await session.scalar(
        select(MuteRuleRow).where(MuteRuleRow.id == rule_id, MuteRuleRow.team_id == team_id)
    )
    if row is None:
        raise NotFound("There is no such mute rule in this team.")
    return _shown(row)


async def delete_rule(session: AsyncSession, team_id: UUID, rule_id: UUID) -> None:
    """Delete a rule; the next sync gives what only it muted its own state back."""
    rule = await get_rule(session, team_id, rule_id)
    await session.execute(delete(MuteRuleRow).where(MuteRuleRow.id == rule_id))
    await ask_for_sync(session, team_id, rule.account_id)


async def end_expired_rules(session: AsyncSession, *, at: datetime) -> int:
    """Disable rules whose time has passed, as if they were deleted; how many those are."""
    ended = await session.execute(
        update(MuteRuleRow)
        .where(MuteRuleRow.enabled, MuteRuleRow.until <= at)
        .values(enabled=False)
        .returning(MuteRuleRow.team_id, MuteRuleRow.account_id)
    )
    rules = ended.all()
    for team_id, account_id in rules:
        await ask_for_sync(session, team_id, account_id)
    return len(rules)


def _shown(row: MuteRuleRow) -> MuteRule:
    return MuteRule.model_validate({name: getattr(row, name) for name in MuteRule.model_fields})
