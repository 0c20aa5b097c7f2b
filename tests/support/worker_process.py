"""A worker of the product as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

WORKER = Path(__file__).parents[2] / "worker.py"


@asynccontextmanager
async def worker_process(
    client: Client, database_url: str, *queues: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python worker.py <queues>` in the client's namespace; killed if the test did not do it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKER), *queues),
        env={
            **os.environ,
            "CLOUDSWEEP_DATABASE_URL": database_url,
            "TEMPORAL_ADDRESS": client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": client.namespace,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
