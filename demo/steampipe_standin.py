"""A stand-in for Steampipe: the demo cloud's inventory behind Steampipe's tables.

This is NOT Steampipe, and its server settings say so. Steampipe cannot be had from a package
registry, so the demo and the tests speak to a real PostgreSQL that looks like one from outside:
database and read-only role `steampipe`, the tables of `steampipe_internal`, one schema for each
connection whose tables have the AWS plugin's names, columns and types. What it does not do: it
holds copies instead of asking the cloud at every query; `fill` renews them.

A demo cloud fills it by itself (`python -m demo.serve --steampipe URL`), which takes two seconds;
`python -m demo.steampipe_standin --database URL --cloud URL` fills it from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from demo import cloud
from demo.aws_session import isolated_session
from demo.steampipe_standin_rows import TYPES, ClientOf, TableRows, columns_of, read_everything
from demo.steampipe_standin_tables import SOURCES

NAME: Final = "steampipe"
PLUGIN: Final = "hub.steampipe.io/plugins/turbot/aws@latest"
CONNECTIONS: Final = {cloud.PRODUCTION: "acme_production", cloud.SANDBOX: "acme_sandbox"}
_LOCK: Final = 0x5EA3
_BOOTSTRAP: Final = """
create schema if not exists steampipe_internal;

create table if not exists steampipe_internal.steampipe_connection (
    name text primary key, state text, type text, connections text[], import_schema text,
    error text, plugin text, plugin_instance text, schema_mode text, schema_hash text,
    comments_set boolean default false, connection_mod_time timestamptz,
    plugin_mod_time timestamptz, file_name text, start_line_number integer,
    end_line_number integer
);
create table if not exists steampipe_internal.steampipe_server_settings (
    start_time timestamptz not null, steampipe_version text not null, fdw_version text not null,
    cache_max_ttl integer not null, cache_max_size_mb integer not null,
    cache_enabled boolean not null
);
create table if not exists steampipe_internal.steampipe_plugin_column (
    plugin text not null, table_name text not null, name text not null, type text not null,
    description text, list_config jsonb, get_config jsonb, hydrate_name text, default_value jsonb
);
create table if not exists steampipe_internal.steampipe_settings (name text, value text);

create or replace function steampipe_internal.meta_cache(command text) returns void
language plpgsql security definer as $$
begin
    if command = 'on' then
        insert into steampipe_internal.steampipe_settings values ('cache', 'true');
    elsif command = 'off' then
        insert into steampipe_internal.steampipe_settings values ('cache', 'false');
    elsif command = 'clear' then
        insert into steampipe_internal.steampipe_settings values ('cache_clear_time', '');
    else
        raise exception 'Unknown value % for set_cache - valid values are on, off and clear.', $1;
    end if;
end $$;

-- What a foreign table of Steampipe does when its plugin fails.
create or replace function steampipe_internal.fail(message text) returns text
language plpgsql stable as $$
begin
    raise exception using errcode = 'HV000', message = message;
end $$;

grant usage on schema steampipe_internal to steampipe;
grant select on all tables in schema steampipe_internal to steampipe;
truncate steampipe_internal.steampipe_server_settings;
insert into steampipe_internal.steampipe_server_settings
    values (now(), 'stand-in (not Steampipe)', 'stand-in (not Steampipe)', 300, 1024, true);
"""


def steampipe_url(admin_url: str) -> str:
    """Where clients find the stand-in that lies on the same server as `admin_url`."""
    parts = urlsplit(admin_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{NAME}@{place}", path=f"/{NAME}"))


async def prepare(admin_url: str, *, password: str | None = None, wait_seconds: float = 0) -> str:
    """Make database, role and internal tables unless they exist; answers the stand-in's URL.

    `admin_url` is a superuser's. `password` is for servers that ask for one over TCP. Waits up to
    `wait_seconds` for a server that is only starting.
    """
    server = await _reach(admin_url, wait_seconds)
    try:
        if not await server.fetchval("select 1 from pg_roles where rolname = $1", NAME):
            await _unless_there(server, f"create role {NAME} login")
        if password is not None:
            quoted = password.replace("'", "''")
            await server.execute(f"alter role {NAME} password '{quoted}'")
        if not await server.fetchval("select 1 from pg_database where datname = $1", NAME):
            await _unless_there(server, f"create database {NAME}")
    finally:
        await server.close()
    inside = await connect(admin_url)
    try:
        async with inside.transaction():
            await inside.execute("select pg_advisory_xact_lock($1)", _LOCK)
            await inside.execute(_BOOTSTRAP)
    finally:
        await inside.close()
    return steampipe_url(admin_url)


async def fill(
    admin_url: str,
    clients_of: Callable[[str], ClientOf],
    *,
    regions: Sequence[str] = cloud.REGIONS,
) -> int:
    """Copy what the demo cloud's accounts hold now; answers the number of rows.

    `clients_of` gives the boto3 clients of an account. Each connection changes at once, and only
    when its account could be read. Idempotent.
    """
    total = 0
    for account_uid, connection in CONNECTIONS.items():
        client_of = clients_of(account_uid)
        # Fails here when there is no cloud, rather than once in every table.
        await asyncio.to_thread(client_of("sts", cloud.HOME_REGION).get_caller_identity)
        tables = await asyncio.to_thread(
            lambda *given: list(read_everything(*given)),
            connection,
            account_uid,
            regions,
            client_of,
        )
        total += sum(len(table.rows) for table in tables)
        await write_connection(admin_url, connection, tables)
    return total


def over_http(endpoint_url: str) -> Callable[[str], ClientOf]:
    """The clients of a demo cloud that serves at `endpoint_url`."""

    def clients_of(account_uid: str) -> ClientOf:
        session = isolated_session(cloud.ACCESS_KEY_ID, cloud.SECRET_ACCESS_KEY)
        if account_uid == cloud.SANDBOX:
            sts = session.client("sts", region_name=cloud.HOME_REGION, endpoint_url=endpoint_url)
            assumed = sts.assume_role(RoleArn=cloud.SANDBOX_ROLE, RoleSessionName=NAME)
            given = assumed["Credentials"]
            session = isolated_session(
                given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
            )
        return lambda service, region: session.client(
            service, region_name=region, endpoint_url=endpoint_url
        )

    return clients_of


async def write_connection(
    admin_url: str, connection: str, tables: Iterable[TableRows], *, plugin: str = PLUGIN
) -> None:
    """Replace a connection's schema and mark it ready, in one transaction."""
    session = await connect(admin_url)
    try:
        async with session.transaction():
            await session.execute("select pg_advisory_xact_lock($1)", _LOCK)
            await session.execute(
                f"drop schema if exists {connection} cascade; create schema {connection}; "
                f"grant usage on schema {connection} to {NAME}"
            )
            for table in tables:
                await _write_table(session, connection, table)
            await session.execute(f"grant select on all tables in schema {connection} to {NAME}")
            await set_state(session, connection, "ready", plugin=plugin)
            await _describe_columns(session, plugin)
    finally:
        await session.close()


