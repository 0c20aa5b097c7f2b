"""What the store says that contradicts itself, and whether schedules are still looked after."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client

from activities import engine_starts
from activities.admission_rules import ON_TIME
from activities.mending import FOUND_AT_ONCE, Found, Mending
from activities.progress import heartbeating
from activities.scan_watch import SECOND_LOOK_SECONDS
from contracts.consistency import Fault, RepairKind
from contracts.runs import JobSummary, RunRequest
from contracts.schedules import StoredSchedule
from contracts.vocabulary import RunTrigger, ScheduleStatus
from scheduling.times import next_times
from storage import count_drift, drift, repairs, run_history, schedules
from storage.database import Database

ROWS_AT_ONCE: Final = 10_000
"""Rows that one transaction deletes or marks, so that nobody waits for it for long."""

BATCHES: Final = 100
"""Such transactions for one repair in one cycle; the next one goes on."""

ACCOUNTS_A_CYCLE: Final = 20
"""Accounts whose totals are compared with their findings, which reads all of them."""

RECONCILER: Final = "schedule_reconciler"
"""Its name in the catalogue, which may not be imported from here. A test compares the names."""

RECONCILER_LATE: Final = timedelta(minutes=15)

RECONCILER_LASTS: Final = timedelta(hours=1)
"""A run of it that has not ended in this time never will."""


class StoreWatchActivities:
    """Each repair is a statement that finds its rows again: repeating it changes nothing."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def watch_store(self) -> JobSummary:
        """End shards, delete staged rows and mark resources that were left behind."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
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
        """Compare running totals with what they count, a few accounts a cycle, in turn."""
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

    async def _rebuild_counts(self, account: count_drift.Checked) -> None:
        async with self._database.transaction() as session:
            await count_drift.rebuild_counts(session, account.team_id, account.id)

    async def _rebuild_totals(self, team_id: UUID) -> None:
        async with self._database.transaction() as session:
            await count_drift.rebuild_totals(session, team_id)

    @activity.defn
    async def watch_reconciler(self) -> JobSummary:
        """Run the reconciler of schedules when it was due and has not run; forget old repairs."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            late = await self._late_reconciler()
            if late:  # it may be due just now
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                late = await self._late_reconciler()
            await mending.mend(RepairKind.RECONCILER_LATE, late, self._reconcile)
            async with self._database.transaction() as session:
                await repairs.forget(session, at=mending.at)
        return mending.summary()

    async def _late_reconciler(self) -> list[Found[StoredSchedule]]:
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            installation = await schedules.installation(session)
            schedule = await schedules.default_schedule(session, installation, RECONCILER)
            if schedule is None or schedule.status is not ScheduleStatus.ACTIVE:
                return []
            last = await run_history.last_success(session, schedule.id)
            since = last or schedule.created_at
            goes_on = await run_history.goes_on(session, schedule.id, since=now - RECONCILER_LASTS)
        due = next_times(schedule, after=since, count=1)
        if goes_on or since > now - RECONCILER_LATE or not due or due[0] > now - 4 * ON_TIME:
            return []
        fault = Fault(
            subject=f"schedule/{schedule.id}",
            team_id=installation,
            words=f"Schedules were last compared with Temporal's at {since:%Y-%m-%d %H:%M} UTC. "
            "Started the reconciler.",
        )
        return [Found(fault, schedule)]

    async def _reconcile(self, schedule: StoredSchedule) -> None:
        request = RunRequest(schedule_id=schedule.id, trigger=RunTrigger.MANUAL, run_id=uuid4())
        await engine_starts.start_run(self._client, request, schedule.team_id, schedule.name)


def _by_id(fault: Fault) -> Found[UUID]:
    return Found(fault, UUID(fault.subject.rpartition("/")[2]))
