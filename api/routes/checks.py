"""Checks: what the scanners look for, each text stored once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.auth import Viewer
from api.filters import CheckListQuery
from api.problems import described
from api.routes import BASE
from api.state import Session
from contracts.base import Page
from contracts.findings import CheckText
from storage import checks

router = APIRouter(prefix=f"{BASE}/checks", tags=["checks"])


@router.get("", responses=described(), summary="List checks")
async def list_checks(
    query: Annotated[CheckListQuery, Query()], caller: Viewer, session: Session
) -> Page[CheckText]:
    """The checks that scans have brought so far, with their texts and requirements."""
    return await checks.list_checks(session, **query.model_dump())


@router.get("/{check_id}", responses=described(404), summary="Show a check")
async def get_check(
    check_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")],
    caller: Viewer,
    session: Session,
) -> CheckText:
    """What a check means, its risk, its remediation and the framework requirements behind it."""
    return await checks.get_check(session, check_id)
