"""Connections to PostgreSQL, and the one place that knows what a lost connection looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, cast

import asyncpg
from asyncpg.exceptions import PostgresError
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)

from contracts.errors import DatabaseUnavailable

CONNECT_SECONDS: Final = 10.0
POOL_WAIT_SECONDS: Final = 10.0

SESSION_SETTINGS: Final = {
    "application_name": "cloudsweep",
    "timezone": "UTC",
    # Filters differ so much in how many rows they match that a plan for one is wrong for the next.
    "plan_cache_mode": "force_custom_plan",
    # Compiling a query of a few milliseconds costs more than running it.
    "jit": "off",
    # Starting parallel workers takes longer than most of our queries.
    "parallel_setup_cost": "10000",
}

REASONS: Final = {
    "08": "the connection was lost",
    "28": "it refuses the user or the password",
    "3D": "the database does not exist",
    "40": "concurrent changes were in each other's way",
    "53": "it is short of connections, memory or disk space",
    "55P03": "others hold what is needed for too long",
    "57014": "a statement took longer than it may",
    "57P": "it is starting or shutting down",
    "25006": "it is read-only",
}
"""Why PostgreSQL cannot do now what it could do later, by the beginning of the SQLSTATE."""

FIX: Final = "Start it (`cloudsweep up`), or check CLOUDSWEEP_DATABASE_URL. Then repeat the call."


def open_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """A pool of connections with our session settings; connects at the first use."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        hide_parameters=True,
        connect_args={"timeout": CONNECT_SECONDS, "server_settings": SESSION_SETTINGS},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(pooled: Any, record: object, proxy: object) -> None:
    """After a restart of PostgreSQL nobody meets a dead connection: all are made anew.

    The event loop has heard of the end by then. SQLAlchemy's own ping asks PostgreSQL, three round
    trips a transaction.
    """
    if pooled.driver_connection.is_closed():
        raise InvalidatePoolError


class Database:
    """A pool of connections to one database.

    Whatever keeps PostgreSQL from working now and may pass (not reached, lost, restarting, full)
    is raised as DatabaseUnavailable, in our own words.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, *, pool_size: int = 10) -> Database:
        """A pool for a `postgresql://` URL; connects at the first use."""
        return cls(open_engine(url, pool_size=pool_size))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction, READ COMMITTED: commits at the end, rolls back on any error."""
        with _translated():  # around the end of the session, too: a rollback may find it lost
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                with _translated(connecting=True):
                    connection = await session.connection()
                with _translated(await _driver(connection)):
                    yield session
                    await session.commit()

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A raw asyncpg connection in a transaction of its own, for COPY."""
        with _translated(connecting=True):
            connection = await self._engine.connect()
        with _translated():
            try:
                raw = await _driver(connection)
                with _translated(raw):
                    async with raw.transaction():
                        yield raw
            finally:
                await connection.close()

    async def ping(self) -> None:
        """Returns if PostgreSQL answers, else raises DatabaseUnavailable."""
        async with self.transaction() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self._engine.dispose()


async def _driver(connection: AsyncConnection) -> asyncpg.Connection[Any]:
    pooled = await connection.get_raw_connection()
    return cast("asyncpg.Connection[Any]", pooled.driver_connection)


@contextmanager
def _translated(
    raw: asyncpg.Connection[Any] | None = None, *, connecting: bool = False
) -> Iterator[None]:
    """Errors of PostgreSQL and of the connection; any other stays, unless `raw` was lost with it.

    That a ConnectionError came out says nothing: the caller may talk to others meanwhile.
    """
    try:
        yield
    except Exception as error:
        reason = _why_unavailable(error, connecting=connecting)
        if reason is None and raw is not None and raw.is_closed():
            reason = REASONS["08"]
        if reason is None or isinstance(error, DatabaseUnavailable):
            raise
        raise DatabaseUnavailable(f"PostgreSQL cannot be used: {reason}.", fix=FIX) from error


def _why_unavailable(error: Exception, *, connecting: bool) -> str | None:
    """None for errors that are ours: they stay what they are."""
    match error:
        case DBAPIError(connection_invalidated=True):
            return REASONS["08"]
        case DBAPIError(orig=cause):
            state = getattr(cause, "sqlstate", None)
        case PostgresError(sqlstate=state):
            pass
        case PoolTimeout():
            return "every connection of this process is in use"
        case OSError() if connecting:  # a TimeoutError is one, too
            return "it cannot be reached"
        case _:
            return None
    return next((words for code, words in REASONS.items() if (state or "").startswith(code)), None)
