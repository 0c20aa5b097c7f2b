"""Ports of this machine: whether one is free, and whether something answers there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from runtime.embedded.processes import StackFailed

ATTEMPT_SECONDS = 2.0


def url(host: str, port: int) -> str:
    """The address that this machine reaches a server at which listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (read, not bound)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def require_free_port(host: str, port: int, setting: str) -> None:
    """Raise with the setting to change when we cannot listen there, say because another does."""
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, target = address[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except OSError as error:
        raise StackFailed(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            fix=f"Set {setting} to a free port, or stop what uses this one.",
        ) from error


async def listens(host: str, port: int) -> bool:
    """True when something accepts a connection there."""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    await _close(writer)
    return True


def http_ready(address: str) -> Callable[[], Awaitable[bool]]:
    """For `ChildSpec.ready`: True once a GET of this http URL answers 200."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 80
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode()

    async def ready() -> bool:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    status = await reader.readline()
                finally:
                    await _close(writer)
        except (OSError, TimeoutError, ValueError):
            return False
        return status.split(b" ")[1:2] == [b"200"]

    return ready


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
