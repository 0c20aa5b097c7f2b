"""The supervisor behind `cloudsweep up`, with real servers and stand-ins for our own processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from runtime.embedded import record
from runtime.embedded.children import ChildSpec
from runtime.embedded.postgres import database_url as embedded_url
from runtime.embedded.processes import StackFailed, alive, marked
from runtime.embedded.record import StackRecord
from runtime.embedded.stack import Stack, as_environment, embedded_stack
from runtime.settings import Settings
from tests.support import stand_ins
from tests.support.ports import free_ports
from tests.support.waiting import until

PROGRAM = stand_ins.program()
NAMES = {"postgres", "temporal", "api", "worker"}


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Settings of a stack of this test's own, with every server embedded."""
    api, temporal, ui = free_ports(3)
    return Settings(
        data_dir=tmp_path / "data", api_port=api, temporal_port=temporal, temporal_ui_port=ui
    )


@pytest.fixture
def light(
    settings: Settings, temporal_ports: list[int], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings of a stack that uses the servers of the test run, so that it starts fast."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{temporal_ports[0]}")
    return settings


class Up:
    """A supervisor in a process of its own, as `cloudsweep up` is."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir

    async def announced(self) -> str:
        assert self.process.stdout is not None
        output = b""
        while b"Admin key" not in output:
            line = await self.process.stdout.readline()
            assert line, await self.errors()
            output += line
        return output.decode()

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    @property
    def record(self) -> StackRecord:
        found = record.read(self.data_dir)
        assert found is not None
        return found


@asynccontextmanager
async def supervisor(settings: Settings, program: str = "product") -> AsyncIterator[Up]:
    process = await asyncio.create_subprocess_exec(
        *stand_ins.command("up"),
        program,
        env={**os.environ, **as_environment(settings)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Up(process, settings.data_dir)
    finally:
        if process.returncode is None:  # the test failed half-way
            process.kill()
            for left in marked(settings.data_dir):
                left.kill()
        await process.communicate()


async def execute(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def until_gone(pids: list[int]) -> None:
    await until(
        lambda: not any(psutil.pid_exists(pid) and alive(psutil.Process(pid)) for pid in pids)
    )


def events(settings: Settings) -> list[str]:
    path = settings.data_dir / "events"
    return path.read_text().split("\n")[:-1] if path.exists() else []


# ---- the whole life of a stack ----


async def test_up_announces_itself_and_sigterm_leaves_nothing(own: Settings) -> None:
    async with supervisor(own) as up:
        announced = await up.announced()
        for words in (
            f"http://127.0.0.1:{own.api_port}/api/v1",
            f"http://127.0.0.1:{own.api_port}/docs",
            f"http://127.0.0.1:{own.temporal_ui_port}",
            "csk_standin   (shown once",
        ):
            assert words in announced
        running = up.record
        assert running.pid == up.process.pid
        assert set(running.children) == NAMES
        assert stat.S_IMODE((own.data_dir / "stack.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(own.data_dir.stat().st_mode) == 0o700

        await until(lambda: events(own) == ["started"])
        up.process.send_signal(signal.SIGTERM)
        assert await up.process.wait() == 0
        await until_gone([*running.children.values()])
        assert marked(own.data_dir) == []
        assert record.read(own.data_dir) is None
    # The worker saw the API and the database alive while it drained.
    assert events(own) == ["started", "drained"]

    async with supervisor(own) as up:
        announced = await up.announced()
        assert "csk_standin" not in announced
        assert f"in {own.data_dir}/admin.key" in announced
        up.process.send_signal(signal.SIGINT)
        assert await up.process.wait() == 0
    assert marked(own.data_dir) == []


async def test_killed_with_9_its_children_end_and_the_next_start_has_all_data(
    own: Settings,
) -> None:
    async with supervisor(own) as up:
        await up.announced()
        running = up.record
        assert running.database_url and running.temporal_address
        await execute(running.database_url, "CREATE TABLE kept AS SELECT 42 AS x")
        client = await Client.connect(running.temporal_address)
        await client.start_workflow("Nothing", id="kept", task_queue="nobody-polls")
        up.process.kill()
        await up.process.wait()
        await until_gone([*running.children.values()])

    async with supervisor(own) as up:
        await up.announced()
        again = up.record
        assert again.database_url and again.temporal_address
        assert await execute(again.database_url, "SELECT x FROM kept") == 42
        client = await Client.connect(again.temporal_address)
        assert (await client.get_workflow_handle("kept").describe()).id == "kept"
        up.process.send_signal(signal.SIGTERM)
        assert await up.process.wait() == 0


async def test_every_child_killed_with_9_comes_back_on_its_data(own: Settings) -> None:
    said: list[str] = []
    async with embedded_stack(own, program=PROGRAM, say=said.append) as stack:
        await execute(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS x")
        for name in sorted(NAMES):
            first = stack.pids[name]
            os.kill(first, signal.SIGKILL)
            await until(lambda: stack.pids.get(name, first) != first)  # noqa: B023 (used at once)
            running = record.read(own.data_dir)
            assert running is not None
            assert running.children[name] == stack.pids[name]
        for child in stack.children:
            if child.spec.ready is not None:
                await until(child.spec.ready)
        assert await execute(stack.database_url, "SELECT x FROM kept") == 42
    assert said == [
        f"{name} was ended by SIGKILL; starting it again in 0.25 s" for name in sorted(NAMES)
    ]
    assert marked(own.data_dir) == []


async def test_two_stacks_run_side_by_side(own: Settings, tmp_path: Path) -> None:
    api, temporal, ui = free_ports(3)
    other = Settings(
        data_dir=tmp_path / "other", api_port=api, temporal_port=temporal, temporal_ui_port=ui
    )
    async with (
        embedded_stack(own, program=PROGRAM) as first,
        embedded_stack(other, program=PROGRAM) as second,
    ):
        await execute(first.database_url, "CREATE TABLE mine AS SELECT 1 AS x")
        assert await execute(second.database_url, "SELECT to_regclass('mine')") is None
        assert set(first.pids.values()).isdisjoint(second.pids.values())
        assert set(first.pids) == set(second.pids) == NAMES
    assert marked(own.data_dir) == marked(other.data_dir) == []


# ---- leftovers ----


async def test_a_worker_that_outlives_its_supervisor_is_ended_with_its_scanner_at_the_next_start(
    light: Settings,
) -> None:
    async with supervisor(light, "stubborn") as up:
        await up.announced()
        worker = up.record.children["worker"]
        await until(lambda: len(events(light)) == 1)
        scanner = int(events(light)[0].removeprefix("scanner "))
        up.process.kill()
        await up.process.wait()
        assert alive(psutil.Process(worker))
        assert alive(psutil.Process(scanner))
        async with embedded_stack(light, program=PROGRAM):
            await until_gone([worker, scanner])


async def test_a_second_signal_stops_what_does_not_drain_and_its_scanner(light: Settings) -> None:
    async with supervisor(light, "stubborn") as up:
        await up.announced()
        worker = up.record.children["worker"]
        await until(lambda: len(events(light)) == 1)
        scanner = int(events(light)[0].removeprefix("scanner "))
        up.process.send_signal(signal.SIGINT)
        assert up.process.stderr is not None
        assert b"stopping; once more" in await up.process.stderr.readline()
        assert alive(psutil.Process(worker))
        up.process.send_signal(signal.SIGINT)
        assert await up.process.wait() == 0
        await until_gone([worker, scanner])


# ---- what cannot run ----


async def test_a_second_up_on_the_same_data_says_which_process_holds_it(light: Settings) -> None:
    async with supervisor(light) as up:
        await up.announced()
        async with supervisor(light) as second:
            assert await second.process.wait() == 1
            assert f"already, as process {up.process.pid}" in await second.errors()
        assert set(up.record.children) == {"api", "worker"}
        up.process.send_signal(signal.SIGTERM)
        assert await up.process.wait() == 0


async def test_an_api_port_in_use_names_its_setting_and_leaves_nothing(light: Settings) -> None:
    with socket.create_server((light.api_host, light.api_port)):
        async with supervisor(light) as up:
            assert await up.process.wait() == 1
            errors = await up.errors()
    assert f"Cannot listen on 127.0.0.1:{light.api_port}: Address already in use." in errors
    assert "Set CLOUDSWEEP_API_PORT to a free port" in errors
    assert marked(light.data_dir) == []


async def test_a_child_that_fails_again_and_again_ends_the_stack_with_its_log(
    light: Settings,
) -> None:
    async with supervisor(light, "broken") as up:
        assert await up.process.wait() == 1
        errors = await up.errors()
    assert errors.count("worker ended with exit code 7; starting it again") == 4
    assert "worker ended with exit code 7, and starting it again did not help" in errors
    assert "the worker has a bug" in errors
    assert f"{light.data_dir}/logs/worker.log" in errors
    assert marked(light.data_dir) == []


async def test_migrations_that_fail_end_the_stack_with_their_reason(light: Settings) -> None:
    async with supervisor(light, "unmigratable") as up:
        assert await up.process.wait() == 1
        errors = await up.errors()
    assert "bootstrap ended with exit code 1" in errors
    assert "revision 42 does not apply" in errors
    assert marked(light.data_dir) == []


async def test_a_data_directory_that_cannot_be_used_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackFailed, match="cannot be used: Not a directory") as caught:
        async with embedded_stack(Settings(data_dir=tmp_path / "file" / "data")):
            pass
    assert caught.value.fix and "CLOUDSWEEP_DATA_DIR" in caught.value.fix


# ---- what the children get ----


async def test_external_servers_are_used_and_not_started(
    light: Settings, temporal_ports: list[int]
) -> None:
    async with embedded_stack(light, program=PROGRAM) as stack:
        assert set(stack.pids) == {"api", "worker"}
        assert light.database_url is not None
        assert stack.environment["CLOUDSWEEP_DATABASE_URL"] == light.database_url.get_secret_value()
        assert stack.environment["TEMPORAL_ADDRESS"] == f"127.0.0.1:{temporal_ports[0]}"
        running = record.read(light.data_dir)
        assert running is not None
        assert running.database_url is None


async def test_extra_children_and_environment_join_the_stack(light: Settings) -> None:
    extra = ChildSpec(name="demo-cloud", command=["sleep", "600"])
    async with embedded_stack(
        light, program=PROGRAM, extra_children=[extra], environment={"AWS_REGION": "eu-west-1"}
    ) as stack:
        assert set(stack.pids) == {"api", "worker", "demo-cloud"}
        assert psutil.Process(stack.pids["worker"]).environ()["AWS_REGION"] == "eu-west-1"
        assert "AWS_REGION" not in psutil.Process(stack.pids["demo-cloud"]).environ()
    assert marked(light.data_dir) == []


async def test_an_extra_child_that_cannot_start_ends_the_whole_stack(light: Settings) -> None:
    async def port_is_taken() -> None:
        raise StackFailed("Cannot listen on 127.0.0.1:5566: Address already in use.")

    extra = ChildSpec(name="demo-cloud", command=["sleep", "600"], prepare=port_is_taken)
    with pytest.raises(StackFailed, match=r"127\.0\.0\.1:5566"):
        async with embedded_stack(light, program=PROGRAM, extra_children=[extra]):
            pass
    assert marked(light.data_dir) == []


def test_children_of_an_embedded_stack_hear_nothing_of_another_temporal(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "of-another-server")
    monkeypatch.setenv("CLOUDSWEEP_STEAMPIPE_URL", "postgresql://from-the-shell/steampipe")
    stack = Stack(own, program=PROGRAM, extra_children=[], environment={}, say=lambda line: None)
    environment = stack.environment
    assert environment["TEMPORAL_ADDRESS"] == f"127.0.0.1:{own.temporal_port}"
    assert "TEMPORAL_API_KEY" not in environment
    assert "CLOUDSWEEP_STEAMPIPE_URL" not in environment  # the settings given stand above it
    assert environment["CLOUDSWEEP_DATABASE_URL"] == embedded_url(own.data_dir)


def test_a_stale_record_names_no_running_stack(tmp_path: Path) -> None:
    stale = StackRecord(
        pid=os.getpid(),
        started=0.0,  # another process had our number
        api_url="http://127.0.0.1:1",
        docs_url="http://127.0.0.1:1/docs",
        ui_url=None,
        temporal_address=None,
        database_url=None,
        children={},
    )
    assert record.read(tmp_path) is None
    record.write(tmp_path, stale)
    assert record.read(tmp_path) is None
    for moved in (0, 2, -2):  # seconds that the machine's clock was set by since then
        started = psutil.Process().create_time() + moved
        record.write(tmp_path, stale.model_copy(update={"started": started}))
        assert record.read(tmp_path) is not None
    (tmp_path / "stack.json").write_text('{"pid": ')
    assert record.read(tmp_path) is None
