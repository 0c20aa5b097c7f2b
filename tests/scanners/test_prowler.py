"""Real Prowler runs against a simulated cloud: the same findings, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest

from benchmarks.prowler_parity import Key, plain_findings, plain_report
from contracts.accounts import EnvironmentCredentials, FileCredentials, RoleCredentials
from contracts.errors import ScannerCrashed, ScannerMissing, ScopeInvalid
from contracts.vocabulary import FindingStatus
from demo import cloud as demo
from runtime.settings import Settings
from scanners.processes.json_records import JsonRecords
from scanners.prowler import prowler, prowler_ocsf
from scanners.prowler.prowler_catalogue import Catalogue
from scanners.prowler.prowler_plan import plan_shards
from tests.support.cloud import RunningCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.prowler_scan import (
    Outcome,
    credentials_file,
    job_for,
    run,
    scanner_processes,
    until_scanner_runs,
)

# In Prowler's interpreter: how often a call is sent to a host of which the resolver says this.
ASK_A_MISSING_HOST = """
import socket, sys, types

scanners = types.ModuleType("scanners")
scanners.__path__ = [sys.argv[1] + "/scanners"]
sys.modules["scanners"] = scanners
import boto3, botocore.config
from botocore.retries.standard import ExponentialBackoff
from scanners.prowler_runner.cloud import prepare_aws

def resolve(*arguments, **options):
    raise socket.gaierror(getattr(socket, sys.argv[2]), "in the words of the resolver")

prepare_aws()
socket.getaddrinfo = resolve
ExponentialBackoff.delay_amount = lambda backoff, context: 0
config = botocore.config.Config(retries={"total_max_attempts": 3, "mode": "standard"})
client = boto3.client("sts", region_name="eu-west-1", config=config)
sent = []
client.meta.events.register("before-send", lambda **_: sent.append(1))
try:
    client.get_caller_identity()
except Exception as error:
    print(len(sent), type(error).__name__)
