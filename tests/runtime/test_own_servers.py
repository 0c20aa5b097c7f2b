"""Our own servers are found wherever a setting names them."""

from __future__ import annotations

from ipaddress import ip_address

import psutil

from runtime.own_servers import OwnServer, own_servers
from runtime.settings import Settings

HERE = "127.0.0.1"


def found(temporal: str = "127.0.0.1:7233", **settings: object) -> set[OwnServer]:
    """The servers that these settings name."""
    return set(own_servers(Settings.model_validate(settings), temporal))


def test_the_embedded_stack_is_on_loopback() -> None:
    assert found(database_url="postgresql:///cloudsweep?host=/run/postgresql") == {
        OwnServer("API", HERE, 8080),
        OwnServer("Temporal", HERE, 7233),
        OwnServer("Temporal Web UI", HERE, 8233),
    }


def test_servers_elsewhere_are_named_by_their_urls() -> None:
    servers = found(
        "temporal.corp.net:7234",
        api_url="https://scans.corp.net",
        temporal_ui_url="http://ui.corp.net",
        steampipe_url="postgresql://steampipe:p%40ss@steampipe:9193/steampipe",
        database_url="postgresql://u:p@DB1.corp.net,[2001:db8::5]:6432/x?host=db3:7000,/run",
    )
    assert servers >= {
        OwnServer("Temporal", "temporal.corp.net", 7234),
        OwnServer("API", "scans.corp.net", 443),
        OwnServer("Temporal Web UI", "ui.corp.net", 80),
        OwnServer("Steampipe", "steampipe", 9193),
        OwnServer("PostgreSQL", "db1.corp.net", 5432),
        OwnServer("PostgreSQL", "2001:db8::5", 6432),
        OwnServer("PostgreSQL", "db3", 7000),
    }
    assert not any("/" in server.host or "@" in server.host for server in servers)


def test_what_is_no_url_names_no_server() -> None:
    assert found(temporal_ui_url="http://[x", api_url="scans") == found()


def test_addresses_of_temporal_may_lack_a_port_or_stand_in_brackets() -> None:
    assert OwnServer("Temporal", "::1", 7300) in found("[::1]:7300")
    assert OwnServer("Temporal", "2001:db8::1", 7233) in found("2001:db8::1")
    assert OwnServer("Temporal", "temporal", 7233) in found("Temporal.")


def test_a_server_that_listens_everywhere_has_every_address_of_this_machine() -> None:
    ours = {
        each.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family.name in ("AF_INET", "AF_INET6")
    }
    for host in ("0.0.0.0", "::", ""):  # noqa: S104 (read, not bound)
        hosts = {server.host for server in found(api_host=host) if server.port == 8080}
        assert hosts == ours, host
        assert all(map(ip_address, hosts))
