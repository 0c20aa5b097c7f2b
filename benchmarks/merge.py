"""What it costs to bring the findings of a scan into the store, first and again without a change.

    python -m benchmarks.merge

Starts a PostgreSQL of its own. For each number of findings two fresh processes do the same: ours
stages and merges them as workers do (one shard), the other upserts them the plain way (one INSERT
.. ON CONFLICT DO UPDATE a row, in pipelined batches, into one table that has a primary key and no
other index, "last seen" stamped). Making the findings is not counted. Between the two scans
PostgreSQL vacuums, as it does by itself in the hours between scans.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks import api_findings
from benchmarks.api_findings import STAGED_AT_ONCE
from benchmarks.process_tree import most_memory
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.vocabulary import FindingStatus, Provider
from runtime.embedded.postgres import binaries, running_postgres
from storage.checks import upsert_checks
from storage.database import Database
from storage.merge import staging
from storage.merge.identity import finding_identity

Figures = dict[str, Any]
PLAIN = """
CREATE TABLE IF NOT EXISTS upserted_finding (
    id uuid PRIMARY KEY, check_id text NOT NULL, service text NOT NULL, region text NOT NULL,
    resource_uid text NOT NULL, resource_name text NOT NULL, resource_type text NOT NULL,
    severity severity NOT NULL, status finding_status NOT NULL, detail text NOT NULL,
    team_id uuid NOT NULL, account_id uuid NOT NULL, source text NOT NULL, state finding_state,
    first_seen_at timestamptz NOT NULL, last_seen_at timestamptz NOT NULL, scan_id uuid NOT NULL
)
"""
UPSERT = """
INSERT INTO upserted_finding VALUES
    ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)
ON CONFLICT (id) DO UPDATE SET
    severity = excluded.severity, status = excluded.status, state = excluded.state,
    resource_name = excluded.resource_name, resource_type = excluded.resource_type,
    detail = excluded.detail, last_seen_at = excluded.last_seen_at, scan_id = excluded.scan_id
"""


def batches(number: int, rows: int) -> Iterator[list[ObservedFinding]]:
    """The same findings each time, without ever holding all of them."""
    drawn = random.Random(number)  # noqa: S311 (data, not a secret)
    made = api_findings.make_findings(drawn, api_findings.checks(), number, 0, rows)
    while part := list(islice(made, STAGED_AT_ONCE)):
        yield part


async def ours(url: str, number: int, rows: int) -> list[Figures]:
    """Stage and merge, twice."""
    connection = await asyncpg.connect(url)
    database = Database.open(url)
    team_id: UUID = await connection.fetchval("SELECT id FROM team")
    account_id = await api_findings.make_account(database, team_id, number)
    figures = []
    for _ in range(2):
        at = datetime.now(UTC)
        target = await api_findings.begin_scan(database, team_id, account_id, at)
        began_at = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
        staged, covered, seconds = 0, set(), 0.0
        async with database.copying() as c:
            for part in batches(number, rows):
                covered.update(CoveredCheck(each.check_id, each.region) for each in part)
                began = time.perf_counter()
                staged += await staging.stage_findings(c, target, part)
                seconds += time.perf_counter() - began
        began = time.perf_counter()
        await api_findings.report(database, target, staged, covered)
        reported = time.perf_counter()
        counts = await api_findings.merge(database, target, at)
        merged = time.perf_counter()
        figures.append(
            {
                "staging": seconds + reported - began,
                "merging": merged - reported,
                "wal": [
                    began_at,
                    await connection.fetchval("SELECT pg_current_wal_insert_lsn()"),
                ],
                "did": counts.model_dump(),
            }
        )
        await api_findings.end_scan(database, target, at)
        await connection.execute("VACUUM ANALYZE")
    await database.close()
    await connection.close()
    return figures


async def plain(url: str, number: int, rows: int) -> list[Figures]:
    """Upsert each row, twice."""
    connection = await asyncpg.connect(url)
    await connection.execute(PLAIN)
    team_id: UUID = await connection.fetchval("SELECT id FROM team")
    account_id = UUID(int=number)
    identity = finding_identity(team_id, "prowler", Provider.AWS, account_id)
    figures = []
    for scan in range(2):
        at, seconds = datetime.now(UTC), 0.0
        began_at = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
        for part in batches(number, rows):
            began = time.perf_counter()
            async with connection.transaction():
                await connection.executemany(
                    UPSERT,
                    [
                        (
                            *(identity(row.check_id, row.region, row.resource_uid),),
                            *(row.check_id, row.service, row.region),
                            *(row.resource_uid, row.resource_name, row.resource_type),
                            *(row.severity.value, row.status.value, row.detail),
                            *(team_id, account_id, "prowler"),
                            "resolved" if row.status is FindingStatus.PASS else "open",
                            *(at, UUID(int=scan)),
                        )
                        for row in part
                    ],
                )
            seconds += time.perf_counter() - began
        ended_at = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
        figures.append({"merging": seconds, "wal": [began_at, ended_at]})
        await connection.execute("VACUUM ANALYZE upserted_finding")
    await connection.close()
    return figures


async def client(kind: str, url: str, number: int, rows: int) -> list[Figures]:
    """Figures of a fresh process that does one kind of work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.merge", "--client", kind, url, str(number), str(rows)),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"The client of {rows} rows failed.")
    found: list[Figures] = json.loads(output)
    return found


