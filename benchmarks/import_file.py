"""The memory and time of importing a large file of findings.

`python -m benchmarks.import_file --megabytes 100` starts a PostgreSQL and the API as processes of
their own, sends a file that is made on the fly, and merges it as a worker does. It prints the peak
memory of the API, and that of the API and PostgreSQL together (PSS). There is no Temporal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import psutil

from benchmarks.process_tree import Sampling, Usage, most_memory
from contracts.accounts import EnvironmentCredentials, NewAccount
from contracts.keys import NewKey
from contracts.scans import FindingCounts
from contracts.vocabulary import Provider, Role
from runtime.embedded.postgres import database_url, running_postgres
from storage import accounts, keys
from storage.bootstrap import migrate
from storage.database import Database
from storage.merge import merge_shard
from storage.scans import imports, scan_state
from tests.support.ports import free_ports

ACCOUNT = "123456789012"
CHECKS, REGIONS = 600, 17
TEXT = "What may happen, why it matters, and how it is put right, told at length. " * 12
FRAMEWORKS = {f"Framework-{n}.0": [f"{n}.{k}.{k + 1}" for k in range(5)] for n in range(42)}
"""Half of what Prowler writes of a finding: many small fields, which take the time to parse."""


class Read(NamedTuple):
    """What reading a file took."""

    scan: dict[str, Any]
    size: int
    seconds: float
    memory_before: int
    memory_peak: int


class Measured(NamedTuple):
    """Reading and merging a file, and all memory that both took."""

    read: Read
    merge_seconds: float
    counts: FindingCounts
    usage: Usage


def record(number: int) -> bytes:
    """One finding as long as Prowler's are: about 8 kB, most of it the text of its check."""
    check, service = number % CHECKS, number % CHECKS // 10
    region = f"region-{number % REGIONS}"
    uid = f"arn:aws:service{service}:{region}:{ACCOUNT}:thing/{number}"
    return json.dumps(
        {
            "class_uid": 2004,
            "metadata": {"event_code": f"service{service}_check{check}"},
            "finding_info": {"title": f"Check {check} holds", "desc": TEXT},
            "severity": "High",
            "status_code": "FAIL" if number % 3 else "PASS",
            "status_detail": f"Thing {number} was looked at.",
            "risk_details": TEXT,
            "remediation": {"desc": TEXT, "references": []},
            "resources": [{"uid": uid, "name": f"thing-{number}", "type": "Thing",
                           "region": region}],
            "cloud": {"provider": "aws", "region": region, "account": {"uid": ACCOUNT}},
            "unmapped": {"provider": "aws", "compliance": FRAMEWORKS},
        },
        indent=4,
    ).encode()  # fmt: skip


async def array(size: int) -> AsyncIterator[bytes]:
    """A JSON array of findings, so many bytes or a little more; made as it is sent."""
    sent, number = 0, 0
    while sent < size:
        chunk = (b"," if number else b"[") + b",".join(record(number + n) for n in range(50))
        number += 50
        sent += len(chunk)
        yield chunk
        await asyncio.sleep(0)
    yield b"]"


async def read_file(url: str, key: str, account_id: UUID, pid: int, size: int) -> Read:
    """Import a file of this size, watching the memory of the process that reads it."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"{url}/api/v1/", headers=headers, timeout=600) as caller:
        await caller.post("imports", params={"account_id": str(account_id)}, content=b"[]")
        before = psutil.Process(pid).memory_info().rss
        started = time.perf_counter()
        answer = await caller.post(
            "imports", params={"account_id": str(account_id)}, content=array(size)
        )
        seconds = time.perf_counter() - started
        peak = most_memory(pid)
        problem = answer.json()
        scan = (await caller.get(f"scans/{problem.get('scan_id') or problem['id']}")).json()
    return Read(scan, size, seconds, before, peak)


async def _measured(megabytes: int) -> Measured:
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory)
        async with running_postgres(data_dir):
            url = database_url(data_dir)
            await migrate(url)
            port = free_ports(1)[0]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "api"),
                env={**os.environ, "CLOUDSWEEP_DATABASE_URL": url,
                     "CLOUDSWEEP_API_PORT": str(port), "TEMPORAL_ADDRESS": "127.0.0.1:1"},
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                key, account_id = await _arranged(url)
                await _until_it_answers(port)
                with Sampling([child.pid for child in psutil.Process().children()]) as sampling:
                    read = await read_file(
                        f"http://127.0.0.1:{port}", key, account_id, process.pid,
                        megabytes * 1_000_000,
                    )  # fmt: skip
                    seconds, counts = await _merge(url, UUID(read.scan["id"]))
                return Measured(read, seconds, counts, sampling.usage)
            finally:
                process.terminate()
                await process.wait()


async def _merge(url: str, scan_id: UUID) -> tuple[float, FindingCounts]:
    database = Database.open(url, pool_size=2)
    now, started = datetime.now(UTC), time.perf_counter()
    async with database.transaction() as session:
        await scan_state.claim_account(session, scan_id, at=now)
    async with database.transaction() as session:
        counts = await merge_shard(session, scan_id, imports.KEY, at=now)
    seconds = time.perf_counter() - started
    await database.close()
    return seconds, counts


async def _arranged(url: str) -> tuple[str, UUID]:
    database = Database.open(url, pool_size=2)
    now = datetime.now(UTC)
    new = NewAccount(
        name="measured", provider=Provider.AWS, uid=ACCOUNT, credentials=EnvironmentCredentials()
    )
    async with database.transaction() as session:
        team_id = await keys.create_team(session, f"measured-{uuid4()}")
        made = await keys.create_key(
            session, team_id, NewKey(name="operator", role=Role.OPERATOR), at=now
        )
        account = await accounts.create_account(session, team_id, new, at=now)
    await database.close()
    return made.key, account.id


async def _until_it_answers(port: int) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as caller:
        while True:
            try:
                await caller.get(f"http://127.0.0.1:{port}/healthz")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    measured = asyncio.run(_measured(parser.parse_args().megabytes))
    read, usage = measured.read, measured.usage
    print(f"{read.scan['notes'][0] if read.scan['notes'] else read.scan['error']}")
    print(
        f"read and staged in {read.seconds:.1f} s, {read.size / 1e6 / read.seconds:.1f} MB/s; "
        f"memory of the API before {read.memory_before / 1e6:.0f} MB, "
        f"peak {read.memory_peak / 1e6:.0f} MB"
    )
    print(f"merged in {measured.merge_seconds:.1f} s: {measured.counts.new:,} new")
    parts = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in usage.peak_by_name.items())
    print(f"peak of API and PostgreSQL together {usage.peak / 1e6:.0f} MB (PSS): {parts}")


if __name__ == "__main__":
    main()
