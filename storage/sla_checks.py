"""Changing the policy of due dates, and telling people once what is due, overdue or expired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert as plain_insert
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.sla import Notice, SlaPolicy
from contracts.vocabulary import NoticeKind
from storage import cursors, sla
from storage.decisions import record, recorded, reopen
from storage.finding_states import release_findings
from storage.vulnerability_sync import ask_for_sync
from storage.vulnerability_tables import NoticeRow, SlaPolicyRow, VulnerabilityRow

WHO: Final = "sla_check"
EXPIRED: Final = "The acceptance has expired."

_REDATE: Final = text(f"""
    UPDATE vulnerability SET due_at = wanted.due_at
    FROM (
        SELECT id, {sla.due_sql("status", "severity", "clock_started_at")} AS due_at
        FROM vulnerability
        WHERE team_id = :team_id AND status IN ('open', 'in_progress')
    ) AS wanted
    WHERE vulnerability.id = wanted.id AND vulnerability.due_at IS DISTINCT FROM wanted.due_at
""")  # noqa: S608 (our own names)

_DUE: Final = {
    NoticeKind.BREACHED: "vulnerability.due_at <= :at",
    NoticeKind.UPCOMING: "vulnerability.due_at > :at"
    f" AND vulnerability.due_at <= CAST(:at AS timestamptz) + {sla.DUE_SOON_SQL}",
}
_NOTICE: Final = """
    INSERT INTO notice (team_id, vulnerability_id, kind, due_at, at)
    SELECT team_id, id, :kind, due_at, :at FROM vulnerability
    WHERE {due} AND NOT EXISTS (
        SELECT FROM notice AS known
        WHERE known.vulnerability_id = vulnerability.id AND known.kind = :kind
          AND known.due_at = vulnerability.due_at
    )
    ORDER BY vulnerability.due_at LIMIT :limit
    ON CONFLICT DO NOTHING
    RETURNING 1
"""


async def save_policy(
    session: AsyncSession, team_id: UUID, policy: SlaPolicy, *, who: str, at: datetime
) -> SlaPolicy:
    """Keep the team's policy, and give everything that somebody has to act on its new due date."""
    values = {
        "days": policy.days.model_dump(),
        "restart_on_reopen": policy.restart_on_reopen,
        "updated_at": at,
        "updated_by": who,
    }
    await session.execute(
        insert(SlaPolicyRow)
        .values(team_id=team_id, **values)
        .on_conflict_do_update(index_elements=["team_id"], set_=values)
    )
    await session.execute(_REDATE, {"team_id": team_id, **sla.parameters(policy)})
    return await sla.load_policy(session, team_id)


async def check_step(session: AsyncSession, *, at: datetime, limit: int) -> dict[str, int]:
    """Reopen what was accepted until now and notice what is due, each once, `limit` of all at most;
    how many of each kind."""
    expired = await _expire(session, at=at, limit=limit)
    did = {NoticeKind.ACCEPTANCE_EXPIRED: expired}
    for kind, due in _DUE.items():
        values = {"kind": kind.value, "at": at, "limit": limit - sum(did.values())}
        noticed = await session.execute(text(_NOTICE.format(due=due)), values)
        did[kind] = len(noticed.all())
    return {kind.value: count for kind, count in did.items()}


async def _expire(session: AsyncSession, *, at: datetime, limit: int) -> int:
    rows: Sequence[VulnerabilityRow] = (
        await session.scalars(
            select(VulnerabilityRow)
            .where(VulnerabilityRow.accepted_until <= at)
            .order_by(VulnerabilityRow.accepted_until, VulnerabilityRow.id)
            .limit(limit)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).all()
    for row in rows:
        before, until = recorded(row), row.accepted_until
        transition = await reopen(session, row, at=at)
        row.updated_at = at
        await record(session, row, before, transition, EXPIRED, who=WHO, at=at)
        await session.execute(
            plain_insert(NoticeRow).values(
                team_id=row.team_id, vulnerability_id=row.id, due_at=until, at=at,
                kind=NoticeKind.ACCEPTANCE_EXPIRED.value,
            )
        )  # fmt: skip
    await session.flush()
    if rows:
        await release_findings(session, [row.id for row in rows], EXPIRED, at=at)
    for team_id, account_id in sorted({(row.team_id, row.account_id) for row in rows}):
        await ask_for_sync(session, team_id, account_id)  # a mute rule may match them now
    return len(rows)


async def list_notices(
    session: AsyncSession,
    team_id: UUID,
    *,
    kind: Sequence[NoticeKind] | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Notice]:
    """The team's notices, newest first."""
    shown = [
        getattr(NoticeRow, name) for name in ("id", "vulnerability_id", "kind", "due_at", "at")
    ]
    about = [getattr(VulnerabilityRow, n) for n in ("title", "severity", "resource_uid", "owner")]
    query = (
        select(*shown, *about)
        .join(VulnerabilityRow, VulnerabilityRow.id == NoticeRow.vulnerability_id)
        .where(NoticeRow.team_id == team_id)
    )
    if kind is not None:
        query = query.where(NoticeRow.kind.in_(kind))
    before: list[Any] | None = cursors.decode("notices", cursor, [_number])
    if before is not None:
        query = query.where(NoticeRow.id < before[0])
    rows = (await session.execute(query.order_by(NoticeRow.id.desc()).limit(limit + 1))).all()
    items = [Notice.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return Page(
        items=items,
        next_cursor=cursors.encode("notices", items[-1].id) if len(rows) > limit else None,
    )


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number