def wal_of(data_dir: Path, files: set[str], positions: list[int]) -> int:
    """Bytes of the WAL records between two positions that touch one of these relation files."""
    begin, end = (f"{position >> 32:X}/{position & 0xFFFFFFFF:X}" for position in positions)
    dump = subprocess.run(
        [
            *(str(binaries() / "pg_waldump"), "--path", str(data_dir / "postgres" / "pg_wal")),
            *("--start", begin, "--end", end),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    size = 0
    for line in dump.stdout.splitlines():
        if any(f"rel {file} " in line for file in files):
            size += int(line.split("len (rec/tot):")[1].split("/")[1].split(",")[0])
    return size


async def main() -> None:
    """Measure each size, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--plain-up-to", type=int, default=1_000_000, help="rows upserted plainly")
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        kind, url, number, rows = arguments.client
        figures = await {"ours": ours, "plain": plain}[kind](url, int(number), int(rows))
        for scan in figures:
            scan["wal_size"] = scan["wal"][1] - scan["wal"][0]
        figures[0]["memory"] = most_memory(os.getpid())
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory(prefix="cloudsweep-merge-") as temporary:
        data_dir = Path(temporary)
        async with running_postgres(data_dir) as url:
            await prepare(url, data_dir)
            print(
                f"{'findings':>10} {'scan':9} {'staging':>18} {'merging':>18} {'both':>18}"
                f" {'plain':>18} {'plain/ours':>10} {'WAL MB':>8} {'plain':>8}"
                f" {'of finding':>11} {'client MB':>9}"
            )
            for number, rows in enumerate(arguments.rows):
                own = await client("ours", url, number, rows)
                other = None
                if rows <= arguments.plain_up_to:
                    other = await client("plain", url, number, rows)
                touched = wal_of(data_dir, await files_of(url), own[1]["wal"])
                show(rows, own, other, touched)


async def prepare(url: str, data_dir: Path) -> None:
    """Tables and checks."""
    await api_findings.migrate(url, data_dir)
    database = Database.open(url)
    async with database.transaction() as session:
        await upsert_checks(session, api_findings.checks())
    await database.close()


async def files_of(url: str) -> set[str]:
    """The relation files of `finding` and its indexes, as WAL records name them."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT format('1663/%s/%s', (SELECT oid FROM pg_database WHERE datname ="
        " current_database()), pg_relation_filenode(relation)) FROM (SELECT 'finding'::regclass AS"
        " relation UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = 'finding'::regclass"
        " UNION ALL SELECT reltoastrelid FROM pg_class WHERE oid = 'finding'::regclass) AS mine"
    )
    await connection.close()
    return {row[0] for row in rows}


def show(rows: int, own: list[Figures], other: list[Figures] | None, touched: int) -> None:
    """Two lines of the table."""
    for again, figures in enumerate(own):
        staging_s, merging_s = figures["staging"], figures["merging"]
        line = f"{rows:10,} {'identical' if again else 'first':9}"
        for seconds in (staging_s, merging_s, staging_s + merging_s):
            line += f" {seconds:6.2f} s {rows / seconds:7,.0f}/s"
        if other is None:
            line += f" {'':18} {'':10} {figures['wal_size'] / 1e6:8.1f} {'':8}"
        else:
            theirs = other[again]["merging"]
            line += (
                f" {theirs:6.2f} s {rows / theirs:7,.0f}/s {theirs / (staging_s + merging_s):9.1f}x"
            )
            line += f" {figures['wal_size'] / 1e6:8.1f} {other[again]['wal_size'] / 1e6:8.1f}"
        line += f" {f'{touched} bytes' if again else '':>11}"
        line += f" {own[0]['memory'] / 1e6:9.0f}"
        print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
