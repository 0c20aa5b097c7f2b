"""What a team may scan, as the routes of targets and scopes ask it: by value alone, or for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from activities import target_pinning
from contracts.errors import Conflict, TargetInvalid, TargetUnreachable
from contracts.targets import Scope, ScopeRef, Target, TargetCheck
from contracts.vocabulary import TargetKind, TargetRule
from runtime.settings import Settings
from scanners.targets.scope_judgement import (
    Approval,
    Surroundings,
    approvals_of,
    judge_value,
    relying_on,
)
from scanners.targets.target_resolution import no_lookups
from scanners.targets.target_values import TargetValue, parse_target
from storage.database import Database
from storage.targets import target_scopes, targets

NAMED: Final = 10
"""Targets that a refusal names; it counts the others."""


@dataclass(frozen=True)
class Judge:
    """The scopes of a team at one time."""

    approvals: Sequence[Approval]
    around: Surroundings
    at: datetime

    def judge(self, value: TargetValue) -> ScopeRef:
        """The scope that allows this, or TargetInvalid."""
        return judge_value(value, self.approvals, self.around, at=self.at)

    def with_scope(self, target: Target) -> Target:
        """The target with the scope that it lies in, if there is one."""
        try:
            scope = self.judge(parse_target(target.kind, target.value))
        except TargetInvalid:
            return target
        return target.model_copy(update={"scope": scope})


async def judge_of(
    session: AsyncSession, settings: Settings, team_id: UUID, *, at: datetime
) -> Judge:
    """Judges this team's targets by their value; no name is looked up."""
    scopes = await target_scopes.all_scopes(session, team_id)
    around = await target_pinning.surroundings_of(settings, resolver=no_lookups)
    return Judge(approvals_of(scopes), around, at)


async def check_target(
    database: Database, settings: Settings, target: Target, *, at: datetime
) -> TargetCheck:
    """Look the target up now: where it may be scanned and why, or which rule refuses it."""
    try:
        pinned = await target_pinning.pin_target(
            database, settings, target.team_id, target.id, at=at
        )
    except (TargetInvalid, TargetUnreachable) as error:
        return TargetCheck(
            ok=False,
            kind=target.kind,
            value=target.value,
            rule=error.rule if isinstance(error, TargetInvalid) else TargetRule.UNRESOLVED,
            error=error.message,
            fix=error.fix,
        )
    return TargetCheck(
        ok=True,
        kind=pinned.kind,
        value=pinned.value,
        scope=pinned.scope,
        addresses=pinned.addresses,
        closed_ports=pinned.closed_ports,
        path=pinned.path,
    )


async def refuse_while_relied_on(session: AsyncSession, scope: Scope, *, at: datetime) -> None:
    """Conflict that names the targets which only this scope allows."""
    if not scope.is_valid(at):
        return
    scopes = await target_scopes.all_scopes(session, scope.team_id)
    stored = await targets.all_targets(session, scope.team_id)
    values = [value for value in map(_readable, stored) if value is not None]
    relying = relying_on(scope, scopes, values, at=at)
    if relying:
        names = [f"{value.kind} {value.text}" for value in relying[:NAMED]]
        more = len(relying) - len(names)
        words = ", ".join(names) + (f" and {more} more" if more else "")
        count = "1 target lies" if len(relying) == 1 else f"{len(relying)} targets lie"
        raise Conflict(
            f"{count} in this scope only: {words}.",
            fix="Delete them first; or end the scope, which refuses them from then on: set "
            f"`valid_until` to now, `cloudsweep scope end '{scope.name}'`.",
        )


def _readable(stored: tuple[TargetKind, str]) -> TargetValue | None:
    try:
        return parse_target(*stored)
    except TargetInvalid:
        return None
