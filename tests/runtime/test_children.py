"""One supervised child: restarted, given up, stopped, and never outlived by what it started."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest

from runtime.embedded import processes
from runtime.embedded.children import LOG_BYTES, Child, ChildSpec, bound_log, running, tail_of
from runtime.embedded.processes import StackFailed
from tests.support.waiting import until


async def test_a_child_that_cannot_run_ends_with_the_end_of_its_log(tmp_path: Path) -> None:
    said: list[str] = []
    spec = ChildSpec(name="broken", command=["sh", "-c", "echo password=hunter2 no; exit 3"])
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs", say=said.append) as child:
        with pytest.raises(StackFailed, match="broken ended with exit code 3") as caught:
            await child.failed()
    assert "password=[redacted] no" in caught.value.message
    assert caught.value.fix and str(tmp_path / "logs" / "broken.log") in caught.value.fix
    assert len(said) == 4
    assert stat.S_IMODE((tmp_path / "logs" / "broken.log").stat().st_mode) == 0o600


async def test_what_a_killed_child_started_is_ended_before_it_starts_again(tmp_path: Path) -> None:
    spec = ChildSpec(
        name="parent",
        command=["sh", "-c", f"setsid sleep 600 & echo $! >> {tmp_path}/pids; wait"],
    )
    pids = tmp_path / "pids"
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as child:
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 1)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: len(pids.read_text().split()) == 2)
        old, new = (int(pid) for pid in pids.read_text().split())
        assert not psutil.pid_exists(old) or not processes.alive(psutil.Process(old))
        assert processes.alive(psutil.Process(new))
    assert processes.marked(tmp_path) == []


async def test_a_child_that_ignores_every_signal_is_killed(tmp_path: Path) -> None:
    spec = ChildSpec(
        name="stubborn",
        command=["sh", "-c", "trap '' TERM INT; while :; do sleep 0.1; done"],
        stop=((signal.SIGTERM, 0.3),),
    )
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as child:
        assert child.pid is not None
    assert processes.marked(tmp_path) == []


async def test_a_child_waits_for_what_it_needs_instead_of_dying_again(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.touch()

    async def ready() -> bool:
        return answers.exists()

    logs = tmp_path / "logs"
    server = Child(
        ChildSpec(name="server", command=["sleep", "600"], ready=ready), owner=tmp_path, logs=logs
    )
    service = Child(
        ChildSpec(name="service", command=["sleep", "600"]),
        owner=tmp_path,
        logs=logs,
        needs=[server],
    )
    try:
        await server.start()
        await service.start()
        first = server.pid
        assert first is not None and service.pid is not None
        answers.unlink()
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.pid not in (None, first))
        os.kill(service.pid, signal.SIGKILL)
        await until(lambda: service.pid is None)
        await asyncio.sleep(1)  # longer than the pause before a restart
        assert service.pid is None
        answers.touch()
        await until(lambda: service.pid is not None)
    finally:
        await service.stop()
        await server.stop()
    assert processes.marked(tmp_path) == []


async def test_a_child_that_never_becomes_ready_is_ended_and_said_so(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    spec = ChildSpec(name="mute", command=["sleep", "600"], ready=never, ready_seconds=0.3)
    with pytest.raises(StackFailed, match=r"mute was not ready within 0\.3 seconds"):
        async with running(spec, owner=tmp_path, logs=tmp_path / "logs"):
            pass
    assert processes.marked(tmp_path) == []


async def test_a_command_that_does_not_exist_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    spec = ChildSpec(name="absent", command=["/no/such/program"])
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as child:
        with pytest.raises(StackFailed, match="absent ended with exit code"):
            await child.failed()


async def test_a_run_to_the_end_reports_its_exit_code_and_leaves_nothing(tmp_path: Path) -> None:
    def once(script: str) -> Child:
        spec = ChildSpec(name="once", command=["sh", "-c", script])
        return Child(spec, owner=tmp_path, logs=tmp_path / "logs")

    await once("setsid sleep 600 & exit 0").run_once()
    assert processes.marked(tmp_path) == []
    with pytest.raises(StackFailed, match="once ended with exit code 4"):
        await once("exit 4").run_once()
    cancelled = asyncio.create_task(once("sleep 600").run_once())
    await until(lambda: processes.marked(tmp_path, "once") != [])
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert processes.marked(tmp_path) == []


def test_a_log_that_grew_too_large_keeps_its_end_and_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("ab") as writer:
        writer.write(b"old\n" * 10 + b"x" * LOG_BYTES + b"\nlast line\n")
        writer.flush()
        bound_log(log)
        assert log.stat().st_size == 0
        writer.write(b"next line\n")
        writer.flush()
    assert log.read_bytes() == b"next line\n"
    kept = tmp_path / "worker.log.1"
    assert kept.stat().st_size == LOG_BYTES
    assert kept.read_bytes().endswith(b"\nlast line\n")
    bound_log(log)
    assert tail_of(log) == "next line"
    assert tail_of(tmp_path / "none.log") == ""
