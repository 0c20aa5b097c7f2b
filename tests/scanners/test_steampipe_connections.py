"""Finding the Steampipe connection of an account, whatever state the others are in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from contracts.errors import ScopeInvalid, TargetUnreachable
from contracts.vocabulary import CLOUDS, Provider
from demo import steampipe_standin as standin
from demo import steampipe_standin_faults as faults
from demo.steampipe_standin_rows import COMMON, STEAMPIPE, TableRows
from scanners.steampipe.steampipe import find_connection
from scanners.steampipe.steampipe_tables import CATALOGUE
from tests.support.steampipe import SteampipeServer, running_steampipe

AZURE = "hub.steampipe.io/plugins/turbot/azure@latest"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SteampipeServer]:
    async with running_steampipe(tmp_path_factory.mktemp("steampipe")) as running:
        yield running


@pytest.fixture
async def connections(server: SteampipeServer) -> SteampipeServer:
    """Three ready connections, of three accounts."""
    await server.forget()
    for name, account_uid in (("alpha", "111"), ("beta", "222"), ("acct_333", "333")):
        await standin.write_connection(server.admin_url, name, [account(account_uid)])
    return server


def account(account_uid: str) -> TableRows:
    """The table that tells whose connection it is."""
    aka = json.dumps([f"arn:aws:::{account_uid}"])
    row = ("acme", aka, None, "global", "aws", account_uid, "c", "{}", "{}")
    return TableRows("aws_account", (*COMMON, *STEAMPIPE), [row], None)


async def test_the_connection_is_the_one_whose_account_it_is(connections: SteampipeServer) -> None:
    for way in (connections.url, connections.tcp_url):
        assert await find_connection(way, Provider.AWS, "222") == "beta"
        assert await find_connection(way, Provider.AWS, "333") == "acct_333"
        assert await find_connection(way, Provider.AWS, "222") == "beta"  # from memory, checked


async def test_a_connection_that_changed_its_account_is_not_believed(
    connections: SteampipeServer,
) -> None:
    assert await find_connection(connections.url, Provider.AWS, "111") == "alpha"
    await standin.write_connection(connections.admin_url, "alpha", [account("222")])
    await standin.write_connection(connections.admin_url, "beta", [account("111")])
    assert await find_connection(connections.url, Provider.AWS, "111") == "beta"


async def test_an_account_without_a_connection_is_a_matter_of_configuration(
    connections: SteampipeServer,
) -> None:
    await faults.set_connection(
        connections.admin_url, "alpha", "error", error="plugin aws is not installed"
    )
    with pytest.raises(ScopeInvalid, match="account 111") as caught:
        await find_connection(connections.url, Provider.AWS, "111")
    assert "alpha is error (plugin aws is not installed)" in caught.value.message
    assert "aws.spc" in (caught.value.fix or "")


async def test_a_connection_whose_credentials_fail_does_not_hide_the_others(
    connections: SteampipeServer,
) -> None:
    await faults.fail_table(connections.admin_url, "acct_333", "aws_account", "ExpiredToken")
    await faults.slow_table(connections.admin_url, "alpha", "aws_account", 0.1)
    assert await find_connection(connections.url, Provider.AWS, "222") == "beta"
    with pytest.raises(ScopeInvalid):
        await find_connection(connections.url, Provider.AWS, "333")


async def test_aggregators_and_other_plugins_are_not_asked(connections: SteampipeServer) -> None:
    await faults.set_connection(connections.admin_url, "beta", "ready", kind="aggregator")
    with pytest.raises(ScopeInvalid):
        await find_connection(connections.url, Provider.AWS, "222")
    await faults.set_connection(connections.admin_url, "beta", "ready", plugin=AZURE)
    with pytest.raises(ScopeInvalid):
        await find_connection(connections.url, Provider.AWS, "222")


async def test_a_loading_connection_is_waited_for(connections: SteampipeServer) -> None:
    await faults.set_connection(connections.admin_url, "beta", "pending")
    finding = asyncio.create_task(find_connection(connections.url, Provider.AWS, "222"))
    await asyncio.wait([finding], timeout=0.5)
    assert not finding.done()
    await faults.set_connection(connections.admin_url, "beta", "updating")
    await faults.set_connection(connections.admin_url, "beta", "ready")
    assert await finding == "beta"


async def test_a_connection_that_never_gets_ready_is_worth_a_retry_later(
    connections: SteampipeServer,
) -> None:
    await faults.set_connection(connections.admin_url, "beta", "pending")
    with pytest.raises(TargetUnreachable, match="still loading beta"):
        await find_connection(connections.url, Provider.AWS, "222", ready_seconds=0)
    # The others are not held up by it.
    assert await find_connection(connections.url, Provider.AWS, "111", ready_seconds=0) == "alpha"


async def test_a_connection_can_be_named(connections: SteampipeServer) -> None:
    assert await find_connection(connections.url, Provider.AWS, None, name="beta") == "beta"
    await faults.set_connection(connections.admin_url, "beta", "disabled")
    with pytest.raises(ScopeInvalid, match=r"named beta\. beta is disabled"):
        await find_connection(connections.url, Provider.AWS, None, name="beta")
    with pytest.raises(ScopeInvalid, match="named gamma"):
        await find_connection(connections.url, Provider.AWS, None, name="gamma")


async def test_an_account_without_an_id_must_be_checked_first(connections: SteampipeServer) -> None:
    with pytest.raises(ScopeInvalid, match="not known yet") as caught:
        await find_connection(connections.url, Provider.AWS, None)
    assert "credentials" in (caught.value.fix or "")


@pytest.mark.parametrize("provider", CLOUDS)
def test_the_catalogue_names_each_table_once_and_never_a_secret(provider: Provider) -> None:
    groups = CATALOGUE[provider]
    assert 4 <= len(groups) <= 8
    specs = [spec for group in groups.values() for spec in group]
    assert len({spec.type for spec in specs}) == len(specs)
    for spec in specs:
        assert spec.table.startswith(f"{provider}_")
        columns = {spec.uid, spec.name, spec.tags, *spec.attributes}
        secret = {"data", "value", "environment_variables", "user_data", "string_data", "policy"}
        assert not columns & secret, spec.table


def test_the_stand_in_has_every_table_that_the_catalogue_reads() -> None:
    from demo.steampipe_standin_rows import columns_of
    from demo.steampipe_standin_tables import SOURCES

    columns = {source.table: set(columns_of(source)) for source in SOURCES}
    for specs in CATALOGUE[Provider.AWS].values():
        for spec in specs:
            assert spec.table in columns
            assert {spec.uid, spec.name} <= columns[spec.table], spec.table
