"""A store to try things in: accounts, scans and shards, put there as workers put them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from contracts.accounts import EnvironmentCredentials, NewAccount
from contracts.findings import Finding, FindingDetail, FindingFilter
from contracts.observations import CoveredCheck, ObservedFinding, ObservedResource
from contracts.scans import Coverage, FindingCounts, NewScan, ScanEnd, ScanTrigger
from contracts.vocabulary import FindingStatus, Provider, Severity, TaskKind
from storage import accounts, keys
from storage.database import Database
from storage.findings import findings
from storage.merge import merge_shard, staging
from storage.scans import scan_state, scans

PASS, FAIL = FindingStatus.PASS, FindingStatus.FAIL
MANUAL, NOT_ASSESSED = FindingStatus.MANUAL, FindingStatus.NOT_ASSESSED
WHOLE = Coverage(planned=1, run=1)


class Clock:
    """Every look at it is an hour later."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


def observed(
    resource: str = "bucket",
    status: FindingStatus = FAIL,
    check_id: str = "s3_public",
    *,
    region: str = "eu-west-1",
    severity: Severity = Severity.HIGH,
    name: str | None = None,
    detail: str = "It is public.",
) -> ObservedFinding:
    """One verdict."""
    return ObservedFinding(
        check_id=check_id,
        service=check_id.split("_")[0],
        region=region,
        resource_uid=f"arn:aws:s3:::{resource}",
        resource_name=resource if name is None else name,
        resource_type="bucket",
        severity=severity,
        status=status,
        detail=detail,
    )


def places(rows: Iterable[ObservedFinding]) -> list[CoveredCheck]:
    """The pairs these verdicts are of."""
    return sorted({CoveredCheck(row.check_id, row.region) for row in rows})


@dataclass
class Lab:
    """An account of a team, and scans of it one after the other."""

    database: Database
    team_id: UUID
    account_id: UUID
    clock: Clock = field(default_factory=Clock)
    source: str = "prowler"

    async def begin(self, *shards: str, kind: TaskKind = TaskKind.COMPLIANCE) -> UUID:
        """A scan that has the account, with these shards started."""
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session, self.team_id, NewScan(account_id=self.account_id),
                trigger=ScanTrigger(), idempotency_key=None, at=self.clock(),
            )  # fmt: skip
            assert await scan_state.claim_account(session, scan.id, at=self.clock()) is None
            plan = [
                scan_state.PlannedShard(kind=kind, key=key, title=key, batch=0, plan={})
                for key in shards
            ]
            await scan_state.write_plan(session, scan.id, plan, [])
            for key in shards:
                await scan_state.start_task(session, scan.id, key, at=self.clock(), attempt=1)
        return scan.id

    def target(self, scan_id: UUID, key: str = "shard") -> staging.StagingTarget:
        """Where a shard stages its rows."""
        return staging.StagingTarget(
            scan_id=scan_id, key=key, team_id=self.team_id, account_id=self.account_id,
            account_uid="123456789012", provider=Provider.AWS, source=self.source,
        )  # fmt: skip

    async def stage(
        self,
        scan_id: UUID,
        rows: Sequence[ObservedFinding],
        covered: Sequence[CoveredCheck] | None = None,
        *,
        key: str = "shard",
        not_assessed: Sequence[CoveredCheck] = (),
        coverage: Coverage = WHOLE,
    ) -> None:
        """Stage these and report them; without `covered`, every pair they are of is covered."""
        pairs = places(rows) if covered is None else covered
        async with self.database.copying() as c:
            count = await staging.stage_findings(c, self.target(scan_id, key), rows)
            await staging.mark_not_assessed(c, self.target(scan_id, key), not_assessed)
            covered_count = await staging.stage_coverage(c, self.target(scan_id, key), pairs)
        await self.report(scan_id, key, count, covered_count, coverage)

    async def report(
        self, scan_id: UUID, key: str, rows: int, covered: int, coverage: Coverage = WHOLE
    ) -> None:
        """Say that a shard's staging is complete."""
        async with self.database.transaction() as session:
            await scan_state.report_task(
                session, scan_id, key, coverage=coverage, rows=rows, covered=covered,
            )  # fmt: skip

    async def merge(self, scan_id: UUID, key: str = "shard") -> FindingCounts:
        """Merge a shard."""
        async with self.database.transaction() as session:
            return await merge_shard(session, scan_id, key, at=self.clock())

    async def end(self, scan_id: UUID) -> None:
        """End a scan as its shards say."""
        async with self.database.transaction() as session:
            await scan_state.end_scan(session, ScanEnd(scan_id=scan_id), at=self.clock())

    async def scan(
        self,
        rows: Sequence[ObservedFinding],
        covered: Sequence[CoveredCheck] | None = None,
        *,
        not_assessed: Sequence[CoveredCheck] = (),
    ) -> FindingCounts:
        """A whole scan of one shard."""
        scan_id = await self.begin("shard")
        await self.stage(scan_id, rows, covered, not_assessed=not_assessed)
        counts = await self.merge(scan_id)
        await self.end(scan_id)
        return counts

    async def discover(
        self, rows: Sequence[ObservedResource], complete: Sequence[str]
    ) -> FindingCounts:
        """A whole discovery that read these types completely."""
        scan_id = await self.begin("shard", kind=TaskKind.DISCOVERY)
        target = self.target(scan_id).model_copy(update={"source": "steampipe"})
        pairs = [CoveredCheck(type, "") for type in complete]
        async with self.database.copying() as c:
            count = await staging.stage_resources(c, target, rows)
            covered = await staging.stage_coverage(c, target, pairs)
        await self.report(scan_id, "shard", count, covered)
        counts = await self.merge(scan_id)
        await self.end(scan_id)
        return counts

    async def list(self, filter: FindingFilter | None = None, **fields: Any) -> list[Finding]:
        """All findings that match, page by page of three."""
        found: list[Finding] = []
        cursor = None
        while True:
            async with self.database.transaction() as session:
                page = await findings.list_findings(
                    session, self.team_id, filter or FindingFilter(**fields), limit=3, cursor=cursor
                )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def one(self, **fields: Any) -> FindingDetail:
        """The only finding that matches."""
        (found,) = await self.list(**fields)
        async with self.database.transaction() as session:
            return await findings.get_finding(session, self.team_id, found.id)

    async def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement of the test's own."""
        async with self.database.transaction() as session:
            result = await session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []


async def make_lab(database: Database, team_id: UUID | None = None) -> Lab:
    """An account of its own, in a team of its own unless one is given."""
    clock = Clock()
    async with database.transaction() as session:
        if team_id is None:
            team_id = await keys.create_team(session, f"team {uuid4()}")
        account = await accounts.create_account(
            session, team_id,
            NewAccount(
                name=f"account {uuid4()}", provider=Provider.AWS,
                credentials=EnvironmentCredentials(),
            ),
            at=clock(),
        )  # fmt: skip
        await accounts.record_identity(
            session, account.id, uid="123456789012", home_region="eu-west-1", at=clock()
        )
    return Lab(database, team_id, account.id, clock)


async def at_once(*work: Any) -> list[Any]:
    """Results or errors of what runs at the same time."""
    return list(await asyncio.gather(*work, return_exceptions=True))
