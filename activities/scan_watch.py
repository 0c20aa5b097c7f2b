"""Scans whose row and workflow do not agree, that take too long, or that nobody works on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from activities import engine_starts
from activities.engine_state import described, how_it_ended, is_polled, silent_shards
from activities.mending import FOUND_AT_ONCE, Found, Mending, SubjectT
from activities.progress import heartbeating
from activities.run_endings import YOUNG
from contracts.consistency import Fault, RepairKind
from contracts.runs import JobSummary
from contracts.scans import ScanEnd, ScanError
from contracts.vocabulary import ScanKind, ScanStatus, TaskKind
from runtime import search_attributes, task_queues
from runtime.settings import Settings
from storage.database import Database
from storage.scans import scan_state, scan_watch
from storage.scans.scan_watch import WatchedScan

PAGE: Final = 500
ASKED_AT_ONCE: Final = 16
SECOND_LOOK_SECONDS: Final = 5.0
"""What is being started or ended just now is settled by then."""

RUNNING_SCANS: Final = "WorkflowId STARTS_WITH 'scan/' AND ExecutionStatus = 'Running'"
"""Of whatever kind."""

SILENT_AFTER: Final = timedelta(minutes=5)
"""A shard that fails is tried again after two minutes at most; without a heartbeat for longer than
that it waits for a worker."""

RESUME: Final = "Resume the scan to run the shards that are not done."

QUEUES: Final = {
    TaskKind.DISCOVERY: task_queues.DISCOVERY,
    TaskKind.COMPLIANCE: task_queues.COMPLIANCE,
    TaskKind.NATIVE: task_queues.NATIVE,
}


PLANNED_ON: Final = {
    ScanKind.CLOUD: task_queues.COMPLIANCE,
    ScanKind.KUBERNETES: task_queues.COMPLIANCE,
    ScanKind.NATIVE: task_queues.NATIVE,
    ScanKind.HYBRID: task_queues.NATIVE,
}
"""Shards are planned where their scanner is."""


class _Execution(NamedTuple):
    """One execution of a scan's workflow."""

    workflow_id: str
    run_id: str


class _Silent(NamedTuple):
    """Shards of a scan that nobody runs."""

    scan_id: UUID
    shards: list[scan_watch.RunningShard]


class _Seen(NamedTuple):
    """What one look found, by subject."""

    lost: dict[str, Found[WatchedScan]]
    not_started: dict[str, Found[WatchedScan]]
    unwanted: dict[str, Found[_Execution]]
    stuck: dict[str, Found[WatchedScan]]
    silent: dict[str, Found[_Silent]]


