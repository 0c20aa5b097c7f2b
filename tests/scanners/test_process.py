"""A scanner process can always be stopped, with everything it started."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

import psutil
import pytest

from contracts.errors import ReportMalformed, ScannerMissing
from scanners.processes import process as process_module
from scanners.processes.process import LINE_LIMIT, _insist, private_directory, running

ENVIRONMENT = {"PATH": os.environ["PATH"]}

# A scanner that ignores SIGTERM, with a child in its group and a grandchild in another session.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(60)"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
print("started", flush=True)
time.sleep(60)
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *arguments]


def alive_in(directory: Path) -> list[int]:
    """Processes that were started with this TMPDIR, zombies left out."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if (
                process.environ().get("TMPDIR") == str(directory)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process.pid)
    return found


async def output_of(command: Sequence[str]) -> tuple[list[bytes], int]:
    with private_directory() as directory:
        async with running(command, env=ENVIRONMENT, directory=directory) as process:
            lines = [line async for line in process.lines()]
            return lines, await process.wait()


async def test_lines_and_exit_code_of_a_process_arrive() -> None:
    lines, code = await output_of(python("print('one'); print('two'); raise SystemExit(7)"))
    assert lines == [b"one\n", b"two\n"]
    assert code == 7


async def test_a_process_sees_only_the_environment_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the worker")
    lines, _ = await output_of(python("import os; print(*sorted(os.environ))"))
    seen = set(lines[0].decode().split())
    assert {"PATH", "TMPDIR"} <= seen
    assert seen <= {"PATH", "TMPDIR", "LC_CTYPE"}


async def test_a_private_directory_is_ours_alone_and_gone_afterwards() -> None:
    with private_directory() as directory:
        assert directory.stat().st_mode & 0o077 == 0
        (directory / "payload").write_text("secret")
    assert not directory.exists()


def test_what_a_killed_worker_left_is_removed_and_what_is_in_use_is_not() -> None:
    code = """
    import os, sys
    from scanners.processes.process import private_directory
    with private_directory() as directory:
        print(directory, flush=True)
        os.kill(os.getpid(), 9)
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(python(code), capture_output=True, text=True, check=False, env=env)
    abandoned = Path(done.stdout.strip())
    assert abandoned.exists()
    with private_directory() as used:
        for directory in (abandoned, used):
            os.utime(directory, (0, 0))
        with private_directory():
            assert not abandoned.exists()
            assert used.exists()


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ScannerMissing, match="no-such-scanner"):
        await output_of(["no-such-scanner"])


async def test_a_long_line_is_read_and_an_endless_one_is_malformed() -> None:
    lines, _ = await output_of(python(f"print('x' * {LINE_LIMIT - 100})"))
    assert len(lines[0]) == LINE_LIMIT - 99
    with pytest.raises(ReportMalformed):
        await output_of(python(f"print('x' * {LINE_LIMIT * 2})"))


async def test_an_orphan_that_holds_the_output_does_not_keep_us_waiting() -> None:
    code = """
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    print("done", flush=True)
    """
    with private_directory() as directory:
        async with running(python(code), env=ENVIRONMENT, directory=directory) as process:
            lines = [line async for line in process.lines()]
            assert lines == [b"done\n"]
        assert alive_in(directory) == []


async def test_nothing_is_left_of_a_scanner_that_ignores_the_first_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.2)
    with private_directory() as directory:
        async with running(python(STUBBORN), env=ENVIRONMENT, directory=directory) as process:
            async with aclosing(process.lines()) as lines:
                assert await anext(lines) == b"started\n"
            assert len(alive_in(directory)) == 3
        assert alive_in(directory) == []


async def test_cancellation_at_any_moment_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.05)
    moments = random.Random(7)  # noqa: S311 (moments, not secrets)

    async def scan(directory: Path) -> None:
        async with running(python(STUBBORN), env=ENVIRONMENT, directory=directory) as process:
            async for _ in process.lines():
                pass

    for _ in range(12):
        with private_directory() as directory:
            task = asyncio.create_task(scan(directory))
            await asyncio.sleep(moments.uniform(0, 0.25))
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # impatience must not cut the clean-up short
            with pytest.raises(asyncio.CancelledError):
                await task
            assert alive_in(directory) == []


def test_a_scanner_and_its_children_die_with_the_worker_that_is_killed() -> None:
    code = """
    import asyncio, os, sys
    from scanners.processes.process import private_directory, running
    async def main():
        with private_directory() as directory:
            command = [sys.executable, "-c", sys.argv[1]]
            async with running(command, env={"PATH": os.environ["PATH"]}, directory=directory) as p:
                async for line in p.lines():
                    print(directory, flush=True)
    asyncio.run(main())
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = python(code, STUBBORN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as worker:
        assert worker.stdout is not None
        directory = Path(worker.stdout.readline().strip())
        assert len(alive_in(directory)) == 3
        worker.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while left := alive_in(directory):
        assert time.monotonic() < deadline, f"{left} outlived their worker"
        time.sleep(0.02)


async def test_a_cancel_in_the_moment_in_which_the_work_ends_is_not_lost() -> None:
    may_end = asyncio.Event()
    insisting = asyncio.create_task(_insist(may_end.wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.sleep(0)  # the work has ended; who insisted on it has not heard of that yet
    insisting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await insisting
