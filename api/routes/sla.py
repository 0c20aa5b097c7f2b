"""Service levels: within how many days vulnerabilities have to be gone, and notices."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query

from api import vulnerability_engine
from api.auth import Admin, Viewer
from api.filters import NoticeListQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session, Shared
from contracts.base import Page
from contracts.errors import EngineUnavailable
from contracts.sla import Notice, SlaPolicy
from storage import keys
from storage.vulnerabilities import sla, sla_checks

router = APIRouter(prefix=BASE, tags=["sla"])


@router.get("/sla", responses=described(), summary="Show the SLA policy")
async def get_sla(caller: Viewer, session: Session) -> SlaPolicy:
    """Days per severity, from the first detection, until a vulnerability is due; null is never."""
    return await sla.load_policy(session, caller.team_id)


@router.put("/sla", responses=described(413), summary="Replace the SLA policy")
async def replace_sla(policy: SlaPolicy, caller: Admin, shared: Shared, now: Now) -> SlaPolicy:
    """Replace the team's policy; whatever is left out has its default. Due dates of all that
    somebody has to act on change with it, within moments.
    """
    async with shared.database.transaction() as session:
        who = await keys.key_name(session, caller.key_id)
        saved = await sla_checks.save_policy(session, caller.team_id, policy, who=who, at=now)
    with suppress(EngineUnavailable):  # the daily check does it, too
        await vulnerability_engine.start_due_dates(shared.engine, caller.team_id)
    return saved


@router.get("/notices", responses=described(), summary="List notices")
async def list_notices(
    query: Annotated[NoticeListQuery, Query()], caller: Viewer, session: Session
) -> Page[Notice]:
    """What became due, overdue or is no longer accepted, newest first; each is told once."""
    return await sla_checks.list_notices(session, caller.team_id, **query.model_dump())
