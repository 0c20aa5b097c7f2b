"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

RANGE = range(15_000, 30_000)
"""Below the ports that systems give to clients: none is taken between the look and the start."""


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback address that nothing listens on now."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(RANGE, k=min(len(RANGE), 100 + count)):
            if len(found) == count:
                break
            with suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
    if len(found) < count:
        raise RuntimeError(f"No {count} free ports between {RANGE[0]} and {RANGE[-1]}")
    return found
