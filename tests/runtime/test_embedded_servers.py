"""The embedded servers on their own: made once, ready, killed, stopped, started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)

from runtime.embedded import processes
from runtime.embedded.children import running
from runtime.embedded.postgres import (
    SERVER_SETTINGS,
    database_url,
    end_leftovers,
    postgres_child,
    running_postgres,
    socket_dir,
)
from runtime.embedded.processes import StackFailed
from runtime.embedded.temporal import running_temporal, temporal_child
from tests.support.ports import free_ports
from tests.support.waiting import LIMIT_SECONDS, until


async def query(url: str, statement: str) -> object:
    """One value, over a connection of its own that waits until the server answers."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                connection = await asyncpg.connect(url)
                break
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def postgres_processes(data_dir: Path) -> list[psutil.Process]:
    name = f"cloudsweep-{processes.token(data_dir.resolve() / 'postgres')}"
    found = []
    for process in psutil.process_iter():
        try:
            if any(name in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


# ---- PostgreSQL ----


async def test_postgres_runs_with_our_settings_and_database(tmp_path: Path) -> None:
    async with running_postgres(tmp_path) as url:
        assert str(await query(url, "SELECT version()")).startswith("PostgreSQL 18.")
        assert await query(url, "SELECT current_database()") == "cloudsweep"
        assert await query(url, "SHOW server_encoding") == "UTF8"
        for name, value in SERVER_SETTINGS.items():
            assert await query(url, f"SHOW {name}") == value
    assert postgres_processes(tmp_path) == []


async def test_what_was_committed_is_there_after_a_stop_and_after_kill_9(tmp_path: Path) -> None:
    said: list[str] = []
    spec = postgres_child(tmp_path)
    url = database_url(tmp_path)
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs"):
        await query(url, "CREATE TABLE kept AS SELECT 1 AS x")
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs", say=said.append) as server:
        assert await query(url, "SELECT count(*) FROM kept") == 1
        await query(url, "INSERT INTO kept VALUES (2)")
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.pid not in (None, first))
        assert await query(url, "SELECT count(*) FROM kept") == 2
    assert said == ["postgres was ended by SIGKILL; starting it again in 0.25 s"]
    assert postgres_processes(tmp_path) == []


async def test_a_session_of_a_killed_server_does_not_keep_the_next_from_starting(
    tmp_path: Path,
) -> None:
    spec = postgres_child(tmp_path)
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as server:
        connection = await asyncpg.connect(database_url(tmp_path))
        # Busy without ever waiting, so that it never notices that the server died.
        busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))

        async def is_busy() -> bool:
            counting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %'"
            return await query(database_url(tmp_path), counting) == 1

        await until(is_busy)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await busy
        assert await query(database_url(tmp_path), "SELECT 1") == 1
        connection.terminate()


