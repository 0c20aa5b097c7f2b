"""An account is scanned again and again: nothing changes, something is fixed, something breaks."""

from __future__ import annotations

import asyncpg

from tests.support.cloud import RunningCloud
from tests.support.system import System

SERVICES = ["sns", "dynamodb"]


async def test_a_rescan_of_an_unchanged_account_writes_no_finding_row(
    system: System, account: str
) -> None:
    first = await system.scan(account, services=SERVICES)
    assert first["status"] == "completed", first
    found = first["counts"]["findings"]
    assert found["new"] > 0
    written = await _row_versions(system, account)

    second = await system.scan(account, services=SERVICES)

    assert second["counts"]["findings"] == {
        "new": 0,
        "changed": 0,
        "resolved": 0,
        "unchanged": found["new"],
    }
    assert await _row_versions(system, account) == written
    rows = await system.all("findings", account_id=account)
    assert {row["last_scan_id"] for row in rows} == {second["id"]}
    assert {row["first_scan_id"] for row in rows} == {first["id"]}


async def test_a_fixed_resource_resolves_its_finding_and_a_broken_one_reopens_it(
    system: System, account: str, acme: RunningCloud
) -> None:
    s3 = acme.client("s3")
    bucket, check = f"reports-{account}", "s3_bucket_object_versioning"
    s3.create_bucket(Bucket=bucket)
    await system.scan(account, checks=[check])
    finding = await _finding(system, account, check, bucket)
    assert (finding["status"], finding["state"]) == ("fail", "open")

    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    fixed = await system.scan(account, checks=[check])
    finding = await _finding(system, account, check, bucket)
    assert (finding["status"], finding["state"]) == ("pass", "resolved")
    assert finding["resolved_at"] is not None
    assert fixed["counts"]["findings"]["resolved"] == 1

    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    await system.scan(account, checks=[check])
    finding = await _finding(system, account, check, bucket)
    assert (finding["status"], finding["state"]) == ("fail", "open")
    assert finding["resolved_at"] is None

    s3.delete_bucket(Bucket=bucket)
    await system.scan(account, checks=[check])
    detail = await system.get(f"findings/{finding['id']}")
    assert detail["state"] == "resolved"
    transitions = [(event["transition"], event["reason"]) for event in detail["history"]]
    assert [transition for transition, _ in transitions] == [
        "opened",
        "resolved",
        "reopened",
        "resolved",
    ]
    assert transitions[-1][1] == "gone"


async def test_a_scan_of_one_service_resolves_nothing_of_another(
    system: System, account: str
) -> None:
    await system.scan(account, services=SERVICES)
    before = await system.verdicts(account)

    await system.scan(account, services=["sns"])

    assert await system.verdicts(account) == before


async def _row_versions(system: System, account: str) -> dict[str, str]:
    """id -> the transaction that wrote the row: the same again means that nothing was written."""
    connection = await asyncpg.connect(system.stack.database_url)
    try:
        rows = await connection.fetch(
            "SELECT finding.id::text, finding.xmin::text AS version FROM finding "
            "JOIN check_coverage ON check_coverage.id = finding.coverage_id "
            "WHERE check_coverage.account_id = $1::uuid",
            account,
        )
    finally:
        await connection.close()
    return {row["id"]: row["version"] for row in rows}


async def _finding(system: System, account: str, check: str, resource: str) -> dict[str, object]:
    rows = await system.all("findings", account_id=account, check_id=check)
    found = [row for row in rows if resource in row["resource"]["uid"]]
    assert len(found) == 1, rows
    return found[0]
