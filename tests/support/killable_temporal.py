"""A Temporal that a test kills, empties and starts again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from runtime.embedded.temporal import temporal_child
from tests.support.ports import free_ports


class KillableTemporal:
    """The embedded server, to kill and start again as often as a test likes."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port, self.ui_port = free_ports(2)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it on its data, and wait until it serves."""
        spec = temporal_child(self.data_dir, port=self.port, ui_port=self.ui_port)
        assert spec.ready
        self._process = await asyncio.create_subprocess_exec(
            *spec.command,
            env=spec.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            while not await spec.ready():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.2)

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def lose_everything(self) -> None:
        """Killed, its database deleted, and started anew."""
        await self.kill()
        for path in self.data_dir.glob("temporal.db*"):
            os.remove(path)
        await self.start()
