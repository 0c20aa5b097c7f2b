"""What people decide about a vulnerability, and what that does to its findings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.decisions import (
    Accept,
    Assign,
    Begin,
    Comment,
    Decision,
    Dismiss,
)
from contracts.errors import Conflict, NotFound, ScopeInvalid
from contracts.vocabulary import VulnerabilityStatus, VulnerabilityTransition
from storage.findings.finding_states import accept_findings, release_findings
from storage.vulnerabilities import sla
from storage.vulnerabilities.vulnerability_sync import ask_for_sync, lock_account
from storage.vulnerabilities.vulnerability_tables import VulnerabilityEventRow, VulnerabilityRow

OPEN, CLOSED = VulnerabilityStatus.OPEN, VulnerabilityStatus.CLOSED
IN_PROGRESS = VulnerabilityStatus.IN_PROGRESS
ACCEPTED, FALSE_POSITIVE = VulnerabilityStatus.ACCEPTED, VulnerabilityStatus.FALSE_POSITIVE

FROM: Final[dict[str, tuple[VulnerabilityStatus, ...]]] = {
    "in_progress": (OPEN,),
    "accept": (OPEN, IN_PROGRESS, ACCEPTED),
    "false_positive": (OPEN, IN_PROGRESS, ACCEPTED),
    "reopen": (IN_PROGRESS, ACCEPTED, FALSE_POSITIVE),
}
"""Where a vulnerability may stand for an action; the others may always be done."""

RECORDED: Final = ("status", "owner", "accepted_until")


async def decide(
    session: AsyncSession,
    team_id: UUID,
    vulnerability_id: UUID,
    decision: Decision,
    *,
    who: str,
    at: datetime,
) -> None:
    """Do what was decided, to the vulnerability and its findings, and write it into the history.

    Conflict where it stands otherwise. A sync that runs meanwhile waits, or is waited for.
    """
    found = select(VulnerabilityRow).where(
        VulnerabilityRow.id == vulnerability_id, VulnerabilityRow.team_id == team_id
    )
    row = await session.scalar(found)
    if row is not None:
        await lock_account(session, row.account_id)
        locked = found.with_for_update().execution_options(populate_existing=True)
        row = await session.scalar(locked)
    if row is None:
        raise NotFound("There is no such vulnerability in this team.")
    status = VulnerabilityStatus(row.status)
    if status not in FROM.get(decision.action, tuple(VulnerabilityStatus)):
        raise Conflict(
            f"This vulnerability is {status}; {decision.action} is for those that are "
            f"{', '.join(FROM[decision.action])}.",
            fix="A scan reopens what it finds again." if status is CLOSED else "Reopen it first.",
        )
    before = recorded(row)
    reason = decision.comment if isinstance(decision, Comment) else decision.reason
    transition = VulnerabilityTransition.REOPENED
    match decision:
        case Assign():
            transition, row.owner = VulnerabilityTransition.ASSIGNED, decision.owner
        case Comment():
            transition = VulnerabilityTransition.COMMENTED
        case Begin():
            transition, row.status = VulnerabilityTransition.IN_PROGRESS, IN_PROGRESS
        case Accept():
            if decision.until <= at:
                raise ScopeInvalid(
                    "This time has passed.", field="until", fix="Choose a later one."
                )
            transition = VulnerabilityTransition.ACCEPTED
            _hold(row, ACCEPTED, decision.until, at)
        case Dismiss():
            transition = VulnerabilityTransition.FALSE_POSITIVE
            _hold(row, FALSE_POSITIVE, None, at)
        case _ if row.status == IN_PROGRESS:
            row.status = OPEN
        case _:
            transition = await reopen(session, row, at=at)
    row.updated_at = at
    await record(session, row, before, transition, reason, who=who, at=at)
    await session.flush()
    if transition in (VulnerabilityTransition.ACCEPTED, VulnerabilityTransition.FALSE_POSITIVE):
        words = f"{transition.value} by {who}: {reason}"
        await accept_findings(session, row.account_id, [row.id], words, at=at)
    elif status in (ACCEPTED, FALSE_POSITIVE) and row.status in (OPEN, CLOSED):
        await release_findings(session, [row.id], f"reopened by {who}", at=at)
        await ask_for_sync(session, team_id, row.account_id)  # a mute rule may match them now


def _hold(
    row: VulnerabilityRow, status: VulnerabilityStatus, until: datetime | None, at: datetime
) -> None:
    """Nobody has to act: the clock of the due date stands."""
    row.status, row.accepted_until, row.due_at = status, until, None
    row.clock_stopped_at = row.clock_stopped_at or at


async def reopen(
    session: AsyncSession, row: VulnerabilityRow, *, at: datetime
) -> VulnerabilityTransition:
    """End what was decided; closed if nothing is open any more. The clock starts anew, or goes on
    where it stood, as the team's policy says."""
    policy = await sla.load_policy(session, row.team_id)
    row.accepted_until = None
    row.clock_started_at += at - (row.clock_stopped_at or at)
    if row.open_occurrences == 0:
        row.status, row.closed_at, row.clock_stopped_at = CLOSED, at, at
        return VulnerabilityTransition.CLOSED
    row.status, row.reopened_at, row.clock_stopped_at = OPEN, at, None
    if policy.restart_on_reopen:
        row.clock_started_at = at
    row.due_at = sla.due_date(policy, row.severity, row.clock_started_at)
    return VulnerabilityTransition.REOPENED


async def record(
    session: AsyncSession,
    row: VulnerabilityRow,
    before: dict[str, Any],
    transition: VulnerabilityTransition,
    reason: str | None,
    *,
    who: str,
    at: datetime,
) -> None:
    """Write a transition into the history, with the fields that differ from before."""
    after = recorded(row)
    differing = [name for name in RECORDED if before[name] != after[name]]
    await session.execute(
        insert(VulnerabilityEventRow).values(
            vulnerability_id=row.id,
            at=at,
            who=who,
            transition=transition.value,
            reason=reason,
            before={name: before[name] for name in differing} or None,
            after={name: after[name] for name in differing} or None,
        )
    )


def recorded(row: VulnerabilityRow) -> dict[str, Any]:
    """The fields whose changes land in the history."""
    values = {name: getattr(row, name) for name in RECORDED}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
