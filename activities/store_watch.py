"""What the store says that contradicts itself: left behind, counted wrongly, not brought along."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from temporalio import activity
from temporalio.client import Client

from activities.mending import FOUND_AT_ONCE, Found, Mending
from activities.progress import heartbeating
from activities.sync_starts import start_sync
from contracts.consistency import Fault, RepairKind
from contracts.runs import JobSummary
from contracts.vulnerabilities import NewSync
from storage.database import Database
from storage.scans import imports
from storage.schedules import schedules
from storage.vulnerabilities import vulnerability_sync
from storage.watchdog import count_drift, drift, vulnerability_drift
from storage.watchdog.count_drift import Checked

ROWS_AT_ONCE: Final = 10_000
"""Rows that one transaction deletes or marks, so that nobody waits for it for long."""

BATCHES: Final = 100
"""Such transactions for one repair in one cycle; the next one goes on."""

ACCOUNTS_A_CYCLE: Final = 20
"""Accounts whose totals are compared with their findings, which reads all of them."""


class _Differing(NamedTuple):
    """An account whose vulnerabilities its sync has to put right. `full`: also what they say of
    their occurrences."""

    account: Checked
    full: bool


class StoreWatchActivities:
    """Each repair is a statement that finds its rows again: repeating it changes nothing."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def watch_store(self) -> JobSummary:
        """End uploads and shards, delete staged rows, mark resources that were left behind."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            async with self._database.transaction() as session:
                unread = await imports.abandoned(session, at=mending.at, limit=FOUND_AT_ONCE)
            await mending.mend(
                RepairKind.IMPORT_ABANDONED,
                map(_by_id, unread),
                partial(self._end_import, mending.at),
            )
            async with self._database.transaction() as session:
                installation = await schedules.installation(session)
                left = await drift.shards_left(session, limit=FOUND_AT_ONCE)
            await mending.mend(
                RepairKind.SHARDS_LEFT, map(_by_id, left), partial(self._end_shards, mending.at)
            )
            async with self._database.transaction() as session:
                staged = await drift.staging_left(session, installation, limit=FOUND_AT_ONCE)
            await mending.mend(
                RepairKind.STAGING_LEFT,
                [Found(each, int(each.subject.rpartition("/")[2])) for each in staged],
                self._delete_staged,
            )
            async with self._database.transaction() as session:
                unseen = await drift.resources_unseen(session, limit=FOUND_AT_ONCE)
            await mending.mend(
                RepairKind.RESOURCES_UNSEEN,
                map(_by_id, unseen),
                partial(self._mark_gone, mending.at),
            )
        return mending.summary()

    async def _end_import(self, at: datetime, scan_id: UUID) -> None:
        async with self._database.transaction() as session:
            await imports.end_abandoned(session, scan_id, at=at)

    async def _end_shards(self, at: datetime, scan_id: UUID) -> None:
        async with self._database.transaction() as session:
            await drift.end_shards(session, scan_id, at=at)

    async def _delete_staged(self, task_id: int) -> None:
        for _ in range(BATCHES):
            async with self._database.transaction() as session:
                deleted = await drift.delete_staged(session, task_id, limit=ROWS_AT_ONCE)
            if deleted < ROWS_AT_ONCE:
                return

    async def _mark_gone(self, at: datetime, account_id: UUID) -> None:
        for _ in range(BATCHES):
            async with self._database.transaction() as session:
                marked = await drift.mark_gone(session, account_id, at=at, limit=ROWS_AT_ONCE)
            if marked < ROWS_AT_ONCE:
                return

    @activity.defn
    async def watch_totals(self) -> JobSummary:
        """Compare findings with what follows from them, a few accounts a cycle, in turn: running
        totals and vulnerabilities."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            async with self._database.transaction() as session:
                accounts = await count_drift.next_to_check(session, limit=ACCOUNTS_A_CYCLE)
            for team_id in sorted({account.team_id for account in accounts}):
                async with self._database.transaction() as session:
                    # Totals are made from counts: then all of the team's have to be right.
                    if await count_drift.totals_lack(session, team_id):
                        accounts += await count_drift.of_team(session, team_id)
            wrong: list[Found[count_drift.Checked]] = []
            for account in dict.fromkeys(accounts):
                async with self._database.transaction() as session:
                    lacking = await count_drift.counts_lack(session, account.id)
                if lacking:
                    fault = Fault(
                        subject=f"account/{account.id}",
                        team_id=account.team_id,
                        words=f"The totals of {account.name} were wrong by {lacking} findings. "
                        "Rebuilt them.",
                    )
                    wrong.append(Found(fault, account))
            await mending.mend(
                RepairKind.COUNTS_WRONG,
                wrong,
                self._rebuild_counts,
                among={f"account/{account.id}" for account in accounts},
            )
            teams = {account.team_id for account in accounts}
            await mending.mend(
                RepairKind.TOTALS_WRONG,
                await self._wrong_totals(teams),
                self._rebuild_totals,
                among={f"team/{team_id}" for team_id in teams},
            )
            await self._watch_vulnerabilities(mending, list(dict.fromkeys(accounts)))
            async with self._database.transaction() as session:
                checked = {account.id for account in accounts}
                await count_drift.note_checked(session, list(checked), at=mending.at)
        return mending.summary()

    async def _wrong_totals(self, teams: set[UUID]) -> list[Found[UUID]]:
        found = []
        for team_id in sorted(teams):
            async with self._database.transaction() as session:
                lacking = await count_drift.totals_lack(session, team_id)
            if lacking:
                words = f"The team's totals were wrong by {lacking} findings. Rebuilt them."
                fault = Fault(subject=f"team/{team_id}", team_id=team_id, words=words)
                found.append(Found(fault, team_id))
        return found

    async def _watch_vulnerabilities(self, mending: Mending, accounts: Sequence[Checked]) -> None:
        differing: list[Found[_Differing]] = []
        for account in accounts:
            async with self._database.transaction() as session:
                found = await vulnerability_drift.disagreement(session, account.id, at=mending.at)
            if found is not None:
                fault = Fault(
                    subject=f"account/{account.id}",
                    team_id=account.team_id,
                    words=f"Of {account.name} {found}. Started the sync.",
                )
                differing.append(Found(fault, _Differing(account, full=found.wrong > 0)))
        await mending.mend(
            RepairKind.VULNERABILITIES_DIFFER,
            differing,
            self._sync,
            among={f"account/{account.id}" for account in accounts},
        )

    async def _sync(self, differing: _Differing) -> None:
        """The sync of the team looks at this account, though no scan of it ended; it looks at all
        accounts, which takes longer, only where that is needed."""
        account = differing.account
        async with self._database.transaction() as session:
            await vulnerability_sync.ask_for_sync(session, account.team_id, account.id)
        await start_sync(self._client, account.team_id, NewSync(full=differing.full))

    async def _rebuild_counts(self, account: count_drift.Checked) -> None:
        async with self._database.transaction() as session:
            await count_drift.rebuild_counts(session, account.team_id, account.id)

    async def _rebuild_totals(self, team_id: UUID) -> None:
        async with self._database.transaction() as session:
            await count_drift.rebuild_totals(session, team_id)


def _by_id(fault: Fault) -> Found[UUID]:
    return Found(fault, UUID(fault.subject.rpartition("/")[2]))
