"""The stand-in looks like Steampipe from outside, and says that it is none."""

from __future__ import annotations

import asyncpg
import pytest

from demo import cloud as facts
from demo import steampipe_standin as standin
from demo import steampipe_standin_faults as faults
from demo.steampipe_standin_rows import TableRows
from tests.demo.conftest import Demo


async def test_it_says_that_it_is_no_steampipe(demo: Demo) -> None:
    session = await asyncpg.connect(demo.steampipe.url)
    row = await session.fetchrow("select * from steampipe_internal.steampipe_server_settings")
    await session.close()
    assert row["steampipe_version"] == row["fdw_version"] == "stand-in (not Steampipe)"


async def test_its_internal_tables_have_steampipes_columns(demo: Demo) -> None:
    session = await asyncpg.connect(demo.steampipe.url)
    rows = await session.fetch(
        "select table_name, string_agg(column_name, ' ' order by ordinal_position) as columns "
        "from information_schema.columns where table_schema = 'steampipe_internal' "
        "group by table_name"
    )
    connections = await session.fetch(
        "select name, state, plugin, error from steampipe_internal.steampipe_connection "
        "order by name"
    )
    described = await session.fetchval(
        "select type from steampipe_internal.steampipe_plugin_column "
        "where table_name = 'aws_vpc' and name = 'cidr_block'"
    )
    await session.close()
    columns = {row["table_name"]: row["columns"] for row in rows}
    assert columns["steampipe_connection"] == (
        "name state type connections import_schema error plugin plugin_instance schema_mode "
        "schema_hash comments_set connection_mod_time plugin_mod_time file_name "
        "start_line_number end_line_number"
    )
    assert columns["steampipe_server_settings"] == (
        "start_time steampipe_version fdw_version cache_max_ttl cache_max_size_mb cache_enabled"
    )
    assert columns["steampipe_plugin_column"] == (
        "plugin table_name name type description list_config get_config hydrate_name default_value"
    )
    plugin = "hub.steampipe.io/plugins/turbot/aws@latest"
    assert [tuple(row) for row in connections] == [
        ("acme_production", "ready", plugin, None),
        ("acme_sandbox", "ready", plugin, None),
    ]
    assert described == "cidr"


async def test_every_table_ends_with_steampipes_own_columns_and_native_types(demo: Demo) -> None:
    session = await asyncpg.connect(demo.steampipe.url)
    rows = await session.fetch(
        "select table_name, array_agg(column_name || ' ' || data_type order by ordinal_position) "
        "as columns from information_schema.columns where table_schema = 'acme_production' "
        "group by table_name"
    )
    context = await session.fetchrow(
        "select sp_connection_name, sp_ctx ->> 'connection_name' as named, akas ->> 0 as aka, arn "
        "from acme_production.aws_s3_bucket limit 1"
    )
    await session.close()
    assert len(rows) > 70
    for row in rows:
        assert row["columns"][-3:] == ["sp_connection_name text", "sp_ctx jsonb", "_ctx jsonb"]
        assert {"akas jsonb", "tags jsonb", "title text", "region text"} <= set(row["columns"])
    columns = {row["table_name"]: row["columns"] for row in rows}
    assert "public_ip_address inet" in columns["aws_ec2_instance"]
    assert "launch_time timestamp with time zone" in columns["aws_ec2_instance"]
    assert context["sp_connection_name"] == context["named"] == "acme_production"
    assert context["aka"] == context["arn"]


async def test_its_role_may_only_read(demo: Demo) -> None:
    session = await asyncpg.connect(demo.steampipe.url)
    for statement in (
        "delete from acme_production.aws_vpc",
        "update steampipe_internal.steampipe_connection set state = 'error'",
        "create table acme_production.mine ()",
        "create schema mine",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.execute(statement)
    with pytest.raises(asyncpg.RaiseError, match="valid values are on, off and clear"):
        await session.execute("select from steampipe_internal.meta_cache('nonsense')")
    await session.close()


async def test_a_call_that_failed_fails_its_table_when_it_is_read(demo: Demo) -> None:
    failed = TableRows("aws_vpc", ("arn", "akas"), [], "made_up: it's AccessDenied")
    await standin.write_connection(demo.steampipe.admin_url, "made_up", [failed])
    session = await asyncpg.connect(demo.steampipe.url)
    with pytest.raises(asyncpg.FDWError, match="it's AccessDenied") as caught:
        await session.fetch("select arn from made_up.aws_vpc")
    await session.close()
    assert caught.value.sqlstate == "HV000"
    await faults.set_connection(demo.steampipe.admin_url, "made_up", "deleting")
    inside = await standin.connect(demo.steampipe.admin_url)
    await inside.execute(
        "drop schema made_up cascade; "
        "delete from steampipe_internal.steampipe_connection where name = 'made_up'"
    )
    await inside.close()


async def test_filled_from_outside_it_holds_the_same(demo: Demo) -> None:
    """Over HTTP and through the sandbox's role, as `python -m demo.steampipe_standin` does."""

    async def rows() -> list[asyncpg.Record]:
        session = await asyncpg.connect(demo.steampipe.url)
        found = []
        for connection in standin.CONNECTIONS.values():
            for table in ("aws_s3_bucket", "aws_iam_role", "aws_sqs_queue", "aws_vpc"):
                found += await session.fetch(
                    f"select title, akas, tags, region, account_id from {connection}.{table} "  # noqa: S608
                    "where region in ('eu-west-1', 'global') order by akas"
                )
        await session.close()
        return found

    before = await rows()
    clients = standin.over_http(demo.cloud.url)
    await standin.fill(demo.steampipe.admin_url, clients, regions=("eu-west-1",))
    outside = await rows()
    facts.renew_inventory(demo.cloud.url)
    assert outside == before == await rows()
    assert len(before) > 25


async def test_it_waits_for_a_server_that_is_not_there_only_as_long_as_it_is_told() -> None:
    with pytest.raises(ConnectionRefusedError):
        await standin.prepare("postgresql://nobody@127.0.0.1:1/nothing", wait_seconds=0.4)
