"""Ports for servers that tests start."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack, suppress
from itertools import cycle, islice

RANGE = range(15_000, 30_000)
"""Below the ports that systems give to clients: none is taken between the look and the start."""

# Each process of one run takes from a share of its own, and takes no port twice in a row: a port
# that was given is not given again before its server listens.
_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_SHARE = RANGE[_NUMBER % 16 :: 16]
_in_turn = cycle(random.sample(_SHARE, k=len(_SHARE)))


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback address that nothing listens on now."""
    found: list[int] = []
    with ExitStack() as held:
        for port in islice(_in_turn, len(_SHARE)):
            if len(found) == count:
                return found
            with suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
    raise RuntimeError(f"No {count} free ports between {RANGE[0]} and {RANGE[-1]}")
