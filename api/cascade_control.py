"""Rules of cascades over the API: what they name exists, and what would follow a scan."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from activities.cascade_planning import chain_of, plan_rule
from api.native_control import option_errors
from api.problems import Refusal
from contracts.cascades import Cascade, CascadePreview, CascadePreviewRequest, NewCascade, Then
from contracts.scans import NativeOptions
from runtime.settings import Settings
from scanners.native.native_tools import SUITABLE
from storage.cascades import cascades
from storage.scans import scans


async def refuse_unknown(
    session: AsyncSession, team_id: UUID, then: Then, *, field: str = "then"
) -> None:
    """A 422 that names the tools and the policy that do not exist, or do not suit the target."""
    options = NativeOptions.model_construct(targets=[], tools=then.tools, policy=then.policy)
    errors = [
        (f"{field}.{name}", words) for name, words in await option_errors(session, team_id, options)
    ]
    suitable = SUITABLE[then.target.kind]
    if not errors:
        errors = [
            (
                f"{field}.tools[{number}]",
                f"{tool} does not look at a {then.target.kind}. These do: {', '.join(suitable)}.",
            )
            for number, tool in enumerate(then.tools)
            if tool not in suitable
        ]
    if errors:
        raise Refusal(422, "The rule names something that it cannot start.", errors=errors)


async def preview(
    session: AsyncSession,
    settings: Settings,
    team_id: UUID,
    asked: CascadePreviewRequest,
    *,
    at: datetime,
) -> CascadePreview:
    """What the rules would make of a scan; starts nothing, looks nothing up."""
    scan = await scans.get_scan(session, team_id, asked.scan_id)
    if asked.rule is not None and asked.rule_id is not None:
        words = "Name a stored rule or describe one, not both."
        raise Refusal(422, "1 field of the request is wrong.", errors=[("rule", words)])
    rules: list[Cascade | NewCascade]
    if asked.rule is not None:
        await refuse_unknown(session, team_id, asked.rule.then, field="rule.then")
        rules = [asked.rule]
    elif asked.rule_id is not None:
        rules = [await cascades.get_rule(session, team_id, asked.rule_id)]
    else:
        rules = [*await cascades.all_rules(session, team_id, at=at)]
    chain = await chain_of(session, settings, team_id, scan, at=at)
    return CascadePreview(
        scan_id=scan.id,
        root_scan_id=chain.root_scan_id,
        rules=[await plan_rule(session, team_id, chain, rule) for rule in rules],
    )
