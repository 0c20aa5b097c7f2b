"""A tool takes no more of the machine than its policy gives it, and is named when it wants more."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.errors import ReportMalformed, ScannerCrashed, ScannerMissing, ScannerTimedOut
from contracts.native import ScanPolicy
from scanners.processes import process as process_module
from scanners.processes import sandbox
from scanners.processes.process import private_directory
from scanners.processes.sandbox import Ended, Spoken, caged, offers_no_network
from tests.support.waiting import until

POLICY = ScanPolicy(name="tests", time_limit_seconds=60, memory_limit_mb=256, output_limit_mb=1)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A tool's own directory."""
    with private_directory() as made:
        yield made


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ignores SIGTERM is killed at once."""
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.2)


async def run(
    code: str, directory: Path, policy: ScanPolicy = POLICY, *, needs_network: bool = True
) -> tuple[list[str], Ended]:
    """A stand-in for a tool: Python that behaves as tools do when they go wrong."""
    command = [sys.executable, "-S", "-c", textwrap.dedent(code)]
    said: list[str] = []
    words = caged("standin", command, policy, directory, needs_network=needs_network)
    async with aclosing(words) as lines:
        async for each in lines:
            if isinstance(each, Spoken):
                said.append(each.line)
            else:
                return said, each
    raise AssertionError("the tool ended without an end")


def left_in(directory: Path) -> list[int]:
    """Living processes with this directory as their home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("TMPDIR") == str(directory):
                found.append(process.pid)
    return found


def size_of(directory: Path) -> int:
    """Bytes of all its files."""
    return sum(each.stat().st_size for each in directory.iterdir())


async def test_a_tool_gets_a_home_of_its_own_and_nothing_of_our_environment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the worker")
    said, ended = await run(
        """
        import os, resource, signal
        print(*sorted(os.environ))
        print(os.environ["HOME"] == os.getcwd(), os.getsid(0) == os.getpid(), os.nice(0) >= 5)
        print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE))
        open("report", "w").close()
        print(oct(os.stat("report").st_mode & 0o777), oct(os.stat(".").st_mode & 0o777))
        """,
        directory,
    )
    seen = set(said[0].split())
    assert seen >= {"PATH", "LANG", "HOME", "TMPDIR"}
    assert seen <= {"PATH", "LANG", "HOME", "TMPDIR", "TZ", "LC_CTYPE"}
    assert said[1:] == ["True True True", "(0, 0) (1000000, 1000000)", "0o600 0o700"]
    assert ended == Ended(0, "")


async def test_what_a_tool_says_is_harmless_and_its_exit_code_arrives(directory: Path) -> None:
    said, ended = await run(
        """
        import sys
        print("\\x1b[2J" + "x" * 5000)
        sys.stderr.write("\\x1b]0;owned\\x07 cannot\\n")
        raise SystemExit(3)
        """,
        directory,
    )
    assert said[0].startswith("\\x1b[2Jxxx")
    assert len(said[0]) == 1_000
    assert ended == Ended(3, "\\x1b]0;owned\\x07 cannot")


