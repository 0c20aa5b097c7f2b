"""Findings by the million for benchmarks: spread as real ones are, put into the store as workers
put them; for `benchmarks/api.py` also into one plain table."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from contracts.accounts import EnvironmentCredentials, NewAccount
from contracts.findings import CheckText
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.scans import Coverage, FindingCounts, NewScan, ScanEnd, ScanTrigger
from contracts.vocabulary import FindingStatus, Provider, Severity, TaskKind
from storage import accounts
from storage.checks import upsert_checks
from storage.database import Database
from storage.merge import merge_shard, staging
from storage.scans import scan_state, scans

ACCOUNTS, CHECKS, SERVICES, REGIONS = 20, 660, 66, 17
SCANS = 10  # of each account, each of a tenth of the services, over DAYS
DAYS = 180
FINDINGS_OF_A_RESOURCE = 8
STAGED_AT_ONCE = 10_000

SEVERITIES = {
    Severity.CRITICAL: 6,
    Severity.HIGH: 22,
    Severity.MEDIUM: 48,
    Severity.LOW: 20,
    Severity.INFORMATIONAL: 4,
}
STATUSES = {FindingStatus.PASS: 62, FindingStatus.FAIL: 35, FindingStatus.MANUAL: 3}
TITLES = (
    "resources are not publicly accessible",
    "resources are encrypted at rest with a customer-managed key",
    "logging is enabled and kept for a year",
    "permissions follow least privilege",
)
TEAMS = [
    "payments",
    "billing",
    "search",
    "images",
    "frontend",
    "etl",
    "models",
    "audit",
    "legacy",
    "internal",
]

PLAIN = """
CREATE TABLE plain_finding (
    id uuid, account_id uuid, scan_id uuid, source text, service text, region text, check_id text,
    title text, severity severity, status finding_status, state finding_state, resource_uid text,
    resource_name text, detail text, first_seen_at timestamptz
)
"""
PLAIN_INDEXES = ("id", "account_id", "scan_id", "service", "region", "check_id", "severity",
                 "status", "state", "resource_uid", "first_seen_at")  # fmt: skip


def checks() -> list[CheckText]:
    """The checks: a few services have most of them, as EC2 and IAM do."""
    drawn = random.Random(1)  # noqa: S311 (data, not a secret)
    made = []
    for number in range(CHECKS):
        service = f"service{1 + int(SERVICES * (number / CHECKS) ** 1.7):02}"
        made.append(
            CheckText(
                source="prowler",
                provider=Provider.AWS,
                check_id=f"{service}_check_{number}",
                title=f"Ensure that {service} {TITLES[number % 4]} ({number})",
                severity=drawn.choices([*SEVERITIES], [*SEVERITIES.values()])[0],
                service=service,
                description="What it means. " * 20,
                risk="What may happen. " * 20,
                remediation="What to do. " * 30,
                frameworks={"CIS-5.0": ["1.1"], "ISO27001-2022": ["A.5.1"]},
            )
        )
    return made


async def migrate(url: str, data_dir: Path) -> None:
    """Make the tables and the first key."""
    environment = {
        **os.environ,
        "CLOUDSWEEP_DATABASE_URL": url,
        "CLOUDSWEEP_DATA_DIR": str(data_dir),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storage.bootstrap"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise RuntimeError("storage.bootstrap failed.")


async def fill(url: str, data_dir: Path, rows: int) -> str:
    """Migrate and fill, once; returns the admin key. A directory filled before is used as it is."""
    began = time.perf_counter()
    await migrate(url, data_dir)
    connection = await asyncpg.connect(url)
    database = Database.open(url)
    try:
        if not await connection.fetchval("SELECT count(*) FROM account"):
            await connection.execute(PLAIN)
            stored = await _scan_everything(database, connection, rows)
            for column in PLAIN_INDEXES:
                await connection.execute(f"CREATE INDEX ON plain_finding ({column})")
            # As PostgreSQL does by itself within minutes of a load.
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
            print(f"{stored:,} findings stored in {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        await connection.close()
        await database.close()
    return (data_dir / "admin.key").read_text().strip()


async def _scan_everything(
    database: Database, connection: asyncpg.Connection[asyncpg.Record], rows: int
) -> int:
    texts = checks()
    weights = [(1 + number) ** -0.7 for number in range(ACCOUNTS)]
    team_id: UUID = await connection.fetchval("SELECT id FROM team")
    async with database.transaction() as session:
        await upsert_checks(session, texts)
    account_ids = [await make_account(database, team_id, number) for number in range(ACCOUNTS)]
    services = list(dict.fromkeys(each.service for each in texts))
    stored = 0
    for scan in range(SCANS):
        at = datetime.now(UTC) - timedelta(days=DAYS) * (1 - (scan + 1) / SCANS)
        for number, account_id in enumerate(account_ids):
            wanted = int(rows * weights[number] / sum(weights) / SCANS)
            drawn = random.Random(1000 * scan + number)  # noqa: S311 (data, not a secret)
            scanned = {*services[scan::SCANS]}
            mine = [each for each in texts if each.service in scanned]
            findings = list(make_findings(drawn, mine, number, scan, wanted))
            await _store(database, team_id, account_id, findings, texts, at)
            stored += len(findings)
        print(f"{stored:,} of {rows:,}", file=sys.stderr, flush=True)
    return stored


async def make_account(database: Database, team_id: UUID, number: int) -> UUID:
    """An account that can be scanned."""
    new = NewAccount(
        name=f"account-{number}", provider=Provider.AWS, credentials=EnvironmentCredentials()
    )
    now = datetime.now(UTC)
    async with database.transaction() as session:
        account = await accounts.create_account(session, team_id, new, at=now)
        uid = f"{number:012}"
        await accounts.record_identity(
            session, account.id, uid=uid, home_region="region-01", at=now
        )
    return account.id


def make_findings(
    drawn: random.Random, texts: list[CheckText], account: int, scan: int, wanted: int
) -> Iterator[ObservedFinding]:
    """Verdicts on resources: two regions have half of them, a few services most."""
    by_service: dict[str, list[CheckText]] = {}
    for text in texts:
        by_service.setdefault(text.service, []).append(text)
    mine = list(by_service.values())
    weights = [(1 + rank) ** -0.6 for rank in range(len(mine))]
    resource = 0
    while wanted > 0:
        resource += 1
        own = drawn.choices(mine, weights)[0]
        region = drawn.choices(range(1, REGIONS + 1), [30, 20] + [50 / 15] * 15)[0]
        name = f"{drawn.choice(TEAMS)}-{scan}-{resource}"
        service = own[0].service
        uid = f"arn:aws:{service}:region-{region:02}:{account:012}:thing/{name}"
        for text in drawn.sample(own, min(len(own), FINDINGS_OF_A_RESOURCE, wanted)):
            wanted -= 1
            yield ObservedFinding(
                check_id=text.check_id,
                service=service,
                region=f"region-{region:02}",
                resource_uid=uid,
                resource_name=name,
                resource_type="thing",
                severity=text.severity,
                status=drawn.choices([*STATUSES], [*STATUSES.values()])[0],
                detail=f"Thing {name} does not have what {text.check_id} asks for: its "
                "configuration was looked at and is described here in a sentence or two.",
            )


async def _store(
    database: Database,
    team_id: UUID,
    account_id: UUID,
    findings: list[ObservedFinding],
    texts: list[CheckText],
    at: datetime,
) -> None:
    target = await begin_scan(database, team_id, account_id, at)
    titles = {text.check_id: text.title for text in texts}
    async with database.copying() as connection:
        for start in range(0, len(findings), STAGED_AT_ONCE):
            part = findings[start : start + STAGED_AT_ONCE]
            await staging.stage_findings(connection, target, part)
        await connection.copy_records_to_table(
            "plain_finding",
            records=(_plain(each, account_id, target.scan_id, titles, at) for each in findings),
        )
    covered = {CoveredCheck(each.check_id, each.region) for each in findings}
    await report(database, target, len(findings), covered)
    await merge(database, target, at)
    await end_scan(database, target, at)


async def begin_scan(
    database: Database, team_id: UUID, account_id: UUID, at: datetime
) -> staging.StagingTarget:
    """A scan of one shard, ready to be staged."""
    shard = scan_state.PlannedShard(
        kind=TaskKind.COMPLIANCE, key="shard", title="Shard", batch=0, plan={}
    )
    async with database.transaction() as session:
        scan, _ = await scans.create_scan(
            session, team_id, NewScan(account_id=account_id),
            trigger=ScanTrigger(), idempotency_key=None, at=at,
        )  # fmt: skip
        await scan_state.claim_account(session, scan.id, at=at)
        await scan_state.write_plan(session, scan.id, [shard], notes=[])
        await scan_state.start_task(session, scan.id, "shard", at=at, attempt=1)
    return staging.StagingTarget(
        scan_id=scan.id, key="shard", team_id=team_id, account_id=account_id,
        account_uid=str(account_id), provider=Provider.AWS, source="prowler",
    )  # fmt: skip


async def report(
    database: Database, target: staging.StagingTarget, rows: int, covered: Collection[CoveredCheck]
) -> None:
    """Stage what was covered and say that the staging is complete."""
    async with database.copying() as connection:
        pairs = await staging.stage_coverage(connection, target, sorted(covered))
    async with database.transaction() as session:
        coverage = Coverage(planned=len(covered), run=len(covered))
        await scan_state.report_task(
            session, target.scan_id, target.key, coverage=coverage, rows=rows, covered=pairs
        )


async def merge(database: Database, target: staging.StagingTarget, at: datetime) -> FindingCounts:
    """Merge the shard."""
    async with database.transaction() as session:
        return await merge_shard(session, target.scan_id, target.key, at=at)


async def end_scan(database: Database, target: staging.StagingTarget, at: datetime) -> None:
    """End the scan."""
    async with database.transaction() as session:
        await scan_state.end_scan(session, ScanEnd(scan_id=target.scan_id), at=at)


def _plain(
    each: ObservedFinding, account_id: UUID, scan_id: UUID, titles: dict[str, str], at: datetime
) -> tuple[Any, ...]:
    state = "resolved" if each.status is FindingStatus.PASS else "open"
    return (
        *(uuid4(), account_id, scan_id, "prowler", each.service, each.region, each.check_id),
        *(titles[each.check_id], each.severity.value, each.status.value, state),
        *(each.resource_uid, each.resource_name, each.detail, at),
    )
