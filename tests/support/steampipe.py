"""The Steampipe stand-in on a PostgreSQL of its own, with two ways in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from demo import steampipe_standin as standin
from runtime.embedded.postgres import SOCKET_FILE, running_postgres, socket_dir
from tests.support.relay import Relay, relay_to


class SteampipeServer(NamedTuple):
    """Where it is: for its makers, over the unix socket, and over TCP through a relay."""

    admin_url: str
    url: str
    tcp_url: str
    relay: Relay

    async def forget(self) -> None:
        """Have no connections any more."""
        session = await standin.connect(self.admin_url)
        await session.execute(
            "delete from steampipe_internal.steampipe_connection; "
            "delete from steampipe_internal.steampipe_settings"
        )
        await session.close()


@asynccontextmanager
async def running_steampipe(data_dir: Path) -> AsyncIterator[SteampipeServer]:
    """An empty stand-in that ends afterwards."""
    async with running_postgres(data_dir) as admin_url:
        url = await standin.prepare(admin_url)
        async with relay_to(f"{socket_dir(data_dir)}/{SOCKET_FILE}") as relay:
            tcp_url = f"postgresql://steampipe@127.0.0.1:{relay.port}/steampipe"
            yield SteampipeServer(admin_url, url, tcp_url, relay)
