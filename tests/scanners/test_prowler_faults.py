"""A cloud that refuses, throttles, hangs or dies: no verdict is turned, nothing counts as seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.accounts import FileCredentials
from contracts.errors import CredentialsRejected, RateLimited, TargetUnreachable
from contracts.observations import CoveredCheck
from contracts.vocabulary import ErrorClass, FindingStatus
from demo import cloud as demo
from runtime.settings import Settings
from scanners.prowler.prowler_catalogue import Catalogue
from tests.support.cloud import RunningCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.prowler_scan import Outcome, credentials_file, job_for, run, scanner_processes

SERVICES = ["s3", "sns", "sqs", "dynamodb"]


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> FileCredentials:
    return credentials_file(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def checks(catalogue: Catalogue) -> list[str]:
    return [check for service in SERVICES for check in catalogue.services[service]]


@pytest.fixture(scope="module")
def shared_proxy(audited_cloud: RunningCloud) -> Iterator[FaultProxy]:
    with FaultProxy(audited_cloud.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> FaultProxy:
    shared_proxy.revive()
    shared_proxy.clear()
    return shared_proxy


@pytest.fixture(scope="module")
async def healthy(
    shared_proxy: FaultProxy,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> Outcome:
    """The same scan without a fault."""
    return await run(job_for(shared_proxy.url, credentials, checks), prowler_settings)


def assert_nothing_is_wrong(outcome: Outcome, healthy: Outcome) -> None:
    """What the outcome still claims is true: each verdict that stands, and all that it covers."""
    stands = {v for v in outcome.verdicts() if v[-1] is not FindingStatus.NOT_ASSESSED}
    assert stands <= healthy.verdicts()
    covered = set(outcome.last_word.covered)
    assert not covered & outcome.distrusted
    said = {verdict for verdict in healthy.verdicts() if CoveredCheck(*verdict[:2]) in covered}
    assert said <= stands


def services_of(outcome: Outcome) -> set[str]:
    return {pair.check_id.split("_")[0] for pair in outcome.last_word.not_assessed}


async def test_a_healthy_endpoint_leaves_no_doubt_though_it_lacks_calls(
    healthy: Outcome,
) -> None:
    assert healthy.last_word.not_assessed == []
    classes = {problem.error_class for problem in healthy.last_word.coverage.problems}
    assert ErrorClass.NOT_IMPLEMENTED in classes
    assert not classes & {ErrorClass.DENIED, ErrorClass.THROTTLED, ErrorClass.UNREACHABLE}


async def test_a_denied_service_is_not_assessed_and_the_others_are(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    proxy.deny("sns")
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert services_of(outcome) == {"sns"}
    assert_nothing_is_wrong(outcome, healthy)
    (problem,) = [
        p for p in outcome.last_word.coverage.problems if p.error_class is ErrorClass.DENIED
    ]
    assert problem.service == "sns"
    assert set(problem.checks) == {c for c in checks if c.startswith("sns_")}


async def test_a_service_that_is_denied_in_one_region_is_assessed_in_the_others(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    proxy.deny("sqs", region="eu-west-1")
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert {pair.region for pair in outcome.last_word.not_assessed} == {"eu-west-1"}
    assert services_of(outcome) == {"sqs"}
    assert_nothing_is_wrong(outcome, healthy)


async def test_one_denied_call_spares_the_checks_that_do_not_read_its_answer(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    proxy.deny("s3", operation="GetBucketVersioning")
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    doubted = {pair.check_id for pair in outcome.last_word.not_assessed}
    assert "s3_bucket_object_versioning" in doubted
    assert "s3_bucket_default_encryption" not in doubted
    assert_nothing_is_wrong(outcome, healthy)


@pytest.mark.parametrize("seed", [1, 2])
async def test_half_of_the_calls_throttled_turns_no_verdict(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
    seed: int,
) -> None:
    for service in SERVICES:
        proxy.throttle(0.5, seed=seed, service=service)
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert outcome.last_word.not_assessed != []
    assert_nothing_is_wrong(outcome, healthy)
    assert any(
        problem.error_class is ErrorClass.THROTTLED
        for problem in outcome.last_word.coverage.problems
    )


async def test_everything_denied_but_the_identity_covers_nothing(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    for service in SERVICES:
        proxy.deny(service)
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert services_of(outcome) == set(SERVICES)
    assert_nothing_is_wrong(outcome, healthy)
    real = {
        verdict for verdict in outcome.verdicts() if verdict[-1] is not FindingStatus.NOT_ASSESSED
    }
    assert real == set()


async def test_an_endpoint_that_dies_half_way_is_unreachable_not_clean(
    proxy: FaultProxy,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    proxy.die_after(60)
    with pytest.raises(TargetUnreachable, match="stopped answering"):
        await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert scanner_processes() == []


async def test_an_endpoint_that_dies_near_the_end_is_doubted_or_unreachable(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    before = sum(proxy.counts.values())
    await run(job_for(proxy.url, credentials, checks), prowler_settings)
    calls = sum(proxy.counts.values()) - before
    proxy.die_after(calls - 10)
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert outcome.last_word.not_assessed != []
    assert_nothing_is_wrong(outcome, healthy)


async def test_an_endpoint_that_throttles_everything_is_rate_limiting(
    proxy: FaultProxy,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    proxy.throttle(service="cloudformation")
    proxy.throttle(service="ec2")
    checks = [*catalogue.services["cloudformation"], *catalogue.services["ec2"]]
    with pytest.raises(RateLimited, match="throttles every call"):
        await run(job_for(proxy.url, credentials, checks), prowler_settings)


async def test_a_service_that_hangs_is_not_assessed(
    proxy: FaultProxy,
    healthy: Outcome,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROWLER_AWS_BOTO3_READ_TIMEOUT", "1")
    proxy.hang("sns")
    outcome = await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert services_of(outcome) == {"sns"}
    assert_nothing_is_wrong(outcome, healthy)


async def test_silence_is_filled_with_signs_of_life(
    proxy: FaultProxy,
    credentials: FileCredentials,
    prowler_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROWLER_AWS_BOTO3_READ_TIMEOUT", "6")
    proxy.hang("sns")
    job = job_for(proxy.url, credentials, ["sns_topics_not_publicly_accessible"])
    outcome = await run(job, prowler_settings)
    assert sum(message.done == 0 for message in outcome.progress) >= 2


async def test_credentials_that_are_refused_at_the_start_end_the_shard(
    proxy: FaultProxy,
    credentials: FileCredentials,
    checks: list[str],
    prowler_settings: Settings,
) -> None:
    proxy.deny("sts")
    with pytest.raises(CredentialsRejected) as failure:
        await run(job_for(proxy.url, credentials, checks), prowler_settings)
    assert credentials.path in failure.value.message
    assert failure.value.fix
    assert demo.SECRET_ACCESS_KEY not in str(failure.value)


async def test_an_endpoint_that_nobody_serves_is_unreachable(
    credentials: FileCredentials, checks: list[str], prowler_settings: Settings
) -> None:
    with pytest.raises(TargetUnreachable, match="does not answer"):
        await run(job_for("http://127.0.0.1:9", credentials, checks), prowler_settings)
