"""Whatever keeps PostgreSQL from working is one error, in our own words."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from contracts.errors import DatabaseUnavailable
from storage.database import Database
from tests.support.ports import free_ports
from tests.support.waiting import until


async def _end(database_url: str, pid: int) -> None:
    other = await asyncpg.connect(database_url)
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1"
    await until(lambda: other.fetchval(gone, pid))
    await other.close()


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(
    database: Database,
) -> None:
    async with database.transaction() as session:
        await session.execute(text("INSERT INTO team (name) VALUES ('kept')"))
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO team (name) VALUES ('dropped')"))
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        async with database.copying() as c:
            await c.execute("INSERT INTO team (name) VALUES ('dropped')")
            raise ZeroDivisionError
    async with database.copying() as c:
        names = {row["name"] for row in await c.fetch("SELECT name FROM team")}
    assert names >= {"kept"}
    assert "dropped" not in names


async def test_the_session_speaks_utc_and_plans_each_query_for_its_values(
    database: Database,
) -> None:
    async with database.transaction() as session:
        for name, value in (("timezone", "UTC"), ("plan_cache_mode", "force_custom_plan")):
            assert (await session.execute(text(f"SHOW {name}"))).scalar_one() == value


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:{port}/none",
        "postgresql://me:secret@/none?host=/tmp/no-such-directory",
        "postgresql://me:secret@no-such-host.invalid/none",
    ],
)
async def test_a_server_that_is_not_there_is_unavailable(url: str) -> None:
    database = Database.open(url.format(port=free_ports(1)[0]))
    with pytest.raises(DatabaseUnavailable) as raised:
        await database.ping()
    with pytest.raises(DatabaseUnavailable):
        async with database.copying():
            raise AssertionError
    await database.close()
    assert "secret" not in raised.value.message
    assert "CLOUDSWEEP_DATABASE_URL" in (raised.value.fix or "")


async def test_a_database_that_does_not_exist_is_unavailable(database_url: str) -> None:
    database = Database.open(database_url.replace("/test_", "/no_such_"))
    with pytest.raises(DatabaseUnavailable, match="the database does not exist"):
        await database.ping()
    await database.close()


async def test_a_connection_lost_in_a_transaction_is_unavailable_and_the_next_one_works(
    database: Database, database_url: str
) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await _end(database_url, pid)
            await session.execute(text("SELECT 1"))
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await _end(database_url, pid)
    with pytest.raises(DatabaseUnavailable):
        async with database.copying() as c:
            pid = await c.fetchval("SELECT pg_backend_pid()")
            await _end(database_url, pid)
            await c.fetchval("SELECT 1")
    with pytest.raises(DatabaseUnavailable):  # also where the body fails of it by itself
        async with database.transaction() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await _end(database_url, pid)
            raise ZeroDivisionError
    await database.ping()


async def test_an_idle_connection_that_was_ended_is_replaced_unnoticed(
    database: Database, database_url: str
) -> None:
    async with database.transaction() as session:
        pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    await _end(database_url, pid)
    await asyncio.sleep(0.05)
    await database.ping()


async def test_more_transactions_than_connections_wait_and_then_are_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.POOL_WAIT_SECONDS", 0.05)
    database = Database.open(database_url, pool_size=1)
    async with database.transaction():
        with pytest.raises(DatabaseUnavailable, match="in use"):
            await database.ping()
    await database.ping()
    await database.close()


async def test_a_server_without_free_connections_is_unavailable(
    database_url: str,
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        crowded = Database.open(database_url.replace("//cloudsweep@", "//crowded@"))
        with pytest.raises(DatabaseUnavailable, match="short of connections"):
            await crowded.ping()
        await crowded.close()
    finally:
        await owner.execute("DROP ROLE crowded")
        await owner.close()


async def test_our_own_mistakes_stay_what_they_are(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as raised:
        async with database.transaction() as session:
            await session.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(raised.value, DatabaseUnavailable)


@pytest.mark.parametrize("error", [FileNotFoundError, ConnectionResetError, TimeoutError])
async def test_what_fails_elsewhere_meanwhile_is_not_blamed_on_postgresql(
    database: Database, error: type[OSError]
) -> None:
    with pytest.raises(error):
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO team (name) VALUES ('dropped')"))
            raise error
    with pytest.raises(error):
        async with database.copying():
            raise error
    async with database.transaction() as session:
        kept = await session.execute(text("SELECT count(*) FROM team WHERE name = 'dropped'"))
        assert kept.scalar_one() == 0
