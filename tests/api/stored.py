"""Scans with findings and resources in the store, put there as workers put them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from contracts.accounts import EnvironmentCredentials, NewAccount
from contracts.findings import CheckText
from contracts.observations import CoveredCheck, ObservedFinding, ObservedResource
from contracts.scans import Coverage, NewScan, ScanEnd, ScanTrigger
from contracts.vocabulary import FindingStatus, Provider, Severity, TaskKind
from storage import accounts
from storage.checks import upsert_checks
from storage.database import Database
from storage.merge import merge_shard, staging
from storage.scans import scan_state, scans

TITLES = {
    "s3_bucket_public_access": ("S3 buckets are not public", "s3", Severity.CRITICAL),
    "iam_user_mfa": ("IAM users have MFA", "iam", Severity.HIGH),
    "ec2_ebs_encryption": ("EBS volumes are encrypted", "ec2", Severity.MEDIUM),
    "rds_instance_logging": ("RDS instances log", "rds", Severity.LOW),
}


def observed(
    check_id: str, resource: str, status: FindingStatus = FindingStatus.FAIL, region: str = ""
) -> ObservedFinding:
    """One verdict of one of the checks above."""
    _, service, severity = TITLES[check_id]
    region = region or "eu-west-1"
    return ObservedFinding(
        check_id=check_id,
        service=service,
        region=region,
        resource_uid=f"arn:aws:{service}:::{resource}",
        resource_name=resource,
        resource_type="thing",
        severity=severity,
        status=status,
        detail=f"{resource} was looked at.",
    )


async def make_account(database: Database, team_id: UUID, name: str = "production") -> UUID:
    """An account of the team."""
    new = NewAccount(name=name, provider=Provider.AWS, credentials=EnvironmentCredentials())
    now = datetime.now(UTC)
    async with database.transaction() as session:
        account = await accounts.create_account(session, team_id, new, at=now)
        await accounts.record_identity(
            session, account.id, uid="123456789012", home_region="eu-west-1", at=now
        )
    return account.id


async def store_scan(
    database: Database,
    team_id: UUID,
    account_id: UUID,
    findings: Sequence[ObservedFinding] = (),
    resources: Sequence[ObservedResource] = (),
) -> UUID:
    """A scan that ran to its end and found these; returns its id."""
    now = datetime.now(UTC)
    kind = TaskKind.DISCOVERY if resources else TaskKind.COMPLIANCE
    shard = scan_state.PlannedShard(kind=kind, key="shard", title="Shard", batch=0, plan={})
    async with database.transaction() as session:
        await upsert_checks(
            session,
            [
                CheckText(
                    source="prowler",
                    provider=Provider.AWS,
                    check_id=check_id,
                    title=title,
                    severity=severity,
                    service=service,
                    risk="What may happen.",
                    remediation="What to do.",
                    frameworks={"CIS-5.0": ["1.1"]},
                )
                for check_id, (title, service, severity) in TITLES.items()
            ],
        )
        scan, _ = await scans.create_scan(
            session, team_id, NewScan(account_id=account_id),
            trigger=ScanTrigger(), idempotency_key=None, at=now,
        )  # fmt: skip
        await scan_state.claim_account(session, scan.id, at=now)
        await scan_state.write_plan(session, scan.id, [shard], notes=[])
        await scan_state.start_task(session, scan.id, "shard", at=now, attempt=1)
    target = staging.StagingTarget(
        scan_id=scan.id,
        key="shard",
        team_id=team_id,
        account_id=account_id,
        account_uid="123456789012",
        provider=Provider.AWS,
        source="steampipe" if resources else "prowler",
    )
    covered = list({CoveredCheck(each.check_id, each.region) for each in findings})
    covered += list({CoveredCheck(each.type, "") for each in resources})
    async with database.copying() as connection:
        rows = await staging.stage_findings(connection, target, findings)
        if resources:
            rows += await staging.stage_resources(connection, target, resources)
        pairs = await staging.stage_coverage(connection, target, covered)
    async with database.transaction() as session:
        coverage = Coverage(planned=len(covered), run=len(covered))
        await scan_state.report_task(
            session, scan.id, "shard", coverage=coverage, rows=rows, covered=pairs
        )
        await merge_shard(session, scan.id, "shard", at=now)
        await scan_state.end_scan(session, ScanEnd(scan_id=scan.id), at=now)
    return scan.id
