"""The Steampipe adapter against a real PostgreSQL that looks like Steampipe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from contracts.errors import TargetUnreachable
from contracts.observations import ObservedResource
from contracts.vocabulary import Provider
from demo import steampipe_standin as standin
from demo import steampipe_standin_faults as faults
from demo.steampipe_standin_rows import COMMON, STEAMPIPE, TableRows
from scanners.steampipe import steampipe
from scanners.steampipe.steampipe import TableRead, TableSpec
from tests.support.steampipe import SteampipeServer, running_steampipe

CONTEXT = json.dumps({"connection_name": "prod", "steampipe": {"sdk_version": "5.13.1"}})
BUCKETS = TableSpec("aws_s3_bucket", ("creation_date",), "arn")
VPCS = TableSpec("aws_vpc", ("vpc_id", "cidr_block", "is_default"), "arn")
STACKS = TableSpec("aws_stack", (), "akas")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SteampipeServer]:
    async with running_steampipe(tmp_path_factory.mktemp("steampipe")) as running:
        yield running


@pytest.fixture
async def steampipe_server(server: SteampipeServer) -> SteampipeServer:
    """The stand-in with one connection, `prod`, as it is before anything goes wrong."""
    await server.forget()
    await standin.write_connection(server.admin_url, "prod", tables("123456789012"))
    return server


def tables(account_uid: str, buckets: int = 3) -> list[TableRows]:
    """A few tables in the shape of the AWS plugin."""

    def common(title: str, aka: str, tags: dict[str, Any] | None, region: str) -> tuple[Any, ...]:
        labels = None if tags is None else json.dumps(tags)
        place = ("prod", CONTEXT, CONTEXT)
        return (title, json.dumps([aka]), labels, region, "aws", account_uid, *place)

    shared = (*COMMON, *STEAMPIPE)
    made = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
    bucket_rows = []
    for number in range(buckets):
        name = f"bucket-{number}"
        arn = f"arn:aws:s3:::{name}"
        region = "eu-west-1" if number % 2 else "us-east-1"
        tags = {"env": "production", "count": 5, "empty": None}
        bucket_rows.append((arn, made, *common(name, arn, tags, region)))
    vpc = "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1"
    return [
        TableRows("aws_account", ("arn", *shared), [
            ("arn:aws:::1", *common("acme", "arn:aws:::1", None, "global"))], None),
        TableRows("aws_s3_bucket", ("arn", "creation_date", *shared), bucket_rows, None),
        TableRows("aws_vpc", ("arn", "vpc_id", "cidr_block", "is_default", *shared), [
            (vpc, "vpc-1", "10.0.0.0/16", True, *common("main", vpc, None, "eu-west-1"))], None),
        TableRows("aws_stack", shared, [
            common("one", "arn:stack/1", {}, "global"),
            common("one", "arn:stack/1", {}, "eu-west-1"),  # as shadow trails do
            common("two", "arn:stack/2", {}, "eu-west-1")], None),
    ]  # fmt: skip


async def read(
    url: str, *specs: TableSpec, **options: Any
) -> tuple[list[ObservedResource], list[TableRead]]:
    """Everything that `read_tables` says, resources and outcomes apart."""
    resources: list[ObservedResource] = []
    outcomes: list[TableRead] = []
    async with aclosing(steampipe.read_tables(url, "prod", specs, **options)) as messages:
        async for message in messages:
            if isinstance(message, TableRead):
                outcomes.append(message)
            else:
                resources.extend(message)
    return resources, outcomes


@pytest.mark.parametrize("way", ["url", "tcp_url"])
async def test_a_table_is_read_over_a_unix_socket_and_over_tcp(
    steampipe_server: SteampipeServer, way: str
) -> None:
    resources, outcomes = await read(getattr(steampipe_server, way), VPCS)
    assert resources == [
        ObservedResource(
            uid="arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1",
            type="vpc",
            name="main",
            region="eu-west-1",
            tags={},
            attributes={"vpc_id": "vpc-1", "cidr_block": "10.0.0.0/16", "is_default": True},
        )
    ]
    assert outcomes == [TableRead("aws_vpc", "vpc", 1, None)]


async def test_tags_become_text_and_times_rfc_3339(steampipe_server: SteampipeServer) -> None:
    resources, _ = await read(steampipe_server.url, BUCKETS)
    assert resources[0].tags == {"env": "production", "count": "5", "empty": ""}
    assert resources[0].attributes == {"creation_date": "2024-05-06T07:08:00+00:00"}


async def test_a_table_without_the_id_column_is_identified_by_its_akas(
    steampipe_server: SteampipeServer,
) -> None:
    resources, outcomes = await read(steampipe_server.url, STACKS._replace(uid="stack_arn"))
    assert [resource.uid for resource in resources] == ["arn:stack/1", "arn:stack/2"]
    assert outcomes[0].error is None


async def test_a_resource_that_a_table_repeats_comes_once(
    steampipe_server: SteampipeServer,
) -> None:
    resources, outcomes = await read(steampipe_server.url, STACKS, batch_rows=1)
    assert [resource.uid for resource in resources] == ["arn:stack/1", "arn:stack/2"]
    assert outcomes[0].rows == 2


async def test_only_the_regions_asked_for_and_global_resources_are_kept(
    steampipe_server: SteampipeServer,
) -> None:
    resources, outcomes = await read(
        steampipe_server.url, BUCKETS, VPCS, STACKS, regions=["us-east-1"]
    )
    assert [resource.name for resource in resources] == ["bucket-0", "bucket-2", "one"]
    assert [outcome.rows for outcome in outcomes] == [2, 0, 1]


async def test_a_column_that_this_plugin_version_lacks_is_left_out(
    steampipe_server: SteampipeServer,
) -> None:
    spec = VPCS._replace(attributes=("vpc_id", "from_the_future"), tags="labels")
    resources, outcomes = await read(steampipe_server.url, spec)
    assert resources[0].attributes == {"vpc_id": "vpc-1"}
    assert outcomes[0].error is None


async def test_a_column_that_was_not_asked_for_costs_nothing(
    steampipe_server: SteampipeServer,
) -> None:
    await faults.costly_column(steampipe_server.admin_url, "prod", "aws_s3_bucket", "policy")
    resources, outcomes = await read(steampipe_server.url, BUCKETS)
    assert (len(resources), outcomes[0].error) == (3, None)
    _, outcomes = await read(steampipe_server.url, BUCKETS._replace(attributes=("policy",)))
    assert outcomes[0].error == "AccessDenied: policy"


async def test_a_missing_table_and_a_failing_one_fail_alone(
    steampipe_server: SteampipeServer,
) -> None:
    await faults.fail_table(
        steampipe_server.admin_url,
        "prod",
        "aws_s3_bucket",
        "operation error S3: ListBuckets, https response error StatusCode: 403, "
        "AccessDenied for AKIAIOSFODNN7EXAMPLE",
    )
    resources, outcomes = await read(
        steampipe_server.url, TableSpec("aws_from_the_future"), BUCKETS, VPCS
    )
    assert [outcome.error for outcome in outcomes] == [
        "This version of the Steampipe plugin has no such table.",
        "rpc error: code = Internal desc = prod: operation error S3: ListBuckets, https response "
        "error StatusCode: 403, AccessDenied for [redacted]",
        None,
    ]
    assert [resource.type for resource in resources] == ["vpc"]


async def test_a_slow_table_is_stopped_and_the_rest_is_read(
    steampipe_server: SteampipeServer,
) -> None:
    await faults.slow_table(steampipe_server.admin_url, "prod", "aws_s3_bucket", 600)
    resources, outcomes = await read(steampipe_server.url, BUCKETS, VPCS, table_seconds=0.5)
    assert "no answer within" in (outcomes[0].error or "")
    assert [resource.type for resource in resources] == ["vpc"]
    assert await sessions(steampipe_server) == 0


async def test_a_hung_connection_is_abandoned_and_the_rest_is_read(
    steampipe_server: SteampipeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steampipe, "GRACE_SECONDS", 0.2)
    relay = steampipe_server.relay
    reading = steampipe.read_tables(
        steampipe_server.tcp_url, "prod", [BUCKETS, VPCS], batch_rows=1, table_seconds=0.5
    )
    outcomes = []
    async with aclosing(reading) as messages:
        async for message in messages:
            if isinstance(message, TableRead):
                relay.thaw()
                outcomes.append(message)
            elif not outcomes:  # in the middle of a table; even a cancel request has no effect
                relay.freeze()
    assert "did not let itself be stopped" in (outcomes[0].error or "")
    assert outcomes[-1] == TableRead("aws_vpc", "vpc", 1, None)


async def test_a_table_made_anew_in_the_middle_of_a_session_is_read_again(
    steampipe_server: SteampipeServer,
) -> None:
    reading = steampipe.read_tables(steampipe_server.url, "prod", [VPCS, VPCS, VPCS])
    outcomes = []
    async with aclosing(reading) as messages:
        async for message in messages:
            if isinstance(message, TableRead):
                outcomes.append(message)
                if len(outcomes) == 1:
                    await faults.recreate_table(steampipe_server.admin_url, "prod", "aws_vpc")
    assert [(outcome.rows, outcome.error) for outcome in outcomes] == [(1, None)] * 3


async def test_a_big_table_comes_in_batches_and_can_be_left_half_way(
    steampipe_server: SteampipeServer,
) -> None:
    await standin.write_connection(
        steampipe_server.admin_url, "prod", tables("123456789012", buckets=5000)
    )
    reading = steampipe.read_tables(steampipe_server.url, "prod", [BUCKETS], batch_rows=100)
    batches = 0
    async with aclosing(reading) as messages:
        async for message in messages:
            assert isinstance(message, list)
            assert len(message) == 100
            batches += 1
            if batches == 3:
                break
    assert await sessions(steampipe_server) == 0
    resources, outcomes = await read(steampipe_server.url, BUCKETS)
    assert len(resources) == outcomes[0].rows == 5000


async def test_rows_without_an_id_are_reported(steampipe_server: SteampipeServer) -> None:
    session = await standin.connect(steampipe_server.admin_url)
    await session.execute("update prod.aws_stack set akas = null where title = 'two'")
    await session.close()
    resources, outcomes = await read(steampipe_server.url, STACKS)
    assert [resource.uid for resource in resources] == ["arn:stack/1"]
    assert outcomes[0].error == "1 of 3 rows have no id."


async def test_the_cache_is_off_and_nothing_can_be_written(
    steampipe_server: SteampipeServer,
) -> None:
    await read(steampipe_server.url, VPCS)
    session = await standin.connect(steampipe_server.admin_url)
    settings = await session.fetch("select name, value from steampipe_internal.steampipe_settings")
    await session.close()
    assert [tuple(row) for row in settings] == [("cache", "false")]
    user = await asyncpg.connect(steampipe_server.url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await user.execute("delete from prod.aws_vpc")
    await user.close()


async def test_steampipe_going_away_in_the_middle_is_worth_a_retry(
    steampipe_server: SteampipeServer,
) -> None:
    reading = steampipe.read_tables(steampipe_server.tcp_url, "prod", [BUCKETS, VPCS], batch_rows=1)
    async with aclosing(reading) as messages:
        with pytest.raises(TargetUnreachable, match="went away") as caught:
            async for _ in messages:
                steampipe_server.relay.cut()
    assert "steampipe service start" in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://steampipe:s3cret@127.0.0.1:1/steampipe", "does not answer"),
        ("postgresql://steampipe:s3cret@no-such-host.invalid/steampipe", "does not answer"),
        ("steampipe.example.com:9193", "cannot be used"),
    ],
)
async def test_a_steampipe_that_cannot_be_reached_is_said_without_its_password(
    url: str, says: str
) -> None:
    with pytest.raises(TargetUnreachable, match=says) as caught:
        await read(url, VPCS)
    assert "s3cret" not in caught.value.message
    assert "CLOUDSWEEP_STEAMPIPE_URL" in (caught.value.fix or "")


async def test_a_refused_user_and_a_plain_postgresql_are_told_apart(
    steampipe_server: SteampipeServer,
) -> None:
    with pytest.raises(TargetUnreachable, match="refuses the user"):
        await read(steampipe_server.url.replace("steampipe@", "nobody@"), VPCS)
    with pytest.raises(TargetUnreachable, match="not Steampipe"):
        await steampipe.find_connection(steampipe_server.admin_url, Provider.AWS, "1")


async def sessions(server: SteampipeServer) -> int:
    """Sessions of the adapter that the server still has, once those that end have ended."""
    session = await standin.connect(server.admin_url)
    try:
        for _ in range(100):
            count = await session.fetchval(
                "select count(*) from pg_stat_activity where usename = 'steampipe'"
            )
            if count == 0:
                break
            await session.execute("select pg_sleep(0.05), pg_stat_clear_snapshot()")
        return int(count)
    finally:
        await session.close()