async def test_a_tool_that_hangs_is_timed_out_with_its_children(directory: Path) -> None:
    hangs = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"],
                     start_new_session=True)
    time.sleep(60)
    """
    policy = POLICY.model_copy(update={"time_limit_seconds": 1})
    with pytest.raises(ScannerTimedOut, match=r"standin was stopped.*within 1 s"):
        await run(hangs, directory, policy)
    assert left_in(directory) == []


async def test_a_tool_that_forks_without_end_is_stopped_as_a_group(directory: Path) -> None:
    forks = """
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(40):  # enough to be too many here, and too few to hurt
        if os.fork() == 0:
            os.setsid()
            break
    time.sleep(60)
    """
    policy = POLICY.model_copy(update={"process_limit": 10})
    with pytest.raises(ScannerCrashed, match=r"standin was stopped: it had .* processes"):
        await run(forks, directory, policy)
    assert left_in(directory) == []


async def test_processes_that_together_take_too_much_memory_are_stopped(directory: Path) -> None:
    takes = """
    import os, time
    os.fork()
    held = b"x" * 100_000_000
    time.sleep(60)
    """
    policy = POLICY.model_copy(update={"memory_limit_mb": 150})
    with pytest.raises(ScannerCrashed, match=r"standin was stopped: it used .* MB of memory"):
        await run(takes, directory, policy)
    assert left_in(directory) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on data is Linux's")
async def test_one_process_cannot_take_more_memory_than_its_policy_gives(directory: Path) -> None:
    said, ended = await run("held = bytearray(1_000_000_000)", directory)
    assert ended.exit_code == 1
    assert ended.complaint.endswith("MemoryError")
    assert said == []


@pytest.mark.parametrize(
    "flood",
    [
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stdout.write('x' * 1000)",
        "file = open('report', 'wb')\nwhile True: file.write(b'x' * 100_000)",
        "import sys\nwhile True: sys.stderr.write('x' * 100_000)",
    ],
    ids=["lines", "one line", "a file", "complaints"],
)
async def test_a_tool_that_floods_is_stopped_and_named(
    flood: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SPOKEN_LIMIT", 200_000)
    with pytest.raises(ReportMalformed, match="standin was stopped: it wrote without end"):
        await run(flood, directory)
    assert size_of(directory) <= 2_000_000
    assert left_in(directory) == []


async def test_a_tool_that_computes_without_end_is_timed_out(directory: Path) -> None:
    code = """
    import resource
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    print(hard)
    resource.setrlimit(resource.RLIMIT_CPU, (1, hard))
    while True: pass
    """
    with pytest.raises(ScannerTimedOut, match="standin was stopped: it computed longer"):
        await run(code, directory)


async def test_a_tool_that_closes_its_output_is_still_watched(directory: Path) -> None:
    code = "import os, time\nos.close(1)\ntime.sleep(60)"
    policy = POLICY.model_copy(update={"time_limit_seconds": 1})
    with pytest.raises(ScannerTimedOut):
        await run(code, directory, policy)
    assert left_in(directory) == []


async def test_a_run_that_is_cancelled_leaves_no_process(directory: Path) -> None:
    code = """
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    open("started", "w").close()
    time.sleep(60)
    """
    task = asyncio.create_task(run(code, directory))
    await until((directory / "started").exists)
    assert len(left_in(directory)) >= 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(directory) == []


async def test_a_tool_that_needs_no_network_has_none(directory: Path) -> None:
    if not offers_no_network():
        pytest.skip("this machine lets no process have a network of its own")
    code = """
    import os, socket
    print(len(socket.if_nameindex()), os.geteuid())
    try:
        socket.create_connection(("127.0.0.1", 22), 1)
    except OSError as error:
        print(error.strerror)
    """
    said, ended = await run(code, directory, needs_network=False)
    assert ended.exit_code == 0
    assert said == [f"1 {os.geteuid()}", "Network is unreachable"]


WORKER = """
import asyncio, sys
from contracts.native import ScanPolicy
from scanners.processes.process import private_directory
from scanners.processes.sandbox import caged, offers_no_network
async def main():
    with private_directory() as directory:
        command = [sys.executable, "-S", "-c", sys.argv[1]]
        policy = ScanPolicy(name="tests")
        async for said in caged("standin", command, policy, directory, needs_network=False):
            print(offers_no_network(), directory, flush=True)
asyncio.run(main())
"""
FORKS = """
import os, time
if os.fork() == 0:
    os.setsid()
    print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what a dead worker started")
def test_a_tool_without_network_and_its_children_die_with_a_worker_that_is_not_root() -> None:
    command, env = [sys.executable, "-c", WORKER, FORKS], {"PYTHONPATH": os.pathsep.join(sys.path)}
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        python = shutil.which("python3", path=os.defpath)
        user = {"user": 65_534, "group": 65_534, "extra_groups": ()}
        command[0] = python or "no python3"
        probe = [command[0], "-c", "import scanners.processes.sandbox"]
        if not python or subprocess.run(probe, env=env, capture_output=True, **user).returncode:
            pytest.skip("somebody else than root cannot run this tree")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env, cwd="/", **user
    ) as worker:
        assert worker.stdout is not None
        offers, _, directory = worker.stdout.readline().strip().partition(" ")
        started = left_in(Path(directory))
        worker.kill()
    if offers != "True":
        pytest.skip("this machine lets no process have a network of its own")
    assert len(started) == 2
    deadline = time.monotonic() + 30
    while left := left_in(Path(directory)):
        assert time.monotonic() < deadline, f"{left} outlived their worker"
        time.sleep(0.02)


async def test_a_tool_that_is_not_there_is_missing(directory: Path) -> None:
    with pytest.raises(ScannerMissing, match="standin is not installed"):
        async for _ in caged("standin", ["no-such-tool"], POLICY, directory):
            pass