"""


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> FileCredentials:
    return credentials_file(tmp_path_factory.mktemp("credentials"))


async def scan(
    cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    settings: Settings,
    services: list[str],
    *,
    region_batch_size: int,
) -> list[Outcome]:
    """All shards of a scan of these services."""
    shards = plan_shards(
        catalogue,
        regions=list(demo.REGIONS),
        home_region=demo.HOME_REGION,
        services=services,
        region_batch_size=region_batch_size,
    )
    slots = asyncio.Semaphore(2)

    async def one(regions: list[str], checks: list[str]) -> Outcome:
        async with slots:
            return await run(job_for(cloud.url, credentials, checks, regions), settings)

    return await asyncio.gather(*(one(shard.regions, shard.checks) for shard in shards))


@pytest.fixture(scope="module")
async def whole(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> Outcome:
    """One run over all regions."""
    services = ["s3", "iam", "ec2", "sqs", "config", "backup"]
    outcomes = await scan(
        audited_cloud, credentials, catalogue, prowler_settings, services, region_batch_size=5
    )
    merged = Outcome(result=outcomes[0].result)
    for outcome in outcomes:
        merged.findings += outcome.findings
        merged.progress += outcome.progress
    return merged


async def test_failing_findings_equal_those_of_plain_prowler(
    whole: Outcome, audited_cloud: RunningCloud, prowler_settings: Settings
) -> None:
    services = ["s3", "iam", "ec2"]
    plain = await asyncio.to_thread(
        plain_findings,
        prowler_settings.prowler_python,
        {**audited_cloud.environment, "PROWLER_AWS_BOTO3_RETRIES_MAX_ATTEMPTS": "0"},
        demo.REGIONS,
        services,
    )
    expected = sorted(verdict.key for verdict in plain if verdict.status == "fail")
    ours = sorted(
        Key(finding.check_id, finding.region, finding.resource_uid)
        for finding in whole.findings
        if finding.status is FindingStatus.FAIL and finding.service in services
    )
    assert len(expected) > 50
    assert ours == expected


async def test_prowlers_own_file_reads_as_the_findings_of_our_runner(
    whole: Outcome, audited_cloud: RunningCloud, prowler_settings: Settings
) -> None:
    report = await asyncio.to_thread(
        plain_report,
        prowler_settings.prowler_python,
        {**audited_cloud.environment, "PROWLER_AWS_BOTO3_RETRIES_MAX_ATTEMPTS": "0"},
        demo.REGIONS,
        ["s3", "sqs"],
    )
    records = JsonRecords()
    read = [prowler_ocsf.read(each.value) for each in records.feed(report)]
    assert list(records.close()) == []
    assert {(each.provider, each.account_uid, each.is_gone) for each in read} == {
        ("aws", demo.PRODUCTION, False)
    }
    ours = [finding for finding in whole.findings if finding.service in ("s3", "sqs")]
    assert len(ours) > 50
    assert sorted(each.finding for each in read) == sorted(ours)


async def test_the_union_of_region_batches_is_one_run_and_holds_nothing_twice(
    whole: Outcome,
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    services = ["s3", "iam", "ec2", "sqs", "config", "backup"]
    outcomes = await scan(
        audited_cloud, credentials, catalogue, prowler_settings, services, region_batch_size=2
    )
    assert len(outcomes) > 2
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    assert sorted(findings) == sorted(whole.findings)
    covered = [pair for outcome in outcomes for pair in outcome.last_word.covered]
    assert len(covered) == len(set(covered))


async def test_progress_counts_every_check_and_the_result_covers_every_region(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    checks = catalogue.services["sqs"]
    outcome = await run(job_for(audited_cloud.url, credentials, checks), prowler_settings)
    done = {message.done for message in outcome.progress}
    assert set(range(1, len(checks) + 1)) <= done
    assert outcome.last_word.coverage.planned == outcome.last_word.coverage.run == len(checks)
    assert outcome.last_word.not_assessed == []
    assert {tuple(pair) for pair in outcome.last_word.covered} == {
        (check, region) for check in checks for region in demo.REGIONS
    }


async def test_verdicts_that_depend_on_the_order_of_regions_do_not_flap(
    whole: Outcome,
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    checks = ["config_recorder_all_regions_enabled", "backup_plans_exist"]
    expected = sorted(f for f in whole.findings if f.check_id in checks)
    assert len(expected) == 2  # recorders of one name are one, and the first plan speaks for all
    for _ in range(3):
        outcome = await run(job_for(audited_cloud.url, credentials, checks), prowler_settings)
        assert sorted(outcome.findings) == expected


@pytest.mark.parametrize(("answer", "tries"), [("EAI_NONAME", 1), ("EAI_AGAIN", 3)])
def test_a_host_that_does_not_exist_is_asked_once_and_one_that_may_exist_again(
    prowler_settings: Settings, answer: str, tries: int
) -> None:
    runner = Path(prowler.__file__).parents[1] / "prowler_runner" / "cloud.py"
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = subprocess.run(
        [prowler_settings.prowler_python, "-c", ASK_A_MISSING_HOST, runner.parents[2], answer],
        env={**environment, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (f"{tries} EndpointConnectionError\n", 0), done.stderr


async def test_a_role_is_scanned_as_the_account_it_belongs_to(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    prowler_settings: Settings,
) -> None:
    check = "iam_password_policy_minimum_length_14"
    job = job_for(audited_cloud.url, credentials, [check]).model_copy(
        update={
            "account_uid": demo.SANDBOX,
            "credentials": RoleCredentials(role_arn=demo.SANDBOX_ROLE, source=credentials),
        }
    )
    outcome = await run(job, prowler_settings)
    (finding,) = outcome.findings
    assert finding.resource_uid.endswith(f":{demo.SANDBOX}:password-policy")


async def test_a_killed_runner_is_a_crash_and_leaves_no_process(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    checks = [*catalogue.services["ec2"], *catalogue.services["iam"]]
    scanning = asyncio.create_task(
        run(job_for(audited_cloud.url, credentials, checks), prowler_settings)
    )
    (await until_scanner_runs("run.py")).kill()
    with pytest.raises(ScannerCrashed, match="signal 9"):
        await scanning
    assert scanner_processes() == []


async def test_cancellation_leaves_no_process_not_even_the_secret_scanner(
    audited_cloud: RunningCloud, credentials: FileCredentials, prowler_settings: Settings
) -> None:
    job = job_for(audited_cloud.url, credentials, ["ec2_instance_secrets_user_data"])
    scanning = asyncio.create_task(run(job, prowler_settings))
    await until_scanner_runs("kingfisher")
    scanning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scanning
    assert scanner_processes() == []


@pytest.mark.parametrize("moment", ["spawning", "starting", "scanning"])
async def test_cancellation_at_any_moment_leaves_no_process(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
    moment: str,
) -> None:
    chance = random.Random(11)  # noqa: S311 (moments, not secrets)
    checks = [*catalogue.services["dynamodb"], *catalogue.services["sns"]]
    with FaultProxy(audited_cloud.url) as proxy:
        proxy.hang("sns")  # the scan does not end by itself before it is cancelled
        job = job_for(proxy.url, credentials, checks)
        for _ in range(3):
            progressed = asyncio.Event()
            scanning = asyncio.create_task(_scan_until_cancelled(job, prowler_settings, progressed))
            if moment == "spawning":
                for _ in range(chance.randrange(20)):
                    await asyncio.sleep(0)
            elif moment == "starting":
                await until_scanner_runs("run.py")
                await asyncio.sleep(chance.uniform(0, 0.5))
            else:
                async with asyncio.timeout(60):
                    await progressed.wait()
                await asyncio.sleep(chance.uniform(0, 0.5))
            scanning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await scanning
            assert scanner_processes() == []


async def _scan_until_cancelled(
    job: prowler.ProwlerJob, settings: Settings, progressed: asyncio.Event
) -> None:
    async for message in prowler.run_shard(job, settings):
        if isinstance(message, prowler.ShardProgress) and message.done:
            progressed.set()


async def test_closing_after_the_first_message_stops_the_scanner(
    audited_cloud: RunningCloud,
    credentials: FileCredentials,
    catalogue: Catalogue,
    prowler_settings: Settings,
) -> None:
    # Many checks: the scanner must still be busy when its first message is read.
    job = job_for(audited_cloud.url, credentials, catalogue.services["ec2"])
    async with aclosing(prowler.run_shard(job, prowler_settings)) as messages:
        await anext(messages)
        assert len(scanner_processes()) >= 1
    assert scanner_processes() == []


async def test_a_secret_stands_in_no_argument_and_no_file(
    audited_cloud: RunningCloud, prowler_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, audited_cloud.environment[name])
    job = job_for(
        audited_cloud.url,
        FileCredentials(path="/unused"),
        ["sqs_queues_not_publicly_accessible"],
    ).model_copy(update={"credentials": EnvironmentCredentials()})
    async with aclosing(prowler.run_shard(job, prowler_settings)) as messages:
        first = asyncio.ensure_future(anext(messages))
        process = await until_scanner_runs("prowler_runner")  # it is there for a second or more
        assert demo.SECRET_ACCESS_KEY not in " ".join(process.cmdline())
        job_file = Path(process.environ()["TMPDIR"], "job.json")
        with job_file.open() as file:  # noqa: ASYNC230 (a small local file)
            assert demo.SECRET_ACCESS_KEY not in file.read()
        assert demo.SECRET_ACCESS_KEY not in repr(await first)
        async for message in messages:
            assert demo.SECRET_ACCESS_KEY not in repr(message)


async def test_a_worker_without_prowler_says_how_to_install_it(
    audited_cloud: RunningCloud, credentials: FileCredentials, tmp_path: Path
) -> None:
    settings = Settings(prowler_python=tmp_path / "bin" / "python")
    with pytest.raises(ScannerMissing) as failure:
        await run(job_for(audited_cloud.url, credentials, ["iam_avoid_root_usage"]), settings)
    assert "cloudsweep scanners install prowler" in (failure.value.fix or "")


async def test_a_check_that_this_prowler_does_not_know_is_refused(
    audited_cloud: RunningCloud, credentials: FileCredentials, prowler_settings: Settings
) -> None:
    with pytest.raises(ScopeInvalid, match="iam_no_such_check"):
        await run(job_for(audited_cloud.url, credentials, ["iam_no_such_check"]), prowler_settings)
