"""Whether Temporal fires what schedules here say, and whether anybody still looks after that."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client

from activities import engine_starts, temporal_schedules
from activities.admission_rules import ON_TIME
from activities.mending import Found, Mending
from activities.progress import heartbeating
from activities.run_endings import YOUNG
from activities.scan_watch import SECOND_LOOK_SECONDS
from activities.schedule_pages import unfinished
from contracts.consistency import Fault, RepairKind
from contracts.runs import JobSummary, RunRequest
from contracts.schedules import StoredSchedule
from contracts.vocabulary import RunTrigger, ScheduleStatus
from scheduling.times import next_times
from storage.database import Database
from storage.schedules import run_history, schedules
from storage.watchdog import repairs

RECONCILER: Final = "schedule_reconciler"
"""Its name in the catalogue, which may not be imported from here. A test compares the names."""

RECONCILER_LATE: Final = timedelta(minutes=15)

RECONCILER_LASTS: Final = timedelta(hours=1)
"""A run of it that has not ended in this time never will."""


class _Differing(NamedTuple):
    """Schedules of which Temporal says something else than their rows."""

    lacking: set[UUID]
    unknown: set[UUID]
    other: set[UUID]

    def both(self, earlier: _Differing) -> _Differing:
        """What is found now as it was before."""
        return _Differing(*(now & before for now, before in zip(self, earlier, strict=True)))


class ScheduleWatchActivities:
    """Repairs nothing itself: the reconciler does, and its runs exclude each other."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    async def watch_reconciler(self) -> JobSummary:
        """Run the reconciler of schedules when it was due and has not run, or when Temporal's
        schedules differ from ours; forget old repairs."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            reconciler = await self._idle_reconciler()
            late = await self._late(reconciler)
            if late:  # it may be due just now
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                late = await self._late(await self._idle_reconciler())
            await mending.mend(RepairKind.RECONCILER_LATE, late, self._reconcile)
            differ = [] if late or reconciler is None else await self._differ(reconciler)
            await mending.mend(RepairKind.SCHEDULES_DIFFER, differ, self._reconcile)
            async with self._database.transaction() as session:
                await repairs.forget(session, at=mending.at)
        return mending.summary()

    async def _idle_reconciler(self) -> StoredSchedule | None:
        """Its schedule; None while it runs, or if a person paused it."""
        since = datetime.now(UTC) - RECONCILER_LASTS
        async with self._database.transaction() as session:
            installation = await schedules.installation(session)
            schedule = await schedules.default_schedule(session, installation, RECONCILER)
            if schedule is None or schedule.status is not ScheduleStatus.ACTIVE:
                return None
            if await run_history.goes_on(session, schedule.id, since=since):
                return None
        return schedule

    async def _late(self, reconciler: StoredSchedule | None) -> list[Found[StoredSchedule]]:
        if reconciler is None:
            return []
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            last = await run_history.last_success(session, reconciler.id)
        since = last or reconciler.created_at
        due = next_times(reconciler, after=since, count=1)
        if since > now - RECONCILER_LATE or not due or due[0] > now - 4 * ON_TIME:
            return []
        return [
            _found(
                reconciler,
                f"Schedules were last compared with Temporal's at {since:%Y-%m-%d %H:%M} UTC.",
            )
        ]

    async def _differ(self, reconciler: StoredSchedule) -> list[Found[StoredSchedule]]:
        differing = await self._compare(reconciler.team_id)
        if any(differing):  # Temporal's list is a moment behind
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            differing = (await self._compare(reconciler.team_id)).both(differing)
        if not any(differing):
            return []
        lacking, unknown, other = map(len, differing)
        return [
            _found(
                reconciler,
                f"Temporal lacks {lacking} schedules, holds {unknown} that nobody defined, and "
                f"holds {other} otherwise than they are defined.",
            )
        ]

    async def _compare(self, installation: UUID) -> _Differing:
        found = _Differing(set(), set(), set())
        old = datetime.now(UTC) - YOUNG
        held = {
            each.id: each async for each in temporal_schedules.listed(self._client, installation)
        }
        async for schedule in unfinished(self._database):
            entry = held.pop(schedule.id, None)
            if schedule.updated_at > old or not temporal_schedules.looks_off(schedule, entry):
                continue
            (found.lacking if entry is None else found.other).add(schedule.id)
        for orphan in held:
            async with self._database.transaction() as session:
                schedule_of = await schedules.load_schedule(session, orphan)
            if schedule_of is None or schedule_of.updated_at < old:
                found.unknown.add(orphan)
        return found

    async def _reconcile(self, reconciler: StoredSchedule) -> None:
        request = RunRequest(schedule_id=reconciler.id, trigger=RunTrigger.MANUAL, run_id=uuid4())
        await engine_starts.start_run(self._client, request, reconciler.team_id, reconciler.name)


def _found(reconciler: StoredSchedule, words: str) -> Found[StoredSchedule]:
    fault = Fault(
        subject=f"schedule/{reconciler.id}",
        team_id=reconciler.team_id,
        words=f"{words} Started the reconciler.",
    )
    return Found(fault, reconciler)