class ScanWatchActivities:
    """Each repair looks again, with the scan's row locked, before it changes anything."""

    def __init__(self, database: Database, client: Client, settings: Settings) -> None:
        self._database = database
        self._client = client
        self._settings = settings

    @activity.defn
    async def watch_scans(self) -> JobSummary:
        """End, start or cancel scans whose row and workflow differ, and those that are stuck; say
        of shards that nobody runs that they wait."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            seen = await self._look()
            if seen.lost or seen.not_started or seen.unwanted:
                await asyncio.sleep(SECOND_LOOK_SECONDS)
                again = await self._look()
                seen = _Seen(
                    _both(seen.lost, again.lost),
                    _both(seen.not_started, again.not_started),
                    _both(seen.unwanted, again.unwanted),
                    again.stuck,
                    again.silent,
                )
            await mending.mend(RepairKind.SCAN_LOST, seen.lost.values(), self._end_lost)
            await mending.mend(RepairKind.SCAN_NOT_STARTED, seen.not_started.values(), self._start)
            await mending.mend(RepairKind.SCAN_UNWANTED, seen.unwanted.values(), self._cancel)
            await mending.mend(RepairKind.SCAN_STUCK, seen.stuck.values(), self._cancel_stuck)
            await mending.mend(RepairKind.SHARD_SILENT, seen.silent.values(), self._say_silent)
        return mending.summary()

    async def _look(self) -> _Seen:
        now = datetime.now(UTC)
        seen = _Seen({}, {}, {}, {}, {})
        async for page in self._unended():
            executions = await self._executions(page)
            async with self._database.transaction() as session:
                shards = await scan_watch.running_shards(session, [scan.id for scan in page])
            for scan, execution in zip(page, executions, strict=True):
                runs = execution is not None and execution.status is WorkflowExecutionStatus.RUNNING
                if scan.status is ScanStatus.PENDING:
                    # A run that has not ended starts its scan itself.
                    if not runs and not scan.of_run and scan.queued_at < now - YOUNG:
                        words = f"The scan of {scan.account_name} waits, but has no workflow."
                        _add(seen.not_started, scan, f"{words} Started it.")
                elif not runs:
                    words = f"The scan of {scan.account_name} is {scan.status}, but its workflow "
                    _add(seen.lost, scan, f"{words} does not run. Ended it as failed.")
                elif self._is_stuck(scan, now):
                    words = f"The scan of {scan.account_name} runs for longer than "
                    hours = self._settings.stuck_hours(scan.kind)
                    _add(seen.stuck, scan, f"{words}{hours:g} hours. Cancelled it.")
                elif execution is not None and scan.id in shards:
                    quiet = await silent_shards(self._client, execution, before=now - SILENT_AFTER)
                    silent = [shard for shard in shards[scan.id] if shard.key in quiet]
                    if silent:
                        words = f"Of the scan of {scan.account_name} {len(silent)} shards are "
                        words += "running, but no worker has them. They wait for one, it says now."
                        fault = Fault(subject=f"scan/{scan.id}", team_id=scan.team_id, words=words)
                        seen.silent[fault.subject] = Found(fault, _Silent(scan.id, silent))
        async for found in self._unwanted(now):
            seen.unwanted[found.fault.subject] = found
        return seen

    async def _unended(self) -> AsyncIterator[list[WatchedScan]]:
        after: UUID | None = None
        while True:
            async with self._database.transaction() as session:
                page = await scan_watch.unended(session, after=after, limit=PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def _executions(
        self, scans: list[WatchedScan]
    ) -> list[WorkflowExecutionDescription | None]:
        slots = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(scan: WatchedScan) -> WorkflowExecutionDescription | None:
            async with slots:
                return await described(self._client, f"scan/{scan.id}")

        return await asyncio.gather(*map(ask, scans))

    def _is_stuck(self, scan: WatchedScan, now: datetime) -> bool:
        return (
            scan.status is ScanStatus.RUNNING
            and scan.running_since is not None
            and scan.running_since < now - timedelta(hours=self._settings.stuck_hours(scan.kind))
        )

    async def _unwanted(self, now: datetime) -> AsyncIterator[Found[_Execution]]:
        """Workflows that run though their scan has ended or was deleted."""
        async with self._database.transaction() as session:
            teams = await scan_watch.teams(session)
        running = {
            UUID(each.id.removeprefix("scan/")): (each, team_id)
            async for each in self._client.list_workflows(RUNNING_SCANS, page_size=PAGE)
            # Another installation may share the namespace: its teams are not ours.
            if (team_id := _team_of(each)) in teams and each.start_time < now - YOUNG
        }
        async with self._database.transaction() as session:
            known = await scan_watch.ends(session, running)
        for scan_id, (execution, team_id) in running.items():
            status, ended_at = known.get(scan_id, (None, None))
            if status is not None and not (
                status.ended and ended_at is not None and ended_at < now - YOUNG
            ):
                continue
            handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                continue  # the list is a moment behind
            what = "was deleted" if status is None else f"is {status}"
            fault = Fault(
                subject=execution.id,
                team_id=team_id,
                words=f"The scan {what}, but its workflow runs. Cancelled it.",
            )
            yield Found(fault, _Execution(execution.id, execution.run_id))

    async def _end_lost(self, scan: WatchedScan) -> None:
        async with self._database.transaction() as session:
            status = await scan_watch.status_locked(session, scan.id)
            how = await how_it_ended(self._client, f"scan/{scan.id}")
            if status not in (ScanStatus.RUNNING, ScanStatus.PAUSED) or how is None:
                return
            summary = await scan_state.end_scan(
                session,
                ScanEnd(
                    scan_id=scan.id,
                    outcome=ScanStatus.FAILED,
                    error=ScanError(
                        code="workflow_ended",
                        message=f"The workflow of this scan {how} without recording its end.",
                        fix=RESUME,
                    ),
                ),
                at=datetime.now(UTC),
            )
        if summary.next_scan_id is not None:
            waiting = self._client.get_workflow_handle(f"scan/{summary.next_scan_id}")
            with suppress(RPCError):  # woken or not, it looks by itself after a while
                await waiting.signal("account_free")

    async def _start(self, scan: WatchedScan) -> None:
        async with self._database.transaction() as session:
            if await scan_watch.status_locked(session, scan.id) is not ScanStatus.PENDING:
                return
            await scan_state.set_waiting(session, scan.id, None)
        await engine_starts.start_scan(
            self._client,
            scan.id,
            kind=scan.kind,
            team_id=scan.team_id,
            account_id=scan.account_id,
            account_name=scan.account_name,
        )

    async def _cancel(self, execution: _Execution) -> None:
        handle = self._client.get_workflow_handle(execution.workflow_id, run_id=execution.run_id)
        try:
            await handle.cancel()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _cancel_stuck(self, scan: WatchedScan) -> None:
        hours = f"{self._settings.stuck_hours(scan.kind):g}"
        error = ScanError(
            code="stuck",
            message=f"The scan ran for longer than {hours} hours, so it was cancelled.",
            fix=f"{RESUME} If its account needs longer, raise CLOUDSWEEP_STUCK_SCAN_HOURS, or "
            f"CLOUDSWEEP_STUCK_SCAN_HOURS_BY_KIND for scans of kind {scan.kind}.",
        )
        async with self._database.transaction() as session:
            await scan_watch.tell_why(session, scan.id, error)
        await self._client.get_workflow_handle(f"scan/{scan.id}").cancel()

    async def _say_silent(self, silent: _Silent) -> None:
        async with self._database.transaction() as session:
            await scan_watch.say_shards_wait(session, silent.scan_id, silent.shards)

    @activity.defn
    async def watch_queues(self) -> JobSummary:
        """Let scans say that nobody polls the queue they need, and no longer when somebody does."""
        mending = Mending(self._database, datetime.now(UTC))
        async with heartbeating():
            async with self._database.transaction() as session:
                waiting = await scan_watch.waiting(session)
            queues = {queue for scan in waiting for queue in _needs(scan)}
            silent = {queue for queue in queues if not await is_polled(self._client, queue)}
            ours = {task_queues.no_worker(queue) for queue in task_queues.SLOTS}
            found: list[Found[scan_watch.Waiting]] = []
            over: dict[str, list[UUID]] = {}
            for scan in waiting:
                missing = next((queue for queue in _needs(scan) if queue in silent), None)
                if missing is None and scan.waiting_for in ours:
                    over.setdefault(scan.waiting_for or "", []).append(scan.id)
                elif missing is not None and scan.waiting_for in {None, *ours}:
                    words = task_queues.no_worker(missing)
                    if words != scan.waiting_for:
                        fault = Fault(subject=f"scan/{scan.id}", team_id=scan.team_id, words=words)
                        found.append(Found(fault, scan))
            for words, scan_ids in over.items():
                async with self._database.transaction() as session:
                    await scan_watch.say_waiting(session, scan_ids, was=words, words=None)
            await mending.mend(
                RepairKind.QUEUE_WITHOUT_WORKER,
                found[:FOUND_AT_ONCE],
                partial(self._say_waiting, silent),
            )
        return mending.summary()

    async def _say_waiting(self, silent: set[str], scan: scan_watch.Waiting) -> None:
        queue = next(queue for queue in _needs(scan) if queue in silent)
        async with self._database.transaction() as session:
            await scan_watch.say_waiting(
                session, [scan.id], was=scan.waiting_for, words=task_queues.no_worker(queue)
            )


def _needs(scan: scan_watch.Waiting) -> list[str]:
    """The queues without which a scan does not go on."""
    if scan.kind is ScanKind.IMPORT:
        return [task_queues.SYNC]
    if scan.status is ScanStatus.PENDING:
        return [task_queues.SCANS]
    queues = [QUEUES[kind] for kind in TaskKind if kind in scan.kinds]
    if not scan.is_planned and scan.kind in PLANNED_ON:
        queues.append(PLANNED_ON[scan.kind])
    return [task_queues.SCANS, *queues, task_queues.SYNC]


def _add(into: dict[str, Found[WatchedScan]], scan: WatchedScan, words: str) -> None:
    subject = f"scan/{scan.id}"
    into[subject] = Found(Fault(subject=subject, team_id=scan.team_id, words=words), scan)


def _both(
    first: dict[str, Found[SubjectT]], second: dict[str, Found[SubjectT]]
) -> dict[str, Found[SubjectT]]:
    """What is found now as it was before."""
    return {subject: found for subject, found in second.items() if subject in first}


def _team_of(execution: WorkflowExecution) -> UUID | None:
    team_id = execution.typed_search_attributes.get(search_attributes.TEAM)
    try:
        UUID(execution.id.removeprefix("scan/"))
        return None if team_id is None else UUID(team_id)
    except ValueError:
        return None
