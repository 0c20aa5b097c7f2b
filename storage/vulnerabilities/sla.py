"""When a vulnerability is due: the policy of a team, and what it means in SQL."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.sla import SlaPolicy
from contracts.vocabulary import Severity, SlaState
from storage.vulnerabilities.vulnerability_tables import SlaPolicyRow

DUE_SOON: Final = timedelta(days=3)

DUE_SOON_SQL: Final = f"make_interval(days => {DUE_SOON.days})"

CONDITIONS: Final = {
    SlaState.BREACHED: "due_at <= :at",
    SlaState.DUE_SOON: f"due_at > :at AND due_at <= CAST(:at AS timestamptz) + {DUE_SOON_SQL}",
    SlaState.ON_TRACK: f"due_at > CAST(:at AS timestamptz) + {DUE_SOON_SQL}",
}
"""Of rows with a due date; without one there is no state."""


def sla_state(due_at: datetime | None, at: datetime) -> SlaState | None:
    """How a due date stands at this time; None without one."""
    if due_at is None:
        return None
    if due_at <= at:
        return SlaState.BREACHED
    return SlaState.DUE_SOON if due_at <= at + DUE_SOON else SlaState.ON_TRACK


def due_date(policy: SlaPolicy, severity: Severity, clock: datetime) -> datetime | None:
    """When what has this severity is due, if its clock started then; None: never."""
    days: int | None = getattr(policy.days, severity.value)
    return None if days is None else clock + timedelta(days=days)


def due_sql(status: str, severity: str, clock: str) -> str:
    """The due date of these; null while nobody has to act, or where the policy has no days."""
    return (
        f"CASE WHEN {status} IN ('open', 'in_progress') THEN {clock} + make_interval("
        f"days => CAST(CAST(:days AS jsonb) ->> CAST({severity} AS text) AS integer)) END"
    )


async def load_policy(session: AsyncSession, team_id: UUID) -> SlaPolicy:
    """The team's policy; the default one until somebody changed it."""
    row = await session.scalar(
        select(SlaPolicyRow)
        .where(SlaPolicyRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    if row is None:
        return SlaPolicy()
    return SlaPolicy(days=row.days, restart_on_reopen=row.restart_on_reopen)


def parameters(policy: SlaPolicy) -> dict[str, Any]:
    """The values that statements with `due_sql` name."""
    return {
        "days": json.dumps(policy.days.model_dump()),
        "restart": policy.restart_on_reopen,
    }
