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
from contracts.sla import DueDatesDone, DueDatesPlace, DueDatesStep, Notice, SlaPolicy
from contracts.vocabulary import NoticeKind
from storage import cursors
from storage.findings.finding_states import release_findings
from storage.vulnerabilities import sla
from storage.vulnerabilities.decisions import record, recorded, reopen
from storage.vulnerabilities.vulnerability_sync import ask_for_sync
from storage.vulnerabilities.vulnerability_tables import NoticeRow, SlaPolicyRow, VulnerabilityRow

WHO: Final = "sla_check"
EXPIRED: Final = "The acceptance has expired."

_DUE_AT: Final = sla.due_sql(
    "vulnerability.status", "vulnerability.severity", "vulnerability.clock_started_at"
)
_REDATE: Final = text(f"""
    WITH page AS MATERIALIZED (
        SELECT severity, id FROM vulnerability
        WHERE team_id = :team_id AND (severity, id) > (CAST(:severity AS severity), :id)
        ORDER BY severity, id LIMIT :limit
    ), moved AS (
        UPDATE vulnerability SET due_at = {_DUE_AT}
        FROM page
        WHERE vulnerability.id = page.id AND vulnerability.status IN ('open', 'in_progress')
          AND vulnerability.due_at IS DISTINCT FROM {_DUE_AT}
        RETURNING 1
    )
    SELECT severity, id, (SELECT count(*) FROM page) AS seen,
           (SELECT count(*) FROM moved) AS changed
    FROM page ORDER BY severity DESC, id DESC LIMIT 1
""")  # noqa: S608 (our own names)
_WITH_POLICY: Final = text("""
    SELECT team_id FROM sla_policy
    WHERE team_id > coalesce(CAST(:after AS uuid), CAST(:least AS uuid))
    ORDER BY team_id LIMIT 1
""")

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
    """Keep the team's policy; `redate_step` gives what somebody has to act on its new due date."""
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
    return await sla.load_policy(session, team_id)


async def redate_step(session: AsyncSession, step: DueDatesStep) -> DueDatesDone:
    """Compare the due dates of so many vulnerabilities with their team's policy, and correct them.

    A team that never had a policy of its own has nothing to correct.
    """
    place = step.after
    if place is None and step.team_id is not None:
        place = DueDatesPlace(team_id=step.team_id)
    place = place or await _next_team(session, None)
    if place is None:
        return DueDatesDone(changed=0, after=None)
    policy = await sla.load_policy(session, place.team_id)
    values = {**place.model_dump(mode="python"), "limit": step.limit, **sla.parameters(policy)}
    did = (
        await session.execute(_REDATE, values | {"severity": place.severity.value})
    ).one_or_none()
    if did is not None and did.seen == step.limit:
        after = DueDatesPlace(team_id=place.team_id, severity=did.severity, id=did.id)
        return DueDatesDone(changed=did.changed, after=after)
    return DueDatesDone(
        changed=0 if did is None else did.changed,
        after=None if step.team_id is not None else await _next_team(session, place.team_id),
    )


async def _next_team(session: AsyncSession, after: UUID | None) -> DueDatesPlace | None:
    values = {"after": after, "least": UUID(int=0)}
    team_id = await session.scalar(_WITH_POLICY, values)
    return None if team_id is None else DueDatesPlace(team_id=team_id)


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
