"""Two accounts at once stay apart; a scan that could not see everything changes no verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from demo import cloud
from tests.support.cloud import RunningCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.system import Row, System

REGIONS = ["us-east-1", "eu-west-1"]
SERVICES = ["iam", "ec2", "sns", "dynamodb"]


@pytest.fixture
def proxy(acme: RunningCloud) -> Iterator[FaultProxy]:
    """A proxy before the demo cloud that misbehaves when told to."""
    with FaultProxy(acme.url) as running:
        yield running


@pytest.fixture
async def proxied(
    system: System, proxy: FaultProxy, credentials: Row, name: str
) -> tuple[str, Row]:
    """An account behind the proxy, scanned once without faults: its id and its verdicts."""
    account = await system.add_account(name, proxy.url, credentials, regions=REGIONS)
    scan = await system.scan(account, services=SERVICES)
    assert scan["status"] == "completed", scan
    return account, await system.verdicts(account)


async def test_a_second_scan_on_the_same_worker_never_reports_the_results_of_the_first_account(
    system: System, acme: RunningCloud, credentials: Row, name: str
) -> None:
    """Neither one after the other nor at once."""
    workers = {each: pid for each, pid in system.stack.pids.items() if each.startswith("worker")}
    role = {"kind": "role", "role_arn": cloud.SANDBOX_ROLE, "source": credentials}
    pairs = {
        cloud.PRODUCTION: (f"{name}-production", credentials),
        cloud.SANDBOX: (f"{name}-sandbox", role),
    }
    accounts = {
        uid: await system.add_account(of, acme.url, given, regions=REGIONS)
        for uid, (of, given) in pairs.items()
    }
    alone = {}
    for uid, (of, given) in pairs.items():
        account = await system.add_account(f"{of}-alone", acme.url, given, regions=REGIONS)
        assert (await system.scan(account, services=SERVICES))["status"] == "completed"
        alone[uid] = await system.verdicts(account)

    scans = await asyncio.gather(
        *(system.scan(account, services=SERVICES) for account in accounts.values())
    )

    assert [scan["status"] for scan in scans] == ["completed", "completed"]
    together = {uid: await system.verdicts(account) for uid, account in accounts.items()}
    assert together == alone
    assert workers.items() <= system.stack.pids.items()
    for uid, account in accounts.items():
        rows = await system.all("findings", account_id=account)
        assert {row["account_uid"] for row in rows} == {uid}
    for uid, other in zip(together, reversed(together), strict=True):
        assert not [key for key in together[uid] if other in key[2]]


async def test_a_denied_service_resolves_nothing_and_turns_no_verdict(
    system: System, proxy: FaultProxy, proxied: tuple[str, Row]
) -> None:
    account, verdicts = proxied
    proxy.deny("ec2")

    scan = await system.scan(account, services=SERVICES)

    assert scan["status"] == "completed_with_errors"
    assert await system.verdicts(account) == verdicts
    assert "denied" in await _problems(system, scan)


async def test_an_endpoint_that_dies_half_way_resolves_nothing_and_turns_no_verdict(
    system: System, proxy: FaultProxy, proxied: tuple[str, Row]
) -> None:
    account, verdicts = proxied
    proxy.die_after(60)

    # Without iam, which asks one call after the other: each is repeated by its client.
    scan = await system.scan(account, services=[name for name in SERVICES if name != "iam"])

    assert scan["status"] in ("completed_with_errors", "failed")
    assert await system.verdicts(account) == verdicts


async def test_half_of_the_calls_throttled_resolves_nothing_and_turns_no_verdict(
    system: System, proxy: FaultProxy, proxied: tuple[str, Row]
) -> None:
    account, verdicts = proxied
    proxy.throttle(0.5)

    # Each call is repeated by its client, and each shard three times: this takes its time.
    scan = await system.until(await system.start(account, services=["sns"]), seconds=600)

    assert scan["status"] != "failed"
    assert await system.verdicts(account) == verdicts
    assert scan["counts"]["findings"]["resolved"] == 0


async def test_a_shard_that_is_throttled_to_the_end_is_not_assessed_and_not_failed(
    system: System, proxy: FaultProxy, proxied: tuple[str, Row]
) -> None:
    account, verdicts = proxied
    # The scanner asks who it is in a region of its scan; the check before, in the home region.
    proxy.throttle(service="sts", region="eu-west-1")

    scan = await system.scan(account, services=["sns"], regions=["eu-west-1"])

    assert scan["status"] == "completed_with_errors"
    assert await _problems(system, scan) == {"throttled"}
    assert await system.verdicts(account) == verdicts

    proxy.clear()  # and resume assesses what was throttled
    await system.post(f"scans/{scan['id']}/resume")
    assert (await system.until(scan["id"]))["status"] == "completed"
    assert await system.verdicts(account) == verdicts


async def test_a_first_scan_with_a_denied_service_says_not_assessed(
    system: System, proxy: FaultProxy, credentials: Row, name: str, proxied: tuple[str, Row]
) -> None:
    _, verdicts = proxied
    proxy.deny("dynamodb")
    account = await system.add_account(f"{name}-new", proxy.url, credentials, regions=REGIONS)

    await system.scan(account, services=SERVICES)

    for key, (status, _) in (await system.verdicts(account)).items():
        assert status == "not_assessed" or verdicts[key][0] == status, key


async def test_refused_credentials_fail_a_scan_at_once_with_the_cause_and_the_fix(
    system: System, proxy: FaultProxy, credentials: Row, name: str
) -> None:
    account = await system.add_account(name, proxy.url, credentials, regions=REGIONS)
    proxy.deny("sts")

    scan = await system.scan(account)

    assert scan["status"] == "failed"
    assert scan["error"]["code"] == "credentials_rejected"
    assert scan["error"]["fix"]
    assert cloud.SECRET_ACCESS_KEY not in str(scan)
    assert await system.all("findings", account_id=account) == []


async def _problems(system: System, scan: Row) -> set[str]:
    return {
        problem["error_class"]
        for task in await system.all(f"scans/{scan['id']}/tasks")
        if task["coverage"] is not None
        for problem in task["coverage"]["problems"]
    }
