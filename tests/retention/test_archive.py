"""What is deleted is in the archive before; what cannot be archived is not deleted."""

from __future__ import annotations

import asyncio
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.errors import ArchiveUnavailable
from tests.retention.conftest import Keeper
from tests.retention.hanging import PLACES
from tests.retention.test_scans_and_runs import thing
from tests.storage.lab import observed, places
from tests.storage.vulnerability_lab import sync
from tests.support.waiting import until

BUCKETS = places([observed()])
TABLES = (
    *("finding", "finding_event", "vulnerability", "vulnerability_event"),
    *("vulnerability_occurrence", "scan", "scan_task", "resource"),
)


async def fill(keeper: Keeper) -> None:
    """Something old of most kinds."""
    await keeper.lab.discover([thing("one")], ["bucket"])
    await keeper.lab.scan([observed(f"r{n}", detail='Ümlaut\n"quoted" 漢') for n in range(5)])
    await sync(keeper.lab)
    await keeper.lab.scan([observed("r0")])
    await sync(keeper.lab)
    await keeper.lab.discover([], ["bucket"])
    await keeper.lab.scan([], BUCKETS)
    await sync(keeper.lab)
    keeper.pass_days(500)


def by_key(rows: list[dict[str, object]]) -> list[str]:
    """Rows in one order."""
    return sorted(repr(sorted(row.items(), key=lambda pair: pair[0])) for row in rows)


async def test_the_archive_holds_exactly_what_was_deleted(archiving: Keeper) -> None:
    await fill(archiving)
    before = {table: await archiving.rows(table) for table in TABLES}
    did = await archiving.cycle(limit=2)
    assert did == {"events": 1, "resolved_findings": 5, "scans": 3, "gone_resources": 1}
    archived = archiving.archived()
    for table in TABLES:
        left = await archiving.rows(table)
        gone = [row for row in before[table] if row not in left]
        assert by_key(archived.get(table, [])) == by_key(gone), table
    assert len(archived["vulnerability"]) == 5
    for path in archiving.files():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        team, kind, name = path.relative_to(archiving.archive or Path()).parts
        assert team == str(archiving.lab.team_id)
        assert kind in did
        assert name.endswith(".ndjson.gz")
    files = archiving.files()
    assert await archiving.cycle() == {}
    assert archiving.files() == files


async def alone(keeper: Keeper) -> bool:
    """Whether PostgreSQL has noticed that nobody else is there any more."""
    ((others,),) = await keeper.lab.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    return bool(others == 0)


@pytest.mark.parametrize("place", PLACES)
async def test_a_kill_at_any_place_loses_nothing(
    archiving: Keeper, database_url: str, place: str
) -> None:
    await fill(archiving)
    await archiving.keep(scans=None, events=None, gone_resources=None)
    findings = await archiving.rows("finding")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.retention.hanging", place, database_url),
        *(str(archiving.lab.team_id), archiving.now.isoformat(), str(archiving.archive)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"reached\n"
    finally:
        process.kill()
        await process.wait()
    assert await archiving.rows("finding") == findings
    was_archived = place in ("archived", "deleted, not committed")
    killed = [path for path in archiving.files() if not path.name.startswith(".")]
    assert len(killed) == int(was_archived)
    await until(lambda: alone(archiving))

    assert await archiving.cycle() == {"resolved_findings": 5}

    assert await archiving.count("finding") == 0
    assert by_key(archiving.archived()["finding"]) == by_key(findings)
    assert len(archiving.files()) == 1  # the same name, also that of the unfinished file
    assert set(killed) <= set(archiving.files())


async def test_counts_of_a_cycle_survive_the_attempt_that_made_them(keeper: Keeper) -> None:
    await fill(keeper)
    cycle = uuid4()
    await keeper.keep(scans=None)
    first = await keeper.cycle(cycle=cycle)
    assert first == {"events": 1, "resolved_findings": 5, "gone_resources": 1}
    assert await keeper.cycle(cycle=cycle) == first


@pytest.mark.parametrize("directory", ["missing", "a file", "not to be written"])
async def test_without_its_directory_nothing_is_deleted(
    archiving: Keeper, tmp_path: Path, directory: str
) -> None:
    await fill(archiving)
    archiving.archive = {
        "missing": tmp_path / "missing", "a file": tmp_path / "file",
        "not to be written": Path("/proc"),
    }[directory]  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveUnavailable, match=r"archive /.* (not|cannot)") as refused:
        await archiving.cycle()
    assert "CLOUDSWEEP_ARCHIVE_DIRECTORY" in (refused.value.fix or "")
    assert await archiving.count("finding") == 5
    assert await archiving.count("resource") == 1
    assert await archiving.count("retention_tally") == 0


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow: what a full disk does to whoever writes, with another number."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_on_a_full_disk_nothing_is_deleted_and_no_half_file_is_left(
    archiving: Keeper,
) -> None:
    await fill(archiving)
    with full_disk(), pytest.raises(ArchiveUnavailable, match="cannot be written: File too large"):
        await archiving.cycle()
    assert archiving.files() == []
    assert await archiving.count("finding") == 5
    assert await archiving.count("retention_tally") == 0
    assert (await archiving.cycle())["resolved_findings"] == 5
