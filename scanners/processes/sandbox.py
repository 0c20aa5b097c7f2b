"""A scanner's cage: what it may use of this machine, and how it ends when it wants more."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from contracts.errors import ReportMalformed, ScannerCrashed, ScannerMissing, ScannerTimedOut
from contracts.native import ScanPolicy
from runtime.redaction import redact
from scanners.processes import hostile_text
from scanners.processes.process import ScannerProcess, processes_of, running

MEGABYTE: Final = 1_000_000
FILES_LIMIT: Final = 4
"""Times its policy's output limit that all of a tool's files may have together."""
SPOKEN_LIMIT: Final = 8 * MEGABYTE
"""Bytes of standard output; reports go to files."""
OPEN_FILES: Final = 1_024
WATCH_SECONDS: Final = 0.5
LINE: Final = 1_000
"""Bytes of a line that are looked at."""

# Runs in place of the tool for a moment. Python ignores two signals, which a tool would inherit:
# one that floods would then go on after its file is full, or after nobody listens any more.
_CAGE: Final = """
import ctypes, json, os, resource, signal, sys
cage = json.loads(sys.argv[1])
if cage["is_offline"]:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000):  # a network of its own, if need be as its own user's root
        if libc.unshare(0x50000000):
            sys.exit("no network of its own: " + os.strerror(ctypes.get_errno()))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                           ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
for name, value in cage["limits"].items():
    kind = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
