"""What rules of cascades make of one scan: the same for the preview and for the end of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from activities import target_pinning
from contracts.cascades import (
    Cascade,
    CascadePlan,
    Cause,
    NewCascade,
    PlannedTarget,
    RefusedTarget,
    WhenFinding,
)
from contracts.errors import TargetInvalid
from contracts.scans import Scan
from contracts.vocabulary import ScanKind, ScanStatus, TargetRule, TriggerKind
from runtime.settings import Settings
from scanners import cascade_matching
from scanners.processes import hostile_text
from scanners.targets.scope_judgement import (
    Approval,
    Surroundings,
    approvals_of,
    judge_value,
    lying_in,
)
from scanners.targets.target_resolution import no_lookups
from scanners.targets.target_values import TargetValue
from storage.cascades import cascade_news, cascades
from storage.targets import target_scopes

FOLLOWED: Final = (ScanStatus.COMPLETED, ScanStatus.COMPLETED_WITH_ERRORS)
"""What a scan that failed or was cancelled has found may be half of it: nothing follows it."""
NOT_FOLLOWED: Final = {
    ScanKind.IMPORT: "an import",
    ScanKind.HYBRID: "a discovery of assets",
}
REFUSED_SHOWN: Final = 100
"""Refused targets that a plan names."""


@dataclass(frozen=True)
class Chain:
    """Where a scan stands in its chain, and by which scopes what follows is judged."""

    scan: Scan
    root_scan_id: UUID
    scopes: list[UUID] | None
    approvals: Sequence[Approval]
    around: Surroundings
    started: dict[UUID, UUID]
    at: datetime


class _Met(NamedTuple):
    """Something that a rule waits for, and the target that it makes or why there is none."""

    cause: Cause
    value: TargetValue | None
    error: TargetInvalid | None


@dataclass
class _Judged:
    targets: list[PlannedTarget] = field(default_factory=list)
    refused: list[RefusedTarget] = field(default_factory=list)


async def chain_of(
    session: AsyncSession, settings: Settings, team_id: UUID, scan: Scan, *, at: datetime
) -> Chain:
    """What follows a native scan, or any that followed one, stays in the scopes that the targets of
    the chain's first scan lay in; what follows a scan of an account, in any scope of the team."""
    approvals = approvals_of(await target_scopes.all_scopes(session, team_id))
    root, scopes = scan.id, None
    if scan.trigger.kind is TriggerKind.CASCADE:
        root, scopes = scan.trigger.root_scan_id or scan.id, scan.trigger.scopes
    elif scan.kind is ScanKind.NATIVE:
        scopes = lying_in(await cascade_news.pinned_by(session, scan.id), approvals)
    return Chain(
        scan=scan,
        root_scan_id=root,
        scopes=scopes,
        approvals=target_pinning.within(approvals, scopes),
        around=await target_pinning.surroundings_of(settings, resolver=no_lookups),
        started=await cascades.started(session, root),
        at=at,
    )


async def plan_rule(
    session: AsyncSession, team_id: UUID, chain: Chain, rule: Cascade | NewCascade
) -> CascadePlan:
    """What this rule makes of the scan, whether it is enabled or not. Writes nothing."""
    rule_id = rule.id if isinstance(rule, Cascade) else None
    judged = _Judged()
    why_not = _why_not(chain.scan)
    earlier = chain.started.get(rule_id) if rule_id else None
    if earlier is not None:
        why_not = f"The rule has started scan {earlier} in this chain; it starts one in each."
    if why_not is None:
        met = await _met(session, team_id, chain.scan, rule)
        judged = await _judge(session, team_id, chain, rule, met)
        if not met:
            why_not = "The scan found nothing new that the rule waits for."
        elif not judged.targets:
            why_not = "Nothing that the rule makes of it may be scanned."
    return CascadePlan(
        rule=rule.name,
        rule_id=rule_id,
        enabled=rule.enabled,
        starts=why_not is None,
        why_not=why_not,
        tools=rule.then.tools,
        policy=rule.then.policy,
        targets=judged.targets[: rule.max_targets],
        left_out=max(0, len(judged.targets) - rule.max_targets),
        refused=judged.refused[:REFUSED_SHOWN],
        scan_id=earlier,
    )


