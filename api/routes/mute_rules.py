"""Mute rules: preview, keep, delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples, vulnerability_engine
from api.auth import Operator, Viewer
from api.pagination import PageQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session, Shared
from contracts.base import Page
from contracts.decisions import MuteCriteria, MutePreview, MuteRule, NewMuteRule
from contracts.errors import EngineUnavailable
from contracts.vulnerabilities import NewSync
from storage import keys
from storage.findings import mute_rules

router = APIRouter(prefix=f"{BASE}/mute-rules", tags=["mute rules"])


@router.post("/preview", responses=described(404, 413), summary="Preview a mute rule")
async def preview_mute_rule(
    criteria: MuteCriteria, caller: Operator, session: Session
) -> MutePreview:
    """How many open findings a rule would mute now, before it is saved."""
    return await mute_rules.preview_rule(session, caller.team_id, criteria)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=described(404, 413),
    summary="Create a mute rule",
)
async def create_mute_rule(
    new: Annotated[NewMuteRule, Body(openapi_examples=examples.MUTE_RULES)],
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
) -> MuteRule:
    """Mute open findings that match everything the rule names: those that are stored within
    moments, by a sync that this starts, and those to come. Muted findings leave counts and
    vulnerabilities, stay visible as `state=muted`, and no scan changes that.
    """
    async with shared.database.transaction() as session:
        who = await keys.key_name(session, caller.key_id)
        rule = await mute_rules.create_rule(session, caller.team_id, new, who=who, at=now)
    await _apply_soon(shared, caller.team_id)
    response.headers["Location"] = f"{BASE}/mute-rules/{rule.id}"
    return rule


@router.get("", responses=described(), summary="List mute rules")
async def list_mute_rules(
    query: Annotated[PageQuery, Query()], caller: Viewer, session: Session
) -> Page[MuteRule]:
    """The team's rules, newest first, also those whose time has passed."""
    return await mute_rules.list_rules(session, caller.team_id, **query.model_dump())


@router.get("/{rule_id}", responses=described(404), summary="Show a mute rule")
async def get_mute_rule(rule_id: UUID, caller: Viewer, session: Session) -> MuteRule:
    """One rule: what it mutes, why, until when, and who made it."""
    return await mute_rules.get_rule(session, caller.team_id, rule_id)


@router.delete(
    "/{rule_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404),
    summary="Delete a mute rule",
)
async def delete_mute_rule(rule_id: UUID, caller: Operator, shared: Shared) -> None:
    """Delete a rule. Findings that no other rule matches get the state back that their status says,
    within moments.
    """
    async with shared.database.transaction() as session:
        await mute_rules.delete_rule(session, caller.team_id, rule_id)
    await _apply_soon(shared, caller.team_id)


async def _apply_soon(shared: Shared, team_id: UUID) -> None:
    with suppress(EngineUnavailable):  # the scheduled sync applies it, too
        await vulnerability_engine.start_sync(shared.engine, team_id, NewSync())
