"""What every activity that runs a shard does around its scanner: begin, stage, report."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from contracts.accounts import Account
from contracts.errors import Conflict, RateLimited, TargetUnreachable
from contracts.observations import ObservedResource
from contracts.scans import Coverage, PhasePlan, Shard, ShardReport, ShardTask
from contracts.vocabulary import ErrorClass
from runtime import policies
from runtime.settings import Settings
from storage import accounts
from storage.database import Database
from storage.merge import staging
from storage.scans import scan_state


class StagedShards:
    """Idempotent: a retry first deletes the rows that an earlier attempt staged."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def _start(
        self, task: ShardTask, source: str
    ) -> tuple[scan_state.PlannedShard, Account, staging.StagingTarget]:
        begun = datetime.now(UTC)
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, task.scan_id)
            if scan.status.ended:
                raise Conflict(f"This scan has ended already: it is {scan.status}.")
            account = await accounts.load_account(session, scan.account_id)
            # First: from here on an earlier attempt that still runs stages nothing more.
            shard = await scan_state.start_task(
                session, task.scan_id, task.key, at=begun, attempt=attempt()
            )
            await staging.clear_staging(session, task.scan_id, task.key)
        target = staging.StagingTarget(
            scan_id=task.scan_id,
            key=task.key,
            team_id=scan.team_id,
            account_id=account.id,
            account_uid=account.uid or "",
            provider=account.provider,
            source=source,
            begun=begun,
        )
        return shard, account, target

    async def _report(
        self, target: staging.StagingTarget, coverage: Coverage, rows: int, covered: int
    ) -> ShardReport:
        async with self._database.transaction() as session:
            await scan_state.report_task(
                session,
                target.scan_id,
                target.key,
                coverage=coverage,
                rows=rows,
                covered=covered,
                begun=target.begun,
            )
        return ShardReport(
            key=target.key,
            rows=rows,
            planned=coverage.planned,
            run=coverage.run,
            not_assessed=coverage.not_assessed,
        )

    async def _stage(self, target: staging.StagingTarget, resources: list[ObservedResource]) -> int:
        async with self._database.copying() as connection:
            return await staging.stage_resources(connection, target, resources)

    def _retry_if_cut_off(self, coverage: Coverage) -> None:
        """Throttling and outages may pass: try again before settling for less than everything."""
        if last_try():
            return
        for error_class, error in (
            (ErrorClass.THROTTLED, RateLimited),
            (ErrorClass.UNREACHABLE, TargetUnreachable),
        ):
            hit = [problem for problem in coverage.problems if problem.error_class is error_class]
            if hit:
                services = ", ".join(sorted({problem.service for problem in hit}))
                raise error(f"{sum(problem.count for problem in hit)} calls failed in {services}.")


def phase_plan(shards: list[scan_state.PlannedShard]) -> PhasePlan:
    """The shards as the workflow knows them."""
    return PhasePlan(
        shards=[
            Shard(kind=shard.kind, key=shard.key, title=shard.title, batch=shard.batch)
            for shard in shards
        ]
    )


def attempt() -> int:
    """Which try of this shard it is, from 1."""
    return activity.info().attempt


def last_try() -> bool:
    """Whether a scanner that fails now is not run again."""
    return attempt() >= policies.SCANNER_TRIES