async def test_a_server_that_nobody_supervises_any_more_is_stopped_and_replaced(
    tmp_path: Path,
) -> None:
    spec = postgres_child(tmp_path)
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs"):
        await query(database_url(tmp_path), "CREATE TABLE kept AS SELECT 1 AS x")
    orphan = await asyncio.create_subprocess_exec(
        *processes.unprivileged(spec.command, signal.SIGINT),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await query(database_url(tmp_path), "SELECT 1")
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as server:
        assert server.pid != orphan.pid
        assert await orphan.wait() == 0
        assert await query(database_url(tmp_path), "SELECT count(*) FROM kept") == 1


async def test_a_server_of_another_data_directory_is_left_alone(tmp_path: Path) -> None:
    async with running_postgres(tmp_path / "theirs") as url:
        # A stale pid file that names the other server, as a reused pid would.
        ours = tmp_path / "ours" / "postgres"
        ours.mkdir(parents=True)
        theirs = (tmp_path / "theirs" / "postgres" / "postmaster.pid").read_text()
        (ours / "postmaster.pid").write_text(theirs)
        await end_leftovers(ours)
        assert await query(url, "SELECT 1") == 1


async def test_an_interrupted_first_start_is_begun_again(tmp_path: Path) -> None:
    half_made = tmp_path / "postgres.building"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    async with running_postgres(tmp_path) as url:
        assert await query(url, "SELECT 1") == 1
    assert not half_made.exists()


async def test_a_cluster_of_another_version_is_refused_and_untouched(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackFailed, match="holds PostgreSQL 16") as caught:
        async with running_postgres(tmp_path):
            pass
    assert caught.value.fix and "pg_dump" in caught.value.fix
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


async def test_a_directory_of_somebody_else_is_not_taken_for_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("years of work")
    with pytest.raises(StackFailed, match="neither empty nor a PostgreSQL cluster"):
        async with running_postgres(tmp_path):
            pass
    assert (tmp_path / "postgres" / "thesis.txt").read_text() == "years of work"


async def test_data_below_a_directory_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with running_postgres(closed / "data") as url:
        assert await query(url, "SELECT 1") == 1
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        if os.geteuid() == 0:
            server = postgres_processes(closed / "data")[0]
            assert server.uids().effective == processes.nobody()[0]


async def test_the_socket_of_a_long_path_lies_in_a_short_private_directory(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep" * 25) / "data"
    where = socket_dir(data_dir)
    assert where == socket_dir(data_dir)
    assert len(str(where)) < 90
    assert data_dir not in where.parents
    async with running_postgres(data_dir) as url:
        assert await query(url, "SELECT 1") == 1
        assert stat.S_IMODE(where.stat().st_mode) == 0o700
    where.rmdir()


async def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / ("deep" * 25) / "data"
    where = socket_dir(data_dir)
    where.symlink_to(tmp_path)
    try:
        with pytest.raises(StackFailed, match="belongs to somebody else"):
            async with running_postgres(data_dir):
                pass
    finally:
        where.unlink()


# ---- Temporal ----


async def start_a_workflow(client: Client, workflow_id: str) -> None:
    await client.start_workflow(
        "Nothing",
        id=workflow_id,
        task_queue="nobody-polls",
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(SearchAttributeKey.for_keyword("Team"), "blue")]
        ),
    )


async def test_temporal_keeps_acknowledged_workflows_over_kill_9(tmp_path: Path) -> None:
    port, ui_port = free_ports(2)
    spec = temporal_child(
        tmp_path, port=port, ui_port=ui_port, search_attributes={"Team": "Keyword"}
    )
    async with running(spec, owner=tmp_path, logs=tmp_path / "logs") as server:
        client = await Client.connect(f"127.0.0.1:{port}")
        for number in range(20):
            await start_a_workflow(client, f"kept-{number}")
        assert server.pid is not None
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.pid not in (None, first))
        assert spec.ready is not None
        await until(spec.ready)
        for number in range(20):
            description = await client.get_workflow_handle(f"kept-{number}").describe()
            assert (
                description.typed_search_attributes.get(SearchAttributeKey.for_keyword("Team"))
                == "blue"
            )


async def test_an_attribute_added_later_is_usable_on_the_same_data(tmp_path: Path) -> None:
    port, ui_port = free_ports(2)
    for attributes in ({"Other": "Int"}, {"Other": "Int", "Team": "Keyword"}):
        async with running_temporal(
            tmp_path, port=port, ui_port=ui_port, search_attributes=attributes
        ) as address:
            client = await Client.connect(address)
    async with running_temporal(
        tmp_path, port=port, ui_port=ui_port, search_attributes=attributes
    ) as address:
        client = await Client.connect(address)
        await start_a_workflow(client, "filtered")
        description = await client.get_workflow_handle("filtered").describe()
        assert (
            description.typed_search_attributes.get(SearchAttributeKey.for_keyword("Team"))
            == "blue"
        )


@pytest.mark.parametrize(
    ("taken", "setting"),
    [(0, "CLOUDSWEEP_TEMPORAL_PORT"), (1, "CLOUDSWEEP_TEMPORAL_UI_PORT")],
)
async def test_a_port_in_use_names_the_setting_to_change(
    tmp_path: Path, taken: int, setting: str
) -> None:
    ports = free_ports(2)
    with (
        socket.create_server(("127.0.0.1", ports[taken])),
        pytest.raises(StackFailed, match=f"127.0.0.1:{ports[taken]}") as caught,
    ):
        async with running_temporal(
            tmp_path, port=ports[0], ui_port=ports[1], search_attributes={}
        ):
            pass
    assert caught.value.fix and setting in caught.value.fix
