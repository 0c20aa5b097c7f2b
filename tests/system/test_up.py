"""`cloudsweep up` itself, killed with kill -9 in the middle of a scan."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from runtime.embedded import record
from runtime.embedded.record import StackRecord
from tests.support.cloud import RunningCloud
from tests.support.ports import free_ports
from tests.support.system import Client, Row


async def test_a_killed_supervisor_comes_back_and_the_scan_completes(
    tmp_path: Path, acme: RunningCloud, credentials: Row
) -> None:
    api, temporal, ui = free_ports(3)
    environment = {
        **os.environ,
        "CLOUDSWEEP_DATA_DIR": str(tmp_path / "data"),
        "CLOUDSWEEP_API_PORT": str(api),
        "CLOUDSWEEP_TEMPORAL_PORT": str(temporal),
        "CLOUDSWEEP_TEMPORAL_UI_PORT": str(ui),
    }
    key_file = tmp_path / "data" / "admin.key"
    async with _up(environment) as (process, stack):
        key = key_file.read_text().strip()
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        client = Client(stack.api_url, key)
        account = await client.add_account(
            "killed", acme.url, credentials, regions=["us-east-1", "eu-west-1"]
        )
        scan_id = await client.start(account, services=["iam", "ec2"])
        await client.until(scan_id, "running")
        process.kill()
        async with asyncio.timeout(60):  # workers drain
            while _alive(stack):  # noqa: ASYNC110 (other processes set no event)
                await asyncio.sleep(0.1)

    async with _up(environment) as (process, _):
        scan = await client.until(scan_id)
        assert scan["status"] == "completed", scan
        assert scan["counts"]["findings"]["new"] == len(
            await client.all("findings", account_id=account)
        )
        assert key_file.read_text().strip() == key
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    await client.close()


@asynccontextmanager
async def _up(
    environment: dict[str, str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, StackRecord]]:
    """`cloudsweep up`, ready; killed on exit if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "up"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process, await _ready(process, Path(environment["CLOUDSWEEP_DATA_DIR"]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process, data_dir: Path) -> StackRecord:
    assert process.stdout is not None
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + 90):
        while b"Ctrl-C" not in (line := await process.stdout.readline()):
            assert line, "cloudsweep up ended"
    found = record.read(data_dir)
    assert found is not None
    return found


def _alive(stack: StackRecord) -> list[int]:
    """Children that run still; a zombie only waits for whoever inherited it."""
    alive = []
    for pid in stack.children.values():
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                alive.append(pid)
    return alive