def _why_not(scan: Scan) -> str | None:
    if scan.kind in NOT_FOLLOWED:
        return f"Nothing follows {NOT_FOLLOWED[scan.kind]}."
    if scan.status not in FOLLOWED:
        return f"The scan is {scan.status}: only one that is completed is followed."
    return None


async def _met(
    session: AsyncSession, team_id: UUID, scan: Scan, rule: Cascade | NewCascade
) -> list[_Met]:
    """One for each target or cause that has none, in the order in which they are looked at."""
    when = rule.when
    if isinstance(when, WhenFinding):
        if scan.kind is not ScanKind.NATIVE:  # only there are findings of these tools
            return []
        findings = await cascade_news.new_findings(
            session, team_id, scan.id, sources=when.source, checks=when.check_id
        )
        met = [
            _read(rule, Cause(on="finding", id=each.id, uid=hostile_text.line(each.uid)), each)
            for each in findings
            if cascade_matching.matches_finding(when, each)
        ]
    else:
        if scan.kind is ScanKind.NATIVE:  # reads no inventory
            return []
        resources = await cascade_news.new_resources(session, team_id, scan, types=when.types)
        met = [
            _read(rule, Cause(on="resource", id=each.id, uid=hostile_text.line(each.uid)), each)
            for each in resources
            if cascade_matching.matches_resource(when, each)
        ]
    return list(_each_once(met))


def _read(
    rule: Cascade | NewCascade,
    cause: Cause,
    found: cascade_news.NewFinding | cascade_news.NewResource,
) -> _Met:
    try:
        if isinstance(found, cascade_news.NewFinding):
            place = cascade_matching.place_of_finding(found.uid)
        else:
            assert not isinstance(rule.when, WhenFinding)  # noqa: S101
            there = cascade_matching.place_of_resource(rule.when, found)
            if there is None:
                raise TargetInvalid(
                    f"It has no attribute {rule.when.host} that names a host.",
                    rule=TargetRule.UNRESOLVED,
                    fix="Name another attribute in the rule, `when.host`.",
                )
            place = there
        return _Met(cause, cascade_matching.target_of(rule.then, place), None)
    except TargetInvalid as error:
        return _Met(cause, None, error)


def _each_once(met: Sequence[_Met]) -> Iterator[_Met]:
    seen = set()
    for each in met:
        key = each.cause.uid if each.value is None else each.value.text
        if key not in seen:
            seen.add(key)
            yield each


async def _judge(
    session: AsyncSession,
    team_id: UUID,
    chain: Chain,
    rule: Cascade | NewCascade,
    met: Sequence[_Met],
) -> _Judged:
    judged = _Judged()
    kind = rule.then.target.kind
    disabled = await cascades.disabled_targets(
        session, team_id, kind, [each.value.text for each in met if each.value is not None]
    )
    for each in met:
        shown = each.cause.uid if each.value is None else each.value.text
        try:
            if each.value is None:
                raise each.error or TargetInvalid("It is no target.")
            if shown in disabled:
                raise TargetInvalid(
                    f"{shown} is disabled.",
                    rule=TargetRule.DISABLED,
                    fix="Enable it: `cloudsweep target enable`.",
                )
            scope = judge_value(each.value, chain.approvals, chain.around, at=chain.at)
        except TargetInvalid as error:
            judged.refused.append(
                RefusedTarget(
                    kind=kind,
                    value=shown,
                    rule=error.rule,
                    error=_in_chain(error, chain),
                    fix=error.fix,
                    because=each.cause,
                )
            )
        else:
            judged.targets.append(
                PlannedTarget(kind=kind, value=shown, scope=scope, because=each.cause)
            )
    return judged


def _in_chain(error: TargetInvalid, chain: Chain) -> str:
    if chain.scopes is None or error.rule is not TargetRule.OUT_OF_SCOPE:
        return error.message
    return f"{error.message.removesuffix('of this team.')}that the first scan of the chain was in."
