"""What follows a scan that has ended: each enabled rule at most once in each chain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from temporalio import activity
from temporalio.client import Client

from activities import engine_starts
from activities.cascade_planning import chain_of, plan_rule
from activities.failures import may_be_retried, safe_words
from activities.progress import heartbeating
from contracts.cascades import Cascade, CascadePlan, CascadesStarted
from contracts.errors import TransientError
from contracts.scans import Scan, ScanRequest
from contracts.vocabulary import ScanStatus
from runtime.settings import Settings
from storage import accounts
from storage.cascades import cascades
from storage.database import Database
from storage.scans import scan_state, scans

REFUSED_NAMED: Final = 5
"""Refused targets that the notes of a scan name for each rule; they count the others."""


class CascadeActivities:
    """Idempotent: what a rule started stands in the database before its workflow is started."""

    def __init__(self, database: Database, settings: Settings, client: Client) -> None:
        self._database = database
        self._settings = settings
        self._client = client

    @activity.defn
    async def start_cascades(self, request: ScanRequest) -> CascadesStarted:
        """Start what the team's enabled rules make of this scan, and note it there.

        A rule that fails is noted, and the others go on. A worker that dies between the record and
        the start is repeated here; should nobody repeat it, the watchdog starts what is pending.
        """
        async with heartbeating():  # a worker that dies here is noticed before its time is up
            return await self._follow(request)

    async def _follow(self, request: ScanRequest) -> CascadesStarted:
        async with self._database.transaction() as session:
            record = await scan_state.load_scan(session, request.scan_id)
            scan = await scans.get_scan(session, record.team_id, record.id)
            rules = await cascades.enabled_rules(session, record.team_id)
        for rule in rules:
            try:
                await self._record(record.team_id, scan, rule)
            except TransientError:  # no database: the next rule would meet that, too
                raise
            except Exception as error:
                if may_be_retried(error):
                    raise
                words = f"Cascade {rule.name} started nothing: {safe_words(error).message}"
                await self._note(scan.id, [words])
        return CascadesStarted(scan_ids=await self._start_recorded(record.team_id, scan))

    async def _record(self, team_id: UUID, scan: Scan, rule: Cascade) -> None:
        """The rule's scan as a row, or nothing, in one transaction with the notes."""
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            chain = await chain_of(session, self._settings, team_id, scan, at=now)
            plan = await plan_rule(session, team_id, chain, rule)
            started = None
            if plan.starts:
                started = await cascades.record_start(
                    session,
                    team_id,
                    rule,
                    [(each.kind, each.value) for each in plan.targets],
                    root_scan_id=chain.root_scan_id,
                    parent_scan_id=scan.id,
                    scopes=chain.scopes,
                    at=now,
                )
            await scan_state.add_notes(session, scan.id, _notes(plan, started))

    async def _start_recorded(self, team_id: UUID, scan: Scan) -> list[UUID]:
        """Start the workflows of what follows this scan, those of an earlier attempt too."""
        root = scan.trigger.root_scan_id or scan.id
        async with self._database.transaction() as session:
            pending = [
                following
                for scan_id in await cascades.started_after(session, scan.id, root)
                if (following := await scans.find_scan(session, team_id, scan_id)) is not None
                and following.status is ScanStatus.PENDING
            ]
            names = {
                each.account_id: (await accounts.load_account(session, each.account_id)).name
                for each in pending
            }
        for each in pending:
            await engine_starts.start_scan(
                self._client,
                each.id,
                kind=each.kind,
                team_id=team_id,
                account_id=each.account_id,
                account_name=names[each.account_id],
            )
        return [each.id for each in pending]

    async def _note(self, scan_id: UUID, notes: list[str]) -> None:
        async with self._database.transaction() as session:
            await scan_state.add_notes(session, scan_id, notes)


def _notes(plan: CascadePlan, started: UUID | None) -> list[str]:
    """What a reader of the scan that ended should know: what follows it, and what never will."""
    notes = []
    if started is not None:
        count = "1 target" if len(plan.targets) == 1 else f"{len(plan.targets)} targets"
        notes.append(f"Cascade {plan.rule} started scan {started} of {count}.")
        if plan.left_out:
            notes.append(
                f"Cascade {plan.rule} left out {plan.left_out} more: its max_targets are "
                f"{len(plan.targets)}."
            )
    notes += [
        f"Cascade {plan.rule} does not scan {each.value}: {each.error} ({each.rule})"
        for each in plan.refused[:REFUSED_NAMED]
    ]
    more = len(plan.refused) - REFUSED_NAMED
    if more > 0:
        notes.append(f"Cascade {plan.rule} does not scan {more} more that it may not.")
    return notes