async def set_state(
    session: asyncpg.Connection,
    connection: str,
    state: str,
    *,
    error: str | None = None,
    kind: str = "plugin",
    plugin: str = PLUGIN,
) -> None:
    """Write a connection's line in `steampipe_internal.steampipe_connection`."""
    await session.execute(
        """
        insert into steampipe_internal.steampipe_connection
            (name, state, type, import_schema, error, plugin, plugin_instance, schema_mode,
             connection_mod_time, plugin_mod_time, file_name, start_line_number, end_line_number)
        values ($1, $2, $3, 'enabled', $4, $5, 'aws', 'static', $6, $6,
                '/home/steampipe/.steampipe/config/aws.spc', 1, 4)
        on conflict (name) do update set state = $2, type = $3, error = $4, plugin = $5,
            connection_mod_time = $6
        """,
        connection,
        state,
        kind,
        error,
        plugin,
        datetime.now(UTC),
    )


async def _write_table(session: asyncpg.Connection, connection: str, table: TableRows) -> None:
    columns = ", ".join(f'"{name}" {TYPES.get(name, "text")}' for name in table.columns)
    if table.error is None:
        await session.execute(f'create table {connection}."{table.table}" ({columns})')
        await session.copy_records_to_table(
            table.table, schema_name=connection, columns=table.columns, records=table.rows
        )
        return
    # The plugin of the real one fails when it is asked, not before.
    message = f"rpc error: code = Internal desc = {table.error}".replace("'", "''")
    failing = ", ".join(f'null::{TYPES.get(name, "text")} as "{name}"' for name in table.columns)
    await session.execute(
        f'create view {connection}."{table.table}" as select {failing} '
        f"where steampipe_internal.fail('{message}') is not null"
    )


async def _describe_columns(session: asyncpg.Connection, plugin: str) -> None:
    await session.execute(
        "delete from steampipe_internal.steampipe_plugin_column where plugin = $1", plugin
    )
    await session.copy_records_to_table(
        "steampipe_plugin_column",
        schema_name="steampipe_internal",
        columns=("plugin", "table_name", "name", "type"),
        records=[
            (plugin, source.table, name, TYPES.get(name, "text"))
            for source in SOURCES
            for name in columns_of(source)
        ],
    )


async def connect(admin_url: str) -> asyncpg.Connection:
    """A superuser's session in the stand-in's database."""
    return await asyncpg.connect(urlunsplit(urlsplit(admin_url)._replace(path=f"/{NAME}")))


async def _reach(admin_url: str, wait_seconds: float) -> asyncpg.Connection:
    for _ in range(int(wait_seconds * 5)):
        with suppress(OSError, asyncpg.CannotConnectNowError, asyncpg.InvalidCatalogNameError):
            return await asyncpg.connect(admin_url)
        await asyncio.sleep(0.2)
    return await asyncpg.connect(admin_url)


async def _unless_there(session: asyncpg.Connection, statement: str) -> None:
    # Another stand-in may be quicker, and the catalogue then objects in one of these ways.
    with suppress(
        asyncpg.DuplicateObjectError, asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError
    ):
        await session.execute(statement)


async def _run(options: argparse.Namespace) -> None:
    url = await prepare(options.database)
    rows = await fill(options.database, over_http(options.cloud))
    sys.stdout.write(f"ready {url} ({rows} rows)\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    """Fill the stand-in with what a demo cloud holds now."""
    parser = argparse.ArgumentParser(prog="python -m demo.steampipe_standin", description=__doc__)
    parser.add_argument("--database", required=True, help="PostgreSQL, as a superuser")
    parser.add_argument("--cloud", default="http://127.0.0.1:5000", help="the demo cloud's URL")
    options = parser.parse_args(arguments)
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
