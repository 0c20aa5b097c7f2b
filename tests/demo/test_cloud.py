"""The demo cloud looks like an account, and is the same account whenever it starts."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.vocabulary import Provider
from demo import changes
from demo import cloud as facts
from scanners.steampipe.steampipe import TableRead, find_connection, read_tables, table_groups
from tests.demo.conftest import Demo
from tests.support.cloud import RunningCloud, demo_cloud
from tests.support.steampipe import SteampipeServer, running_steampipe


@pytest.fixture(scope="module")
def changing() -> Iterator[RunningCloud]:
    """A small demo cloud that tests may change."""
    with demo_cloud(small=True) as running:
        yield running


async def inventory(server: SteampipeServer, account_uid: str) -> dict[tuple[str, str], Any]:
    """What discovery finds in an account: by type and id, everything it says of a resource."""
    connection = await find_connection(server.url, Provider.AWS, account_uid)
    found = {}
    specs = [spec for group in table_groups(Provider.AWS).values() for spec in group]
    async with aclosing(read_tables(server.url, connection, specs)) as messages:
        async for message in messages:
            if isinstance(message, TableRead):
                assert message.error is None, message
            else:
                found.update({(resource.type, resource.uid): resource for resource in message})
    return found


async def test_discovery_finds_a_lived_in_account_in_four_regions(demo: Demo) -> None:
    found = await inventory(demo.steampipe, facts.PRODUCTION)
    assert 450 <= len(found) <= 650
    regions = Counter(resource.region for resource in found.values())
    assert set(regions) == {*facts.REGIONS, "global"}
    assert min(regions.values()) > 25
    kinds = Counter(kind for kind, _ in found)
    assert len(kinds) > 60
    assert kinds["s3_bucket"] == 35
    assert kinds["iam_user"] == 14
    tagged = [resource for resource in found.values() if "cost-center" in resource.tags]
    assert len(tagged) > len(found) / 2


async def test_the_two_accounts_have_nothing_in_common(demo: Demo) -> None:
    production = await inventory(demo.steampipe, facts.PRODUCTION)
    sandbox = await inventory(demo.steampipe, facts.SANDBOX)
    assert len(sandbox) > 50
    assert not production.keys() & sandbox.keys()
    buckets = demo.cloud.client("s3", sandbox=True).list_buckets()["Buckets"]
    assert all(bucket["Name"].startswith("acme-sandbox") for bucket in buckets)
    names = {bucket["Name"] for bucket in demo.cloud.client("s3").list_buckets()["Buckets"]}
    assert not names & {bucket["Name"] for bucket in buckets}


async def test_a_restarted_demo_cloud_is_the_same_cloud(
    demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with running_steampipe(tmp_path_factory.mktemp("again")) as steampipe:
        with demo_cloud(steampipe=steampipe.admin_url):
            for account_uid in (facts.PRODUCTION, facts.SANDBOX):
                before = await inventory(demo.steampipe, account_uid)
                assert await inventory(steampipe, account_uid) == before


def test_the_environment_belongs_to_the_auditor_who_may_become_the_sandboxs(demo: Demo) -> None:
    us = demo.cloud.client("sts").get_caller_identity()
    assert us["Arn"] == f"arn:aws:iam::{facts.PRODUCTION}:user/cloudsweep-auditor"
    them = demo.cloud.client("sts", sandbox=True).get_caller_identity()
    assert them["Account"] == facts.SANDBOX
    assert ":assumed-role/CloudsweepAudit/" in them["Arn"]


def test_the_code_of_a_function_is_served_by_the_endpoint_itself(demo: Demo) -> None:
    code = demo.cloud.client("lambda").get_function(FunctionName="order-created")["Code"]
    assert code["Location"].startswith(demo.cloud.url)
    with urllib.request.urlopen(code["Location"]) as answer:  # noqa: S310 (our own endpoint)
        assert answer.read(2) == b"PK"


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("accessanalyzer", "list_analyzers", "UnknownOperationException"),  # no such service
        ("ssm", "describe_instance_information", "UnknownOperationException"),  # no such call
        ("account", "get_contact_information", "UnknownOperationException"),  # no such path
        ("rds", "describe_db_recommendations", "InvalidAction"),
        ("route53", "list_traffic_policies", "InvalidAction"),
    ],
)
def test_what_the_demo_cloud_lacks_it_refuses_as_aws_refuses_unknown_calls(
    changing: RunningCloud, service: str, operation: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(changing.client(service), operation)()
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_bucket_can_be_broken_fixed_and_deleted(changing: RunningCloud) -> None:
    s3 = changing.client("s3", "eu-central-1")
    for _ in range(2):
        changes.break_bucket(s3, "acme-ml-models")
        statement = json.loads(s3.get_bucket_policy(Bucket="acme-ml-models")["Policy"])
        assert statement["Statement"][0]["Principal"] == "*"
    for _ in range(2):
        changes.fix_bucket(s3, "acme-ml-models")
        block = s3.get_public_access_block(Bucket="acme-ml-models")
        assert all(block["PublicAccessBlockConfiguration"].values())
    for _ in range(2):
        changes.delete_bucket(s3, "acme-ml-models")
    assert "acme-ml-models" not in {b["Name"] for b in s3.list_buckets()["Buckets"]}


def test_a_port_can_be_opened_and_closed(changing: RunningCloud) -> None:
    ec2 = changing.client("ec2", "eu-west-1")
    group = changes.find_group(ec2, "default")

    def open_ports() -> list[int]:
        found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
        return [rule["FromPort"] for rule in found["IpPermissions"] if "FromPort" in rule]

    before = open_ports()
    for _ in range(2):
        changes.open_port(ec2, group, 3389)
        assert open_ports() == [*before, 3389]
    for _ in range(2):
        changes.close_port(ec2, group, 3389)
        assert open_ports() == before


async def test_the_inventory_shows_a_change_once_it_is_renewed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with running_steampipe(tmp_path_factory.mktemp("renewed")) as steampipe:
        with demo_cloud(small=True, steampipe=steampipe.admin_url) as cloud:
            before = await inventory(steampipe, facts.PRODUCTION)
            changes.delete_bucket(cloud.client("s3", "eu-central-1"), "acme-ml-models")
            rows = facts.renew_inventory(cloud.url)
            after = await inventory(steampipe, facts.PRODUCTION)
            assert before.keys() - after.keys() == {("s3_bucket", "arn:aws:s3:::acme-ml-models")}
            assert rows > len(after)  # both accounts


def test_a_port_that_is_taken_is_said_before_anything_is_seeded(changing: RunningCloud) -> None:
    port = changing.url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "-m", "demo.serve", "--port", port],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert f"cannot use 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert facts.wait_until_serving(changing.url, seconds=5)


def test_the_shells_own_aws_settings_are_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/etc/passwd")
    command = [sys.executable, "-m", "demo.serve", "--port", "0", "--small"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        process.terminate()


def test_a_demo_cloud_ends_with_the_process_that_started_it() -> None:
    command = [sys.executable, "-m", "demo.serve", "--port", "0", "--until-stdin-closes"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0
