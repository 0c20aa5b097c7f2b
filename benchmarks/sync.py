"""What it costs to bring vulnerabilities to what a million findings in 20 accounts say.

    python -m benchmarks.sync

Starts a PostgreSQL of its own and fills it as `benchmarks/api.py` does. Then a fresh process each
syncs every account, one after the other, as workers do: first; again without a change, by the
cursor and in full; after 1 % of the findings changed. PostgreSQL vacuums in between, as it does by
itself between scans. Memory is the peak of the client and of any one process of PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import psutil

from benchmarks import api_findings
from benchmarks.process_tree import most_memory
from contracts.vulnerabilities import AccountSync, SyncCounts, SyncPlanning
from runtime.embedded.postgres import running_postgres
from storage.database import Database
from storage.vulnerabilities.vulnerability_sync import accounts_to_sync, ask_for_sync, sync_account

WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
WHERE relname IN ('vulnerability', 'vulnerability_occurrence', 'vulnerability_event', 'finding',
                  'finding_event')
"""
CHANGE = """
UPDATE finding
SET status = CASE WHEN status = 'fail' THEN 'pass' ELSE 'fail' END::finding_status,
    state = CASE WHEN status = 'fail' THEN 'resolved' ELSE 'open' END::finding_state
WHERE status IN ('fail', 'pass') AND get_byte(uuid_send(id), 0) * 256 + get_byte(uuid_send(id), 1)
      < 655
"""
"""One in a hundred, by the digest that is its id; as a scan would."""


async def sync(url: str, full: bool) -> dict[str, Any]:
    """Sync every account that is due; what that did and took."""
    connection = await asyncpg.connect(url)
    team_id: UUID = await connection.fetchval("SELECT id FROM team")
    written = await connection.fetchval(WRITTEN)
    wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    database = Database.open(url, pool_size=1)
    done, longest = SyncCounts(), 0.0
    began = time.perf_counter()
    planning = SyncPlanning(team_id=team_id, full=full, after=None, limit=1000)
    async with database.transaction() as session:
        accounts = await accounts_to_sync(session, planning)
    for account_id in accounts:
        before = time.perf_counter()
        request = AccountSync(team_id=team_id, account_id=account_id, full=full)
        async with database.transaction() as session:
            done = done.plus(await sync_account(session, request, at=datetime.now(UTC)))
        longest = max(longest, time.perf_counter() - before)
    seconds = time.perf_counter() - began
    await database.close()  # its process tells its statistics when it ends
    await asyncio.sleep(0.5)
    figures = {
        "seconds": seconds,
        "longest": longest,
        "accounts": len(accounts),
        "did": done.model_dump(),
        "wal": await connection.fetchval("SELECT pg_current_wal_insert_lsn()") - wal,
        "written": await connection.fetchval(WRITTEN) - written,
        "memory": most_memory(os.getpid()),
    }
    await connection.close()
    return figures


class PostgresMemory:
    """The most private memory that any one process of this PostgreSQL had."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = str(data_dir)
        self._stop = threading.Event()
        self.peak = 0

    def __enter__(self) -> PostgresMemory:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        mothers = [
            process
            for process in psutil.process_iter(["cmdline"])
            if "postgres" in str(process.info["cmdline"])
            and self._data_dir in str(process.info["cmdline"])
        ]
        while not self._stop.wait(0.2):
            for mother in mothers:
                with suppress(psutil.Error):
                    for child in mother.children():
                        with suppress(psutil.Error):
                            memory = child.memory_info()
                            self.peak = max(self.peak, memory.rss - memory.shared)


async def client(url: str, data_dir: Path, *, full: bool) -> dict[str, Any]:
    """Figures of a fresh process that syncs."""
    with PostgresMemory(data_dir) as postgres:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.sync", "--client", url, "full" if full else ""),
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("The client failed.")
    return {**json.loads(output), "postgres": postgres.peak}


def show(name: str, findings: int, figures: dict[str, Any]) -> None:
    """One line of the table."""
    did = figures["did"]
    print(
        f"{name:20} {figures['accounts']:8} {figures['seconds']:7.2f} s {figures['longest']:7.2f} s"
        f" {60 * findings / figures['seconds']:14,.0f} {figures['written']:10,}"
        f" {figures['wal'] / 1e6:8.1f} {figures['memory'] / 1e6:9.0f}"
        f" {figures['postgres'] / 1e6:11.0f}  "
        + ", ".join(f"{n:,} {word}" for word, n in did.items() if n),
        flush=True,
    )


async def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="a data directory to fill once and use again")
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        print(json.dumps(await sync(arguments.client[0], bool(arguments.client[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="cloudsweep-sync-") as temporary:
        data_dir = arguments.keep or Path(temporary)
        async with running_postgres(data_dir) as url:
            await api_findings.fill(url, data_dir, arguments.rows)
            connection = await asyncpg.connect(url)
            await connection.execute(
                "TRUNCATE notice, vulnerability, vulnerability_occurrence, vulnerability_event,"
                " vulnerability_cursor"
            )
            findings = await connection.fetchval("SELECT count(*) FROM finding")
            print(f"{findings:,} findings")
            print(
                f"{'sync':20} {'accounts':>8} {'took':>9} {'longest':>9} {'findings/min':>14}"
                f" {'written':>10} {'WAL MB':>8} {'client MB':>9} {'postgres MB':>11}"
            )
            show("first", findings, await client(url, data_dir, full=False))
            await connection.execute("VACUUM ANALYZE")
            show("again", findings, await client(url, data_dir, full=False))
            show("again, in full", findings, await client(url, data_dir, full=True))
            changed = (await connection.execute(CHANGE)).split()[1]
            database = Database.open(url)
            async with database.transaction() as session:
                await ask_for_sync(session, await connection.fetchval("SELECT id FROM team"))
            await database.close()
            await connection.execute("VACUUM ANALYZE")
            print(f"{int(changed):,} findings changed")
            show("after the change", findings, await client(url, data_dir, full=False))
            await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
