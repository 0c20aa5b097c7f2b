"""Keeping schedules true: what should fire, what was missed or lost, and what expired."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from activities import temporal_schedules
from activities.admission_rules import ON_TIME
from activities.progress import heartbeating
from activities.run_admission import RunAdmissionActivities
from activities.run_endings import YOUNG, RunEndActivities
from activities.schedule_pages import PAGE, unfinished
from contracts.runs import (
    JobSummary,
    ReconcileRequest,
    RunAsked,
    RunInTheWay,
    RunRequest,
    SweepBatch,
    SweepDone,
    run_id_at,
)
from contracts.schedules import ExpiryTrigger, StoredSchedule
from contracts.vocabulary import RunOutcome, RunTrigger, ScheduleStatus
from runtime import search_attributes, task_queues
from scheduling.times import next_times, occurrences
from storage.database import Database
from storage.schedules import job_runs, schedules, tracked_items
from storage.schedules.tracked_items import Firing

MISSED_AT_ONCE: Final = 1_000
"""Missed times of one schedule that one cycle records; the next cycle goes on."""
STARTS_AT_ONCE: Final = 16
UNFIRED: Final = "Nothing fired it: Temporal was away, or had lost this schedule."


class ScheduleUpkeepActivities:
    """Each step compares what is with what should be, so that repeating it changes nothing."""

    def __init__(
        self,
        database: Database,
        client: Client,
        admission: RunAdmissionActivities,
        endings: RunEndActivities,
    ) -> None:
        self._database = database
        self._client = client
        self._admission = admission
        self._endings = endings

    @activity.defn
    async def reconcile_schedules(self, request: ReconcileRequest) -> JobSummary:
        """Create what Temporal lacks, correct what differs, remove what nobody defined."""
        did: Counter[str] = Counter()
        async with heartbeating():
            async with self._database.transaction() as session:
                installation = await schedules.installation(session)
            held = {
                each.id: each
                async for each in temporal_schedules.listed(self._client, installation)
            }
            async for schedule in unfinished(self._database):
                entry = held.pop(schedule.id, None)
                did.update(await self._reconcile(schedule, entry, installation, request.full))
            for orphan in held:
                did.update(await self._remove_orphan(orphan))
        return JobSummary(counts=dict(did))

    async def _reconcile(
        self,
        schedule: StoredSchedule,
        entry: temporal_schedules.Listed | None,
        installation: UUID,
        full: bool,
    ) -> list[str]:
        did = []
        now = activity.info().started_time
        async with self._database.transaction() as session:
            gone = await self._admission.what_is_gone(
                session, schedule.team_id, schedule.job, schedule.params
            )
            if gone is not None and not schedule.paused:
                await schedules.set_paused(session, schedule.id, True, gone, at=now)
                did.append("paused")
            elif _has_run_out(schedule, now):
                await schedules.finish_schedule(session, schedule.id, at=now)
                did.append("finished")
        if not did and not await self._differs(schedule, entry, full):
            return did
        async with self._database.transaction() as session:
            newest = await schedules.load_schedule(session, schedule.id, lock=True)
            if newest is None:
                return did
            created = await temporal_schedules.put(self._client, newest, installation)
        # Its list may be a second behind: what was only just made is no repair.
        if created:
            did.append("created")
        elif entry is not None and not did:
            did.append("corrected")
        return did

    async def _differs(
        self, schedule: StoredSchedule, entry: temporal_schedules.Listed | None, full: bool
    ) -> bool:
        """Whether Temporal may hold something else than this schedule says."""
        if temporal_schedules.looks_off(schedule, entry):
            return True
        return (
            full and entry is not None and await temporal_schedules.differs(self._client, schedule)
        )

    async def _remove_orphan(self, schedule_id: UUID) -> list[str]:
        async with self._database.transaction() as session:
            schedule = await schedules.load_schedule(session, schedule_id, lock=True)
            if schedule is not None and temporal_schedules.fires(schedule):
                return []  # made while we looked
            removed = await temporal_schedules.remove(self._client, schedule_id)
        return ["removed"] if removed else []

    @activity.defn
    async def record_missed_runs(self) -> JobSummary:
        """Give every time that passed without a run its record, with the reason."""
        missed = 0
        now = activity.info().started_time
        async with heartbeating():
            async for schedule in unfinished(self._database):
                if schedule.status is ScheduleStatus.ACTIVE:
                    missed += await self._record_missed(schedule, now)
        return JobSummary(counts={"missed": missed})

    async def _record_missed(self, schedule: StoredSchedule, now: datetime) -> int:
        # Until then Temporal may still fire it, and a worker may still start it.
        patience = timedelta(seconds=schedule.catchup_seconds + schedule.jitter_seconds)
        due = occurrences(
            schedule, after=schedule.accounted_until, until=now - patience - 4 * ON_TIME
        )
        times = {run_id_at(schedule.id, time): time for time in islice(due, MISSED_AT_ONCE)}
        if not times:
            return 0
        async with self._database.transaction() as session:
            newest = await schedules.load_schedule(session, schedule.id, lock=True)
            if newest is None or newest.updated_at != schedule.updated_at:
                return 0  # changed meanwhile, which settled its times
            known = await job_runs.known_runs(session, list(times))
            unfired = {run_id: time for run_id, time in times.items() if run_id not in known}
            for run_id, time in unfired.items():
                await job_runs.add_run(
                    session,
                    RunAsked(
                        schedule_id=schedule.id,
                        run_id=run_id,
                        nominal_at=time,
                        asked_at=now,
                        workflow_id="",
                        execution_id="",
                    ),
                    team_id=schedule.team_id,
                    job=schedule.job,
                    params=schedule.params,
                    overlap=schedule.overlap,
                    overlap_key=f"schedule/{schedule.id}",
                    outcome=RunOutcome.MISSED,
                    reason=UNFIRED,
                )
            await schedules.count_outcome(session, schedule.id, missed=len(unfired))
            await schedules.settle_until(session, schedule.id, max(times.values()))
        return len(unfired)

    @activity.defn
    async def end_lost_runs(self) -> JobSummary:
        """End the record of runs that no workflow runs any more, so that none blocks another."""
        ended = 0
        now = activity.info().started_time
        after: UUID | None = None
        async with heartbeating():
            while True:
                async with self._database.transaction() as session:
                    page = await job_runs.live_runs(
                        session, queued_before=now - YOUNG, after=after, limit=PAGE
                    )
                for run in page:
                    if run.workflow_id and await self._endings.lives(
                        run.workflow_id, run.queued_at
                    ):
                        continue
                    lost = RunInTheWay(
                        workflow_id=run.workflow_id or "", work_id=run.work_id, scan_id=run.scan_id
                    )
                    await self._endings.record_lost(run.id, lost)
                    ended += 1
                if len(page) < PAGE:
                    return JobSummary(counts={"lost": ended})
                after = page[-1].id

    @activity.defn
    async def start_due_items(self, batch: SweepBatch) -> SweepDone:
        """Start a run for each tracked item that is due: each expiry once, also after a crash."""
        async with heartbeating():
            async with self._database.transaction() as session:
                active = await self._may_fire(session, batch)
                room = batch.limit - len(
                    await tracked_items.open_firings(session, active, limit=batch.limit)
                )
                for schedule in active.values():
                    if room <= 0:
                        break
                    room -= await tracked_items.notice_due(
                        session, schedule, at=batch.at, limit=room
                    )
            # Noticed is committed before anything starts: a crash in between starts it later.
            async with self._database.transaction() as session:
                active = await self._may_fire(session, batch)
                due = await tracked_items.open_firings(session, active, limit=batch.limit)
            slots = asyncio.Semaphore(STARTS_AT_ONCE)
            await asyncio.gather(
                *(self._start(firing, active[firing.schedule_id], slots) for firing in due)
            )
            async with self._database.transaction() as session:
                await tracked_items.mark_started(session, due, at=batch.at)
        return SweepDone(started=len(due))

    @staticmethod
    async def _may_fire(session: AsyncSession, batch: SweepBatch) -> dict[UUID, StoredSchedule]:
        active = await schedules.active_expiry_schedules(session, at=batch.at)
        return {schedule.id: schedule for schedule in active}

    async def _start(
        self, firing: Firing, schedule: StoredSchedule, slots: asyncio.Semaphore
    ) -> None:
        item, trigger = firing.item, schedule.trigger
        lead = trigger.lead_seconds if isinstance(trigger, ExpiryTrigger) else None
        expiry = f"{item.id}/{item.expires_at.isoformat()}"
        # Started before a crash that came before its record: then it is started.
        async with slots:
            with suppress(WorkflowAlreadyStartedError):
                await self._client.start_workflow(
                    temporal_schedules.JOB_RUN,
                    RunRequest(
                        schedule_id=schedule.id,
                        trigger=RunTrigger.EXPIRY,
                        run_id=uuid5(schedule.id, expiry),
                        nominal_at=item.expires_at
                        - timedelta(seconds=firing.lead_seconds if lead is None else lead),
                        item=item,
                    ),
                    id=f"{schedule.job}/{schedule.id}/{expiry}",
                    task_queue=task_queues.SCANS,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=search_attributes.of_schedule(schedule.team_id, schedule.id),
                    static_summary=f"{schedule.name}: {item.name}",
                )


def _has_run_out(schedule: StoredSchedule, now: datetime) -> bool:
    """Whether nothing is left to fire, not even late."""
    if schedule.ends_at is not None and isinstance(schedule.trigger, ExpiryTrigger):
        return schedule.ends_at < now
    if not temporal_schedules.fires(schedule):
        return False
    patience = timedelta(seconds=schedule.catchup_seconds) + 8 * ON_TIME
    return not next_times(schedule, after=now - patience, count=1)
