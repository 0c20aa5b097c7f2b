"""What every scan does around its shards: take its turn, run them, merge, pause, always end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import groupby
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.cascade_starts import CascadeActivities
    from activities.scan_lifecycle import ScanLifecycleActivities
    from contracts.scans import (
        ScanBegun,
        ScanEnd,
        ScanError,
        ScanPaused,
        ScanPhase,
        ScanRequest,
        ScanSummary,
        Shard,
        ShardFailed,
        ShardReport,
        ShardTask,
    )
    from contracts.vocabulary import ScanStatus
    from runtime import policies, task_queues
    from workflows.account_turn import AccountTurn, wake_next
    from workflows.failures import is_type, scan_error
    from workflows.merging import Merging
    from workflows.prompt import promptly, to_the_end

STAGING_LOST = "staging_lost"


class Phase(NamedTuple):
    """A kind of shard: which activity runs it, on which queue."""

    name: str
    activity: Callable[[Any, ShardTask], Awaitable[ShardReport]]
    task_queue: str


class ShardedScan(ABC):
    """History holds identifiers and counts; findings go straight to the store."""

    def __init__(self, request: ScanRequest) -> None:
        self._scan_id = request.scan_id
        self._phase = "Waiting to begin"
        self._paused = False
        self._turn = AccountTurn()
        self._waiting_for: str | None = None
        self._total = self._done = self._failed = 0
        self._running: dict[str, str] = {}
        self._merging = Merging(
            request.scan_id,
            others_run=lambda: bool(self._running),
            unfinished=lambda: self._total - self._done - self._failed,
        )

    @abstractmethod
    async def scan(self, request: ScanRequest) -> None:
        """Begin, plan, and run the phases of this kind of scan."""

    async def recorded(self, request: ScanRequest) -> ScanSummary:
        """Scan, and record how that ended, whatever happens."""
        try:
            await self.scan(request)
        except (FailureError, asyncio.CancelledError) as error:  # never a bug or an eviction
            if is_cancelled_exception(error):
                await self._end(ScanEnd(scan_id=self._scan_id, outcome=ScanStatus.CANCELLED))
            else:
                await self._end(
                    ScanEnd(
                        scan_id=self._scan_id,
                        outcome=ScanStatus.FAILED,
                        error=scan_error(error),
                    )
                )
            raise
        summary = await self._end(ScanEnd(scan_id=self._scan_id))
        if summary.may_cascade and workflow.patched("cascades"):
            await self._cascade(request)
        return summary

    async def _begin(self, request: ScanRequest) -> ScanBegun:
        """Take the account; while another scan has it, wait to be woken and look again."""
        while True:
            begun = await workflow.execute_activity_method(
                ScanLifecycleActivities.begin_scan,
                request,
                task_queue=task_queues.SCANS,
                summary="Take the account and check its credentials",
                **policies.ASK_PROVIDER,
            )
            self._waiting_for = begun.waits_for
            if begun.waits_for is None:
                if self._paused:  # while it waited: only a scan that has begun is shown as paused
                    await self._record_paused()
                return begun
            self._enter("Waiting for the account")
            await self._turn.wait(request)

    async def _run_shards(
        self, phase: Phase, shards: list[Shard], *, in_flight: int, stagger_seconds: float = 0
    ) -> None:
        """Batch i starts i * stagger after the first; a failing shard fails only itself."""
        if not shards:
            return
        self._enter(phase.name)
        slots = asyncio.Semaphore(in_flight)
        started: list[asyncio.Task[None]] = []
        try:
            for position, (_, batch) in enumerate(groupby(shards, key=lambda shard: shard.batch)):
                if position and stagger_seconds:
                    await workflow.sleep(
                        timedelta(seconds=stagger_seconds), summary=f"Stagger batch {position + 1}"
                    )
                started += [
                    asyncio.create_task(self._run_shard(phase, shard, slots)) for shard in batch
                ]
            await asyncio.gather(*started)
        except (FailureError, asyncio.CancelledError):  # never an eviction, which may not wait
            # Refused credentials or a cancel stop the others: wait until they are stopped.
            for task in started:
                task.cancel()
            await asyncio.gather(*started, return_exceptions=True)
            raise

    async def _run_shard(self, phase: Phase, shard: Shard, slots: asyncio.Semaphore) -> None:
        failure: ScanError | None = None
        try:
            for _ in range(policies.STAGING_TRIES):
                async with slots:  # free again for another shard while this one is merged
                    report = await self._scan_shard(phase, shard)
                failure = await self._merging.merge(shard.key, report.rows)
                if failure is None or failure.code != STAGING_LOST:
                    break
        except ActivityError as error:
            if is_cancelled_exception(error) or is_type(error, "CredentialsRejected"):
                raise
            failure = scan_error(error)
        if failure is None:
            self._done += 1
        else:
            self._failed += 1
            await self._record_failure(shard, failure)
        self._show()

    async def _scan_shard(self, phase: Phase, shard: Shard) -> ShardReport:
        if self._paused:  # asked first: each condition that waits is looked at on every event
            await workflow.wait_condition(lambda: not self._paused)
        self._running[shard.key] = shard.title
        self._show()
        try:
            return await workflow.execute_activity_method(
                phase.activity,
                ShardTask(scan_id=self._scan_id, key=shard.key),
                task_queue=phase.task_queue,
                summary=shard.title,
                **policies.SHARD,
            )
        finally:
            del self._running[shard.key]

    async def _record_failure(self, shard: Shard, error: ScanError) -> None:
        await workflow.execute_activity_method(
            ScanLifecycleActivities.record_failed_shard,
            ShardFailed(scan_id=self._scan_id, key=shard.key, error=error),
            task_queue=task_queues.SCANS,
            summary=f"Record the failure of {shard.title}",
            **policies.RECORD,
        )

    async def _end(self, end: ScanEnd) -> ScanSummary:
        """Record the end, then wake the scan that waits for this account, also when cancelled."""
        return await to_the_end(self._record_end(end))

    async def _record_end(self, end: ScanEnd) -> ScanSummary:
        await workflow.wait_condition(workflow.all_handlers_finished)
        summary = await promptly(
            ScanLifecycleActivities.end_scan, end, summary="Record how the scan ended"
        )
        self._enter(f"Ended: {summary.status}")
        await wake_next(summary)
        return summary

    async def _cascade(self, request: ScanRequest) -> None:
        """Start what the team's rules make of it. The scan has ended, whatever becomes of this."""
        try:
            await workflow.execute_activity_method(
                CascadeActivities.start_cascades,
                request,
                task_queue=task_queues.SCANS,
                summary="Start the scans that rules make of it",
                **policies.CASCADE,
            )
        except (FailureError, asyncio.CancelledError) as error:  # never a bug or an eviction
            workflow.logger.warning("No rule was followed after this scan: %s", error)

    @workflow.signal
    async def pause(self) -> None:
        """Start no new shards; those that run go on to their end."""
        await self._set_paused(True)

    @workflow.signal
    async def resume(self) -> None:
        """Go on with the shards that are not done."""
        await self._set_paused(False)

    async def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        self._show()
        await self._record_paused()

    async def _record_paused(self) -> None:
        await workflow.execute_activity_method(
            ScanLifecycleActivities.record_paused,
            ScanPaused(scan_id=self._scan_id, paused=self._paused),
            task_queue=task_queues.SCANS,
            summary="Record the pause" if self._paused else "Record that the scan goes on",
            **policies.RECORD,
        )

    @workflow.signal
    def account_free(self) -> None:
        """The scan that had this account has ended."""
        self._turn.come()

    @workflow.query
    def progress(self) -> ScanPhase:
        """Where the scan stands."""
        return ScanPhase(
            phase=self._phase,
            paused=self._paused,
            shards_total=self._total,
            shards_done=self._done,
            shards_failed=self._failed,
            waiting_for=self._waiting_for,
        )

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._show()

    def _show(self) -> None:
        """What the Web UI shows of a scan while it runs."""
        lines = [f"**{self._phase}**{' (paused)' if self._paused else ''}"]
        if self._waiting_for:
            lines.append(self._waiting_for)
        if self._total:
            lines.append(
                f"{self._done + self._failed} of {self._total} shards done, {self._failed} failed"
            )
        lines += [f"- {title}" for title in self._running.values()]
        workflow.set_current_details("\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]))
