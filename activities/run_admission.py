"""A run that is due: admitted, left waiting, or left out, and in each case recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities import engine_starts
from activities.admission_rules import Action, Verdict, is_last, judge_overlap, judge_time
from activities.run_endings import RunEndActivities
from contracts.errors import NotFound
from contracts.jobs import Job, ScanJob
from contracts.runs import RunAdmission, RunAsked, RunPlan
from contracts.scans import NewScan, ScanRequest, ScanTrigger
from contracts.schedules import StoredSchedule
from contracts.vocabulary import (
    OverlapPolicy,
    RunOutcome,
    ScheduleStatus,
    TriggerKind,
)
from runtime import search_attributes
from storage import accounts
from storage.database import Database
from storage.scans import scan_state, scans
from storage.schedules import job_runs, schedules

TRIES: Final = 5
"""How often holders are looked at again because one of them was not what its row said."""


class _Due(NamedTuple):
    """A run that came up: whose it is, what it runs, by which rule."""

    team_id: UUID
    job: str
    params: dict[str, Any]
    overlap: OverlapPolicy
    key: str
    account_id: UUID | None
    schedule: StoredSchedule | None
    scan: ScanJob | None


class _Decision(NamedTuple):
    """An answer; or holders to look at before there is one. `stops`: the schedule fires no more."""

    admission: RunAdmission
    doubted: Sequence[job_runs.Holder] = ()
    stops: bool = False


class RunAdmissionActivities:
    """Idempotent: each is a claim or an update by run id and execution."""

    def __init__(
        self, database: Database, endings: RunEndActivities, jobs: Mapping[str, Job]
    ) -> None:
        self._database = database
        self._endings = endings
        self._jobs = jobs

    @activity.defn
    async def admit_run(self, asked: RunAsked) -> RunAdmission:
        """Decide about a run that is due, record it, and say what its work is."""
        trusted: set[UUID] = set()
        for _ in range(TRIES):
            async with self._database.transaction() as session:
                decision = await self._admit(session, asked, trusted)
            if not decision.doubted:
                break
            for holder in decision.doubted:
                # A workflow that was terminated, or that Temporal lost, could not end its row.
                if await self._endings.lives(holder.in_the_way.workflow_id, holder.queued_at):
                    trusted.add(holder.id)
                else:
                    await self._endings.bury(holder)
        if decision.stops and asked.schedule_id is not None:
            await self._endings.push(asked.schedule_id)
        return decision.admission

    async def _admit(self, session: AsyncSession, asked: RunAsked, trusted: set[UUID]) -> _Decision:
        schedule = None
        if asked.schedule_id is not None:
            schedule = await schedules.load_schedule(session, asked.schedule_id, lock=True)
            if schedule is None:
                deleted = "The schedule was deleted."
                await job_runs.refuse_waiting(
                    session, asked.run_id, asked.execution_id, deleted, at=asked.asked_at
                )
                return _Decision(
                    RunAdmission(outcome=RunOutcome.REFUSED, words=deleted), stops=True
                )
        due = await self._due(session, asked, schedule)
        await job_runs.lock_key(session, due.key)
        record = await job_runs.find_run(session, asked.run_id)
        if record is not None:
            if record.outcome.ended or record.execution_id != asked.execution_id:
                known = "This time has its run already."
                return _Decision(RunAdmission(outcome=record.outcome, words=known))
            if record.outcome is RunOutcome.RUNNING:  # decided before; only the answer was lost
                return _Decision(await self._started(session, record, due))
        else:
            verdict = await self._judge(session, asked, due)
            if verdict is not None:
                return await self._leave_out(session, asked, due, verdict)
        held = [
            holder
            for holder in await job_runs.holders(
                session, due.key, account_id=due.account_id, besides=asked.run_id
            )
            if record is None or (holder.queued_at, holder.id) < (record.queued_at, record.id)
        ]
        doubted = [holder for holder in held if holder.id not in trusted]
        if doubted:
            return _Decision(RunAdmission(outcome=RunOutcome.QUEUED), doubted)
        verdict = judge_overlap(
            due.overlap,
            held,
            takes_turns=due.scan is not None,
            has_waited=record is not None,
        )
        return await self._follow(session, asked, due, record, verdict, held)

    async def _judge(self, session: AsyncSession, asked: RunAsked, due: _Due) -> Verdict | None:
        """What decides about a new run before anything else is looked at."""
        if due.schedule is not None and asked.trigger.counts:
            verdict = judge_time(asked, due.schedule, due.overlap)
            if verdict is not None:
                return verdict
        gone = await self.what_is_gone(session, due.team_id, due.job, due.params)
        if gone is None:
            return None
        if due.schedule is not None and not due.schedule.paused:
            await schedules.set_paused(session, due.schedule.id, True, gone, at=asked.asked_at)
        return Verdict(Action.LEAVE_OUT, gone, RunOutcome.REFUSED)

    async def what_is_gone(
        self, session: AsyncSession, team_id: UUID, name: str, params: Mapping[str, Any]
    ) -> str | None:
        """In words why a job cannot run as it is defined: gone, disabled, or no longer valid."""
        job = self._jobs.get(name)
        if job is None:
            return f"There is no job {name} any more."
        try:
            given = job.params.model_validate(params)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            return f"The job {name} no longer takes these parameters: {where}."
        account_id = getattr(given, "account_id", None)
        if account_id is None:
            return None
        try:
            account = await accounts.get_account(session, team_id, account_id)
        except NotFound:
            return "Its account was deleted."
        if job.scan is not None and job.scan.provider not in (None, account.provider):
            return f"Its account {account.name} is one of {account.provider}."
        return None if account.enabled else f"Its account {account.name} is disabled."

    async def _leave_out(
        self, session: AsyncSession, asked: RunAsked, due: _Due, verdict: Verdict
    ) -> _Decision:
        await self._add(session, asked, due, verdict.outcome, verdict.words)
        stops = verdict.outcome is RunOutcome.REFUSED  # and if Temporal fires it all the same
        if due.schedule is not None:
            if asked.trigger.counts:
                counted = {verdict.outcome.value: 1}
                await schedules.count_outcome(session, due.schedule.id, **counted)
            stops |= await self._finish(session, asked, due.schedule, starts=False)
            stops |= due.schedule.status is not ScheduleStatus.ACTIVE
        return _Decision(RunAdmission(outcome=verdict.outcome, words=verdict.words), stops=stops)

    async def _finish(
        self, session: AsyncSession, asked: RunAsked, schedule: StoredSchedule, *, starts: bool
    ) -> bool:
        """Mark a schedule finished if this was the last it had to fire."""
        last = schedule.finished_at is None and is_last(asked, schedule, starts=starts)
        if last:
            await schedules.finish_schedule(session, schedule.id, at=asked.asked_at)
        return last

    async def _follow(
        self,
        session: AsyncSession,
        asked: RunAsked,
        due: _Due,
        record: job_runs.RunRecord | None,
        verdict: Verdict,
        held: Sequence[job_runs.Holder],
    ) -> _Decision:
        if verdict.action is Action.LEAVE_OUT:
            return await self._leave_out(session, asked, due, verdict)
        if record is None:
            record = await self._add(session, asked, due, RunOutcome.QUEUED, verdict.words)
        if verdict.action is Action.START:
            # Of others displaced for it, or waited for, the words are the run's by now.
            return await self._start(session, asked, due, record, verdict.words or record.reason)
        await job_runs.set_outcome(session, record.id, RunOutcome.QUEUED, verdict.words)
        displaces = verdict.action is Action.DISPLACE
        return _Decision(
            RunAdmission(
                outcome=RunOutcome.QUEUED,
                words=verdict.words,
                in_the_way=[holder.in_the_way for holder in held] if displaces else [],
                terminate=displaces and due.overlap is OverlapPolicy.TERMINATE_PREVIOUS,
            )
        )

    async def _add(
        self,
        session: AsyncSession,
        asked: RunAsked,
        due: _Due,
        outcome: RunOutcome,
        reason: str | None,
    ) -> job_runs.RunRecord:
        return await job_runs.add_run(
            session,
            asked,
            team_id=due.team_id,
            job=due.job,
            params=due.params,
            overlap=due.overlap,
            overlap_key=due.key,
            outcome=outcome,
            reason=reason or None,
        )

    async def _start(
        self,
        session: AsyncSession,
        asked: RunAsked,
        due: _Due,
        record: job_runs.RunRecord,
        reason: str | None,
    ) -> _Decision:
        scan_id = None
        if due.scan is not None:
            manual = due.schedule is None
            kind = due.scan.kind
            asks = scans.OF_THE_TEAM.get(kind, NewScan) if kind else NewScan
            scan, _ = await scans.create_scan(
                session,
                due.team_id,
                asks.model_validate({**due.params, **due.scan.options}),
                trigger=ScanTrigger(
                    kind=TriggerKind.MANUAL if manual else TriggerKind.SCHEDULE,
                    schedule_id=asked.schedule_id,
                ),
                idempotency_key=f"run/{asked.run_id}",
                at=asked.asked_at,
                kind=due.scan.kind,
            )
            scan_id = scan.id
        if scan_id is not None:
            work_id = f"scan/{scan_id}"
        elif self._jobs[due.job].inline:
            work_id = asked.workflow_id
        else:
            work_id = f"{due.job}/{asked.run_id}"
        await job_runs.start_run(
            session,
            record.id,
            work_id=work_id,
            scan_id=scan_id,
            reason=reason,
            at=datetime.now(UTC),
        )
        stops = False
        if due.schedule is not None:
            if asked.trigger.counts:
                await schedules.count_outcome(session, due.schedule.id, fired=1)
            stops = await self._finish(session, asked, due.schedule, starts=True)
        started = record._replace(work_id=work_id, scan_id=scan_id, reason=reason)
        return _Decision(await self._started(session, started, due), stops=stops)

    async def _started(
        self, session: AsyncSession, record: job_runs.RunRecord, due: _Due
    ) -> RunAdmission:
        job = self._jobs[record.job]
        argument = record.params
        workflow, queue = job.workflow if job.inline else job.workflow_name, job.queue
        if record.scan_id is not None:
            argument = ScanRequest(scan_id=record.scan_id).model_dump(mode="json")
            scan = await scan_state.load_scan(session, record.scan_id)
            workflow, queue, _ = engine_starts.SCAN_STARTS[scan.kind]
        attributes = {search_attributes.TEAM.name: str(record.team_id)}
        if due.account_id is not None:
            attributes[search_attributes.ACCOUNT.name] = str(due.account_id)
        if record.schedule_id is not None:
            attributes[search_attributes.SCHEDULE.name] = str(record.schedule_id)
        return RunAdmission(
            outcome=RunOutcome.RUNNING,
            words=record.reason or "",
            plan=RunPlan(
                workflow=workflow,
                workflow_id=record.work_id or "",
                inline=job.inline,
                task_queue=queue,
                argument=argument,
                timeout_seconds=job.timeout.total_seconds(),
                summary=due.schedule.name if due.schedule else job.description,
                attributes=attributes,
            ),
        )

    async def _due(
        self, session: AsyncSession, asked: RunAsked, schedule: StoredSchedule | None
    ) -> _Due:
        if schedule is None:
            if asked.team_id is None or asked.job is None:
                raise NotFound("A run needs a schedule, or a team and a job.")
            team_id, name, params = asked.team_id, asked.job, asked.params
            overlap, key = OverlapPolicy.ALLOW, f"run/{asked.run_id}"
        else:
            team_id, name, params = schedule.team_id, schedule.job, schedule.params
            overlap, key = schedule.overlap, f"schedule/{schedule.id}"
        account_id = _account_of(params)
        job = self._jobs.get(name)
        scan = job.scan if job else None
        if scan is not None:  # one account has one running scan, whatever started it
            if scan.kind in scans.OF_THE_TEAM:
                account_id = (await accounts.native_account(session, team_id, at=asked.asked_at)).id
            key = f"account/{account_id}"
        return _Due(
            team_id, name, params, asked.overlap or overlap, key, account_id, schedule, scan
        )


def _account_of(params: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID(str(params.get("account_id")))
    except ValueError:
        return None
