"""Where our own servers listen, so that no scan is pointed at them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import psutil
from pydantic import SecretStr

from runtime.settings import Settings

POSTGRESQL_PORT: Final = 5432
STEAMPIPE_PORT: Final = 9193


class OwnServer(NamedTuple):
    """One of our servers; `host` is a name or an address."""

    what: str
    host: str
    port: int


def own_servers(settings: Settings, temporal_address: str) -> list[OwnServer]:
    """Every server that the settings name; one that listens everywhere has all our addresses."""
    servers = [
        OwnServer("API", settings.api_host, settings.api_port),
        OwnServer("Temporal Web UI", "127.0.0.1", settings.temporal_ui_port),
        *_of_address("Temporal", temporal_address),
        *_of_url("Temporal Web UI", settings.temporal_ui_url, 80),
        *_of_url("API", settings.api_url, settings.api_port),
        *_of_url("PostgreSQL", settings.database_url, POSTGRESQL_PORT),
        *_of_url("Steampipe", settings.steampipe_url, STEAMPIPE_PORT),
    ]
    return list(dict.fromkeys(each for server in servers for each in _everywhere(server)))


def _of_url(what: str, url: SecretStr | str | None, default_port: int) -> Iterator[OwnServer]:
    """The servers of a URL, which may name several, and in its query, too."""
    if not url:
        return
    try:
        parts = urlsplit(url.get_secret_value() if isinstance(url, SecretStr) else url)
    except ValueError:  # nothing can be reached at what is no URL
        return
    default_port = {"https": 443}.get(parts.scheme, default_port)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    hosts += [
        host
        for name, value in parse_qsl(parts.query)
        if name == "host"
        for host in value.split(",")
        if not host.startswith("/")  # the directory of a socket
    ]
    for host in filter(None, hosts):
        yield from _of_address(what, host, default_port)


def _of_address(what: str, address: str, default_port: int = 7233) -> Iterator[OwnServer]:
    host, port = address, default_port
    name, colon, number = address.rpartition(":")
    if colon and number.isdecimal() and ("]" in name or ":" not in name):
        host, port = name, int(number)
    host = host.strip("[]").removesuffix(".").lower()
    if host:
        yield OwnServer(what, host, port)


def _everywhere(server: OwnServer) -> Iterator[OwnServer]:
    try:
        is_everywhere = not server.host or ip_address(server.host).is_unspecified
    except ValueError:
        is_everywhere = False
    if not is_everywhere:
        yield server
        return
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            host = each.address.partition("%")[0]
            if ":" in host or "." in host:
                try:
                    ip_address(host)
                except ValueError:  # the address of a card
                    continue
                yield server._replace(host=host)
