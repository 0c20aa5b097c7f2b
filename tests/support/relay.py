"""A TCP relay in front of a server that can freeze, or cut, every connection through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Forwards bytes both ways; `freeze` keeps answers back, `cut` resets the connections."""

    def __init__(self, server: str | int) -> None:
        """`server` is a Unix socket, or a port of 127.0.0.1."""
        self._server = server
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def freeze(self) -> None:
        """Hold every answer of the server back from now on, on the open connections too."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Let answers through again."""
        self._thawed.set()

    def cut(self) -> None:
        """Close every open connection, as the death of the server does."""
        for task in self._tasks:
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one client until either side closes."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        inner_reader, inner_writer = await (
            asyncio.open_connection("127.0.0.1", self._server)
            if isinstance(self._server, int)
            else asyncio.open_unix_connection(self._server)
        )
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, inner_writer, None))
                both.create_task(_copy(inner_reader, writer, self._thawed))
        except* (OSError, asyncio.CancelledError):
            pass  # a connection that ended is what this is for
        finally:
            self._tasks.discard(task)
            inner_writer.close()
            writer.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_pass: asyncio.Event | None
) -> None:
    while data := await reader.read(65536):
        if may_pass is not None:
            await may_pass.wait()
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError  # one side is gone: end the other


@asynccontextmanager
async def relay_to(server: str | int) -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1 that ends, with its connections, afterwards."""
    relay = Relay(server)
    listening = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = listening.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        listening.close()
        relay.cut()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*relay._tasks, return_exceptions=True)
