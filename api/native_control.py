"""Scans of targets and of assets over the API: what they name exists before any is queued."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import scan_control
from api.problems import Refusal
from api.state import Services
from api.wording import FieldMessage
from contracts.scans import HybridOptions, NativeOptions, Scan, ScanTrigger
from contracts.vocabulary import ScanKind
from scanners.native.native_tools import TOOLS, unsuitable
from storage import accounts
from storage.scans import scan_policies, scans
from storage.targets import target_scopes, targets


async def start(
    shared: Services,
    team_id: UUID,
    asked: NativeOptions | HybridOptions,
    key: str | None,
    at: datetime,
) -> Scan:
    """Insert the row and commit, then start the workflow by id, as for a scan of an account."""
    async with shared.database.transaction() as session:
        errors = await option_errors(session, team_id, asked)
        if errors:
            raise Refusal(422, "The scan names something that does not exist.", errors=errors)
        scan, _ = await scans.create_scan(
            session,
            team_id,
            asked,
            trigger=ScanTrigger(),
            idempotency_key=key,
            at=at,
            kind=ScanKind.HYBRID if isinstance(asked, HybridOptions) else ScanKind.NATIVE,
        )
        account = await accounts.get_account(session, team_id, scan.account_id)
    return await scan_control.started(shared, team_id, scan, account)


async def option_errors(
    session: AsyncSession, team_id: UUID, asked: NativeOptions | HybridOptions
) -> list[FieldMessage]:
    """The names in such a scan's options that do not exist, field by field."""
    if isinstance(asked, HybridOptions):
        errors = await _unknown_scopes(session, team_id, asked)
    else:
        errors = await _unknown_targets(session, team_id, asked)
    policies = await scan_policies.all_policies(session, team_id)
    if asked.policy not in policies:
        errors.append(
            ("policy", f"There is no policy `{asked.policy}`. Use {', '.join(policies)}.")
        )
    return errors


async def _unknown_scopes(
    session: AsyncSession, team_id: UUID, asked: HybridOptions
) -> list[FieldMessage]:
    known = {scope.id for scope in await target_scopes.all_scopes(session, team_id)}
    return [
        (f"scopes[{number}]", "There is no such scope. `cloudsweep scope list` shows them.")
        for number, scope_id in enumerate(asked.scopes or ())
        if scope_id not in known
    ]


async def _unknown_targets(
    session: AsyncSession, team_id: UUID, asked: NativeOptions
) -> list[FieldMessage]:
    found = await targets.load_targets(session, team_id, asked.targets)
    known = {target.id for target in found}
    errors = [
        (f"targets[{number}]", "There is no such target. `cloudsweep target list` shows them.")
        for number, target_id in enumerate(asked.targets)
        if target_id not in known
    ]
    errors += [
        (f"tools[{number}]", f"There is no tool `{tool}`. There are: {', '.join(TOOLS)}.")
        for number, tool in enumerate(asked.tools or ())
        if tool not in TOOLS
    ]
    fix = unsuitable(asked.tools or (), {target.kind for target in found})
    if not errors and fix:
        errors.append(("tools", f"None of these tools looks at any of the targets. {fix}"))
    return errors
