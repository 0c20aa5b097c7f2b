"""Waiting for something to become true, without saying how long it should take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LIMIT_SECONDS = 120.0
"""So that a broken test ends; no test may depend on it."""


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Return once the condition holds; TimeoutError when it does not for two minutes."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)
