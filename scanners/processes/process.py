"""Starting a scanner so that it can always be stopped, with everything that it started."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from contracts.errors import ReportMalformed, ScannerMissing
from scanners.processes import orphans

LINE_LIMIT: Final = 4 * 1024 * 1024
GRACE_SECONDS: Final = 3.0
DRAIN_SECONDS: Final = 1.0
_PREFIX: Final = "cloudsweep-scanner-"

# Runs in place of the scanner for a moment. The kernel shall end the scanner when we die, and the
# parent asked for must still be there once the kernel knows (Linux; elsewhere it only starts it).
_GUARD: Final = """
import os, sys
if sys.platform.startswith("linux"):
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory for one scanner: only ours, removed at the end, also after a kill -9.

    What a killed worker left behind is removed by the next one that starts a scanner.
    """
    _remove_abandoned()
    directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _remove_abandoned() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(directory, os.O_RDONLY)
        except OSError:
            continue  # somebody else's, or gone already
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between making a directory and locking it lies a moment; an old one is past it.
            if _age(directory) > 60:
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            pass  # in use
        finally:
            os.close(lock)


def _age(directory: Path) -> float:

    return time.time() - directory.stat().st_mtime


class ScannerProcess:
    """A running scanner. Made by `running()`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        directory: Path,
    ) -> None:
        self._process = process
        self._output = output
        self._directory = directory

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """Lines of standard output until the scanner ends.

        Whoever outlives the scanner and still holds its output cannot keep us waiting.
        Raises ReportMalformed for a line over LINE_LIMIT.
        """
        watching = asyncio.create_task(self._close_after_exit())
        try:
            while True:
                try:
                    line = await self._output.readline()
                except ValueError as error:
                    raise ReportMalformed(
                        f"A line of the scanner's output is longer than {LINE_LIMIT} bytes."
                    ) from error
                if not line:
                    return
                yield line
        finally:
            watching.cancel()

    async def wait(self) -> int:
        """Its exit code; negative for the signal that ended it."""
        return await self._process.wait()

    def error_tail(self, characters: int = 2000) -> str:
        """The end of what it wrote to standard error; not redacted."""
        with contextlib.suppress(OSError), (self._directory / "stderr").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4 * characters))
            return file.read().decode(errors="replace")[-characters:].strip()
        return ""

    async def _close_after_exit(self) -> None:
        await self._process.wait()
        await asyncio.sleep(DRAIN_SECONDS)
        if not self._output.at_eof():
            self._output.feed_eof()


@asynccontextmanager
async def running(
    command: Sequence[str], *, env: Mapping[str, str], directory: Path
) -> AsyncIterator[ScannerProcess]:
    """Start a scanner as a process group of its own; nothing of it is left when this ends.

    It gets `env` and nothing else of our environment, `directory` as TMPDIR and working
    directory, and its standard error goes to a file there. Ended with SIGTERM, after
    GRACE_SECONDS with SIGKILL, and so are its children that left the group; on Linux also when
    this process is killed (its children, if `directory` is private). Raises ScannerMissing when
    the program cannot be started.
    """
    marked = {**env, "TMPDIR": str(directory)}
    if shutil.which(command[0], path=marked.get("PATH")) is None:
        raise ScannerMissing(f"{command[0]} is not an executable program on this worker.")
    orphans.watch_for_death(os.getpid(), f"/{_PREFIX}{os.getpid()}-")
    guarded = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command]
    reading, writing = os.pipe()
    try:
        with (directory / "stderr").open("wb") as errors:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *guarded,
                    env=marked,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=errors,
                    start_new_session=True,
                )
            )
            try:
                # Shielded: cancelling a half-started process would orphan its children.
                process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                await _insist(_stop_started(starting, directory))
                raise
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    transport: asyncio.BaseTransport | None = None
    try:
        output, transport = await _reader(reading)
        yield ScannerProcess(process, output, directory)
    finally:
        await _insist(_stop_group(process, directory))
        if transport is not None:
            transport.close()


async def _reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    # Our own pipe: asyncio's waits for a process until everyone has closed its output.
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    return reader, transport


async def _insist(work: Any) -> None:
    """Finish this work even when cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


async def _stop_started(
    starting: asyncio.Future[asyncio.subprocess.Process], directory: Path
) -> None:
    with contextlib.suppress(OSError):  # it could not be started: nothing to stop
        await _stop_group(await starting, directory)


async def _stop_group(process: asyncio.subprocess.Process, directory: Path) -> None:
    """SIGTERM, wait, SIGKILL: the group, then those of its children that left the group."""
    try:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), GRACE_SECONDS)
    finally:
        # Also when the leader is gone: its children may be in the group still.
        _signal_group(process.pid, signal.SIGKILL)
        for _ in range(50):
            strays = processes_of(directory)
            if not strays:
                break
            for pid in strays:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)
    await process.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def processes_of(directory: Path) -> list[int]:
    """Processes that inherited the scanner's TMPDIR, wherever they moved to (Linux)."""
    mark = f"TMPDIR={directory}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes().split(b"\0") and _is_alive(entry.parent):
                found.append(int(entry.parent.name))
    return found


def _is_alive(process: Path) -> bool:
    """False for a zombie, which waits for its parent and runs nothing."""
    return b") Z " not in (process / "stat").read_bytes()