os.nice(cage["nice"])
os.umask(0o077)
if cage["output"]:
    os.dup2(os.open(cage["output"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 1)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Ended(NamedTuple):
    """How a tool ended by itself: its code, and the harmless end of what it complained of."""

    exit_code: int
    complaint: str


class Spoken(NamedTuple):
    """One line of its standard output, or the last one of its standard error; harmless."""

    line: str


async def caged(
    tool: str,
    command: Sequence[str],
    policy: ScanPolicy,
    directory: Path,
    *,
    output: str | None = None,
    needs_network: bool = True,
) -> AsyncGenerator[Spoken | Ended, None]:
    """Run one tool within its policy, yielding what it says and, last, how it ended.

    With `output` its standard output is that file in `directory`, and no line of it is yielded.
    It gets a process group, PATH, LANG, TZ and `directory` as home, and nothing else of ours. Once
    the generator is closed or has raised, none of its processes is left. Raises ScannerMissing;
    and naming the tool: ScannerTimedOut, ScannerCrashed when it takes too much memory or too many
    processes, ReportMalformed when it writes without end.
    """
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(directory),
    }
    if shutil.which(command[0], path=env["PATH"]) is None:
        raise ScannerMissing(
            f"{tool} is not installed on this worker.",
            fix="`cloudsweep scanners list` on this worker tells how to have it.",
        )
    is_offline = not needs_network and offers_no_network()
    whole = _in_cage(command, policy, is_offline=is_offline, output=output)
    async with running(whole, env=env, directory=directory) as process:
        watch = asyncio.create_task(_watched(tool, policy, directory))
        try:
            async with aclosing(_said(tool, process, watch)) as said:
                async for each in said:
                    yield each
            code = _explained(tool, await process.wait(), policy, directory)
        finally:
            if watch.done() and not watch.cancelled():
                watch.exception()  # looked at, or asyncio would complain of it
            watch.cancel()
        complaint = hostile_text.lines(redact(process.error_tail(), limit=1_000), 1_000)
        yield Ended(code, complaint)


@lru_cache
def offers_no_network() -> bool:
    """Whether this machine lets a process have a network of its own, with nobody in it."""
    if not sys.platform.startswith("linux"):
        return False
    probe = _in_cage(["true"], ScanPolicy(name="probe"), is_offline=True)
    with suppress(OSError, subprocess.TimeoutExpired):
        return (
            subprocess.run(probe, capture_output=True, check=False, timeout=10).returncode == 0  # noqa: S603
        )
    return False


def _in_cage(
    command: Sequence[str], policy: ScanPolicy, *, is_offline: bool, output: str | None = None
) -> list[str]:
    limits = {
        "DATA": policy.memory_limit_mb * MEGABYTE,  # not AS: some reserve far more than they use
        "FSIZE": policy.output_limit_mb * MEGABYTE,
        "CPU": policy.time_limit_seconds * (os.cpu_count() or 1),
        "NOFILE": OPEN_FILES,
        "CORE": 0,
    }
    if not sys.platform.startswith("linux"):
        del limits["DATA"]  # others count what they map of the system's libraries
    cage = {"limits": limits, "nice": policy.nice, "is_offline": is_offline, "output": output}
    return [sys.executable, "-I", "-S", "-c", _CAGE, json.dumps(cage), *command]


async def _said(
    tool: str, process: ScannerProcess, watch: asyncio.Task[None]
) -> AsyncGenerator[Spoken, None]:
    """Its lines as they come, until it has ended, also when it closed its output long before."""
    written, complaint, is_open = 0, "", True
    async with aclosing(process.lines()) as lines:
        waiting: asyncio.Task[bytes | int | None] | None = None
        try:
            while True:
                if waiting is None:
                    waiting = asyncio.create_task(_next(lines) if is_open else process.wait())
                await asyncio.wait(
                    {waiting, watch}, timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if watch.done():
                    watch.result()
                if not waiting.done():
                    latest = process.error_tail(1_000).rpartition("\n")[2]
                    if latest != complaint:  # some tools tell of their progress there
                        complaint = latest
                        yield Spoken(hostile_text.line(latest, LINE))
                    continue
                result, waiting = waiting.result(), None
                if isinstance(result, int):
                    return
                if result is None:
                    is_open = False
                    continue
                written += len(result)
                if written > SPOKEN_LIMIT:
                    raise ReportMalformed("more than it may")
                yield Spoken(hostile_text.line(result[:LINE].decode(errors="replace"), LINE))
        except ReportMalformed:
            raise _flooded(tool, "on its standard output") from None
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait({waiting})


async def _next(lines: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(lines, None)


async def _watched(tool: str, policy: ScanPolicy, directory: Path) -> None:
    """Until cancelled; raises once the tool takes more than its policy gives it."""
    end = time.monotonic() + policy.time_limit_seconds
    while time.monotonic() < end:
        await asyncio.sleep(WATCH_SECONDS)
        pids, used, written = await asyncio.to_thread(_taken, directory)
        if pids > policy.process_limit:
            raise ScannerCrashed(
                f"{tool} was stopped: it had {pids} processes; its policy allows "
                f"{policy.process_limit}."
            )
        if used > policy.memory_limit_mb * MEGABYTE:
            raise ScannerCrashed(
                f"{tool} was stopped: it used {used // MEGABYTE:,} MB of memory; its policy allows "
                f"{policy.memory_limit_mb:,} MB."
            )
        if written > FILES_LIMIT * policy.output_limit_mb * MEGABYTE:
            raise _flooded(tool, "into many files")
    raise ScannerTimedOut(
        f"{tool} was stopped: it did not finish within {policy.time_limit_seconds:,} s.",
        fix="Narrow the target, or choose a policy with a longer time limit.",
    )


def _taken(directory: Path) -> tuple[int, int, int]:
    """Processes, and bytes of memory and of files, that a tool and its children have now."""
    pids = processes_of(directory)
    return len(pids), sum(map(_memory, pids)), sum(_sizes(directory))


def _sizes(directory: Path) -> Iterator[int]:
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(place, name)).st_size


def _memory(pid: int) -> int:
    """Its share: what forked workers have in common counts once for all of them."""
    with suppress(OSError, ValueError, IndexError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(rollup.partition("\nPss:")[2].split(maxsplit=1)[0]) * 1_024
    return 0


def _flooded(tool: str, where: str) -> ReportMalformed:
    return ReportMalformed(f"{tool} was stopped: it wrote without end {where}.")


def _explained(tool: str, code: int, policy: ScanPolicy, directory: Path) -> int:
    """The code, unless the tool ran into one of its limits: then that, raised."""
    number = -code if code < 0 else code - 128  # a shell in between tells it the other way
    # Some, such as Python, make an error of the signal; but their file is as long as it may be.
    is_full = code != 0 and max(_sizes(directory), default=0) >= policy.output_limit_mb * MEGABYTE
    if number == signal.SIGXFSZ or is_full:
        raise _flooded(tool, f"into a file: over {policy.output_limit_mb} MB")
    if number == signal.SIGXCPU:
        raise ScannerTimedOut(f"{tool} was stopped: it computed longer than its policy allows.")
    return code
