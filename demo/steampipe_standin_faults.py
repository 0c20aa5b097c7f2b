"""What goes wrong with a real Steampipe, done to the stand-in; for tests.

Every function takes the stand-in's admin URL and the names of a connection and a table.
"""

# ruff: noqa: S608 (the names are the callers' own, in tests)

from __future__ import annotations

import asyncpg

from demo.steampipe_standin import PLUGIN, connect, set_state


async def fail_table(admin_url: str, connection: str, table: str, message: str) -> None:
    """Reading the table raises SQLSTATE HV000 with Steampipe's wording around `message`."""
    text = f"rpc error: code = Internal desc = {connection}: {message}".replace("'", "''")
    await _replace(
        admin_url,
        connection,
        table,
        "select t.* from {original} t where steampipe_internal.fail('" + text + "') is not null",
    )


async def slow_table(admin_url: str, connection: str, table: str, seconds: float) -> None:
    """The first row takes that long; a cancel request stops it."""
    await _replace(
        admin_url,
        connection,
        table,
        f"select t.* from pg_sleep({seconds}), {{original}} t",
    )


async def costly_column(admin_url: str, connection: str, table: str, column: str) -> None:
    """A column whose value is another API call that is denied: only asking for it fails."""
    await _replace(
        admin_url,
        connection,
        table,
        f"select t.*, steampipe_internal.fail('AccessDenied: {column}') as {column} "
        "from {original} t",
    )


async def recreate_table(admin_url: str, connection: str, table: str) -> None:
    """Drop the table and make it again with the same rows, as a refresh of the schema does."""
    session = await connect(admin_url)
    try:
        async with session.transaction():
            await session.execute(
                f"create table {connection}.remade (like {connection}.{table}); "
                f"insert into {connection}.remade select * from {connection}.{table}; "
                f"drop table {connection}.{table}; "
                f"alter table {connection}.remade add column added_in_this_version text; "
                f"alter table {connection}.remade rename to {table}; "
                f"grant select on {connection}.{table} to steampipe"
            )
    finally:
        await session.close()


async def set_connection(
    admin_url: str,
    connection: str,
    state: str,
    *,
    error: str | None = None,
    kind: str = "plugin",
    plugin: str = PLUGIN,
) -> None:
    """Show a connection as pending, updating, in error, an aggregator, of another plugin."""
    session = await connect(admin_url)
    try:
        await set_state(session, connection, state, error=error, kind=kind, plugin=plugin)
    finally:
        await session.close()


async def _replace(admin_url: str, connection: str, table: str, view: str) -> None:
    session: asyncpg.Connection = await connect(admin_url)
    original = f"{connection}.original_{table}"
    try:
        async with session.transaction():
            await session.execute(
                f"alter table {connection}.{table} rename to original_{table}; "
                f"create view {connection}.{table} as {view.format(original=original)}; "
                f"grant select on {connection}.{table} to steampipe"
            )
    finally:
        await session.close()
