"""Running one shard: scanner in, rows staged, coverage reported; and merging them."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from temporalio import activity

from activities.failures import as_application_error, may_be_retried, safe_words
from activities.progress import ShardProgress, heartbeating
from activities.staged_shards import StagedShards, last_try
from contracts.errors import RateLimited, ScannerCrashed, TargetUnreachable, TransientError
from contracts.observations import CoveredCheck
from contracts.scans import (
    Coverage,
    FindingCounts,
    MergeReport,
    Problem,
    ShardBatch,
    ShardFailed,
    ShardReport,
    ShardTask,
)
from contracts.vocabulary import ErrorClass
from scanners.prowler import prowler
from scanners.steampipe import steampipe
from storage.merge import merge_shard, staging

PROWLER: Final = "prowler"
STEAMPIPE: Final = "steampipe"


class ShardActivities(StagedShards):
    """Idempotent: a retry first deletes the rows that an earlier attempt staged."""

    @activity.defn
    async def assess_shard(self, task: ShardTask) -> ShardReport:
        """Run Prowler over one shard and stage what it reports."""
        shard, account, target = await self._start(task, PROWLER)
        job = prowler.ProwlerJob(
            provider=account.provider,
            account_uid=account.uid,
            credentials=account.credentials,
            endpoint_url=account.endpoint_url,
            home_region=shard.plan["home_region"],
            regions=shard.plan["regions"],
            checks=shard.plan["checks"],
        )
        result: prowler.ShardResult | None = None
        try:
            async with (
                ShardProgress(self._database, task) as progress,
                aclosing(prowler.run_shard(job, self._settings)) as messages,
            ):
                async for message in messages:
                    match message:
                        case prowler.FindingBatch(findings):
                            async with self._database.copying() as connection:
                                progress.rows += await staging.stage_findings(
                                    connection, target, findings
                                )
                        case prowler.ShardProgress(done, total, _):
                            progress.done, progress.total = done, total
                            await progress.write()
                        case prowler.ShardResult():
                            result = message
        except RateLimited as error:
            if not last_try():
                raise
            # Not a failure of the shard: the provider gave no answer that says anything.
            async with self._database.transaction() as session:
                await staging.clear_staging(session, task.scan_id, task.key)
            progress.rows = 0
            result = prowler.unassessed(job, error)
        except (ScannerCrashed, TargetUnreachable) as error:
            raise as_application_error(error, final=last_try()) from None
        if result is None:
            raise ScannerCrashed("Prowler ended without a report.")
        self._retry_if_cut_off(result.coverage)
        async with self._database.copying() as connection:
            await staging.mark_not_assessed(connection, target, result.not_assessed)
            covered = await staging.stage_coverage(connection, target, result.covered)
        return await self._report(target, result.coverage, progress.rows, covered)

    @activity.defn
    async def discover_shard(self, task: ShardTask) -> ShardReport:
        """Read one group of Steampipe tables and stage the resources they hold."""
        shard, account, target = await self._start(task, STEAMPIPE)
        specs = steampipe.table_groups(account.provider)[shard.plan["group"]]
        url = self._settings.steampipe_url
        if url is None:
            raise TargetUnreachable(
                "CLOUDSWEEP_STEAMPIPE_URL is not set on this worker.",
                fix="Set it on every discovery worker, or start the scan without discovery.",
            )
        problems: list[Problem] = []
        covered: list[CoveredCheck] = []
        try:
            async with ShardProgress(self._database, task, total=len(specs)) as progress:
                connection_name = await steampipe.find_connection(
                    url.get_secret_value(), account.provider, account.uid
                )
                reading = steampipe.read_tables(
                    url.get_secret_value(), connection_name, specs, regions=shard.plan["regions"]
                )
                async with aclosing(reading) as messages:
                    async for message in messages:
                        if not isinstance(message, steampipe.TableRead):
                            progress.rows += await self._stage(target, message)
                            continue
                        progress.done += 1
                        await progress.write()
                        if message.error is None:
                            covered.append(CoveredCheck(message.type, ""))
                        else:
                            problems.append(_table_problem(message))
        except TargetUnreachable as error:
            raise as_application_error(error, final=last_try()) from None
        async with self._database.copying() as connection:
            complete = covered if shard.plan["is_complete"] else []
            rows = await staging.stage_coverage(connection, target, complete)
        coverage = Coverage(
            planned=len(specs),
            run=len(covered),
            not_assessed=len(specs) - len(covered),
            problems=problems,
        )
        return await self._report(target, coverage, progress.rows, rows)

    @activity.defn
    async def merge_shards(self, batch: ShardBatch) -> MergeReport:
        """Merge what these shards staged, each on its own; merging twice changes nothing.

        One that no retry can mend is named in the report, and the others are merged.
        """
        async with heartbeating():  # so that another worker takes over soon from one that died
            return await self._merge_each(batch)

    async def _merge_each(self, batch: ShardBatch) -> MergeReport:
        counts, failed = FindingCounts(), list[ShardFailed]()
        to_retry: Exception | None = None
        for key in batch.keys:
            try:
                async with self._database.transaction() as session:
                    counts += await merge_shard(session, batch.scan_id, key, at=datetime.now(UTC))
            except TransientError:  # no database: the next shard would meet that, too
                raise
            except Exception as error:
                if may_be_retried(error):
                    to_retry = error
                else:
                    words = safe_words(error)
                    failed.append(ShardFailed(scan_id=batch.scan_id, key=key, error=words))
        if to_retry is not None:
            raise to_retry
        return MergeReport(counts=counts, failed=failed)


def _table_problem(read: steampipe.TableRead) -> Problem:
    return Problem(
        service=read.table,
        region=None,
        error_class=ErrorClass.OTHER,
        count=1,
        checks=[read.type],
        message=(read.error or "")[:300],
    )
