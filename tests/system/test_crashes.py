"""kill -9 in the middle of a scan: it completes, with the findings of an undisturbed one."""

from __future__ import annotations

import psutil
import pytest

from tests.support.cloud import RunningCloud
from tests.support.system import Row, System

SERVICES = ["iam", "ec2", "sns", "sqs"]


@pytest.fixture(scope="module")
async def undisturbed(system: System, acme: RunningCloud, credentials: Row) -> Row:
    """The verdicts of a scan that nothing disturbed."""
    account = await system.add_account(
        "undisturbed", acme.url, credentials, regions=["us-east-1", "eu-west-1"]
    )
    scan = await system.scan(account, services=SERVICES)
    assert scan["status"] == "completed", scan
    return await system.verdicts(account)


async def test_a_killed_worker_loses_and_doubles_nothing(
    system: System, account: str, undisturbed: Row
) -> None:
    scan_id = await system.start(account, services=SERVICES)
    scanners = await system.until_scanning()
    system.kill("worker")
    assert psutil.wait_procs(scanners, timeout=10)[1] == []  # a scanner dies with its worker

    scan = await system.until(scan_id)

    await _equals(system, scan, account, undisturbed)
    attempts = [task["attempt"] for task in await system.all(f"scans/{scan_id}/tasks")]
    assert max(attempts) > 1


async def test_a_killed_scanner_is_run_again(
    system: System, account: str, undisturbed: Row
) -> None:
    scan_id = await system.start(account, services=SERVICES)
    (await system.until_scanning())[0].kill()

    await _equals(system, await system.until(scan_id), account, undisturbed)


@pytest.mark.parametrize("server", ["temporal", "postgres"])
async def test_a_killed_server_loses_and_doubles_nothing(
    system: System, account: str, undisturbed: Row, server: str
) -> None:
    scan_id = await system.start(account, services=SERVICES)
    await system.until_scanning()
    system.kill(server)

    await _equals(system, await system.until(scan_id), account, undisturbed)


async def test_a_killed_api_does_not_disturb_a_scan(
    system: System, account: str, undisturbed: Row
) -> None:
    scan_id = await system.start(account, services=SERVICES)
    await system.until_scanning()
    system.kill("api")

    scan = await system.until(scan_id)

    await _equals(system, scan, account, undisturbed)


async def _equals(system: System, scan: Row, account: str, undisturbed: Row) -> None:
    assert scan["status"] == "completed", scan
    assert await system.verdicts(account) == undisturbed
    rows = await system.all("findings", account_id=account)
    assert len(rows) == len(undisturbed)  # the keys above would hide a double
