"""The Steampipe adapter: which connection is an account's, and what its tables hold.

Steampipe speaks PostgreSQL's protocol; each of its connections is a schema, its tables are foreign
tables. Facts that shape this file:
- A schema refresh recreates tables, so prepared statements must not be cached.
- An aggregator raises the errors of all accounts it spans, so each table is read per connection.
- Its cache is shared by all clients and minutes old, so it is turned off for our sessions.
- A hung plugin may ignore `statement_timeout`, so every fetch is bounded on our side as well, and
  a session that does not answer is abandoned.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import asyncpg

from contracts.errors import ScopeInvalid, TargetUnreachable
from contracts.observations import ObservedResource
from contracts.vocabulary import Provider
from runtime.redaction import redact
from scanners.steampipe.steampipe_rows import observe
from scanners.steampipe.steampipe_tables import CATALOGUE, GLOBAL, TableSpec

__all__ = ["TableRead", "TableSpec", "find_connection", "read_tables", "table_groups"]

CONNECT_SECONDS: Final = 15.0
TABLE_SECONDS: Final = 300.0
"""How long one table may take in all; a busy account's slowest tables need a minute or two."""
GRACE_SECONDS: Final = 5.0
"""The server's own timeout should speak first: its error leaves the session usable."""
READY_SECONDS: Final = 60.0
_BUSY_STATES: Final = frozenset({"pending", "incomplete", "updating"})
_ERROR_LIMIT: Final = 1_000

_START_FIX: Final = (
    "Start it with `steampipe service start --database-listen network` and check "
    "CLOUDSWEEP_STEAMPIPE_URL (postgresql://steampipe:<password>@<host>:9193/steampipe)."
)

# Who a connection belongs to: (table, column) with the account's own id.
_IDENTITY: Final[dict[Provider, tuple[str, str]]] = {
    Provider.AWS: ("aws_account", "account_id"),
    Provider.AZURE: ("azure_subscription", "subscription_id"),
    Provider.GCP: ("gcp_project", "project_id"),
    Provider.KUBERNETES: ("kubernetes_namespace", "context_name"),
}


# Where an account was found last; a hint that is always checked before it is used.
_found: dict[tuple[str, Provider, str], str] = {}


class TableRead(NamedTuple):
    """How reading one table ended: completely, or with an error that is safe to show."""

    table: str
    type: str
    rows: int
    error: str | None


class _Connection(NamedTuple):
    name: str
    state: str
    error: str | None


def table_groups(provider: Provider) -> dict[str, list[TableSpec]]:
    """The provider's inventory tables in groups that can be read side by side."""
    return CATALOGUE[provider]


async def find_connection(
    url: str,
    provider: Provider,
    account_uid: str | None,
    *,
    name: str | None = None,
    ready_seconds: float = READY_SECONDS,
) -> str:
    """The Steampipe connection that reads this account; `name` settles it without looking.

    Waits up to `ready_seconds` for connections that are still loading. Raises ScopeInvalid when no
    connection can read the account, TargetUnreachable when Steampipe does not answer or is not
    ready yet.
    """
    if account_uid is None and name is None:
        raise ScopeInvalid(
            "The id of the account is not known yet.",
            field="account_id",
            fix="Check the account's credentials once: that learns its id.",
        )
    key = (url, provider, str(account_uid))
    async with _session(url, CONNECT_SECONDS) as session:
        waited = 0
        strangers: set[str] = set()
        while True:
            connections = await _connections(session, provider)
            if name is not None:
                connections = [c for c in connections if c.name == name]
            ready = [c.name for c in connections if c.state == "ready"]
            if name in ready:
                return str(name)
            if name is None:
                # Many accounts are many connections: begin with the one that it was, or may be.
                ready.sort(key=lambda c: (c != _found.get(key), str(account_uid) not in c, c))
                for candidate in ready:
                    if candidate in strangers:
                        continue
                    if await _belongs_to(session, candidate, provider) == account_uid:
                        _found[key] = candidate
                        return candidate
                    strangers.add(candidate)
            if waited >= ready_seconds or not any(c.state in _BUSY_STATES for c in connections):
                break
            await asyncio.sleep(1)
            waited += 1
    raise _no_connection(provider, account_uid, name, connections)


async def read_tables(
    url: str,
    connection: str,
    specs: Sequence[TableSpec],
    *,
    regions: Sequence[str] | None = None,
    batch_rows: int = 1000,
    table_seconds: float = TABLE_SECONDS,
) -> AsyncGenerator[list[ObservedResource] | TableRead, None]:
    """Read the tables one after the other: batches of resources, then one TableRead a table.

    With `regions`, resources elsewhere are left out, those of no region are not. A table that
    fails, hangs or does not exist fails alone. Raises TargetUnreachable when Steampipe goes away.
    No resource comes twice from one table. Close the generator (`aclosing`) to end early.
    """
    wanted = None if regions is None else frozenset((*regions, GLOBAL))
    remaining = list(specs)
    while remaining:
        async with _session(url, table_seconds) as session:
            while remaining and not session.is_closed():  # closed: a table hung, start afresh
                spec = remaining.pop(0)
                seen: set[str] = set()
                nameless = total = 0
                error = None
                reading = _records(session, connection, spec, wanted, batch_rows, table_seconds)
                try:
                    async with aclosing(reading) as batches:
                        async for records in batches:
                            total += len(records)
                            batch: list[ObservedResource] = []
                            for record in records:
                                resource = observe(spec, record)
                                if resource is None:
                                    nameless += 1
                                elif resource.uid not in seen and _within(resource, wanted):
                                    seen.add(resource.uid)
                                    batch.append(resource)
                            if batch:
                                yield batch
                except _TableFailed as failure:
                    error = str(failure)
                if error is None and nameless:
                    error = f"{nameless} of {total} rows have no id."
                yield TableRead(spec.table, spec.type, len(seen), error)


class _TableFailed(Exception):
    """One table cannot be read; the text is safe to show."""


def _within(resource: ObservedResource, wanted: frozenset[str] | None) -> bool:
    return wanted is None or resource.region in wanted


async def _records(
    session: asyncpg.Connection,
    connection: str,
    spec: TableSpec,
    wanted: frozenset[str] | None,
    batch_rows: int,
    seconds: float,
) -> AsyncGenerator[list[asyncpg.Record], None]:
    """Rows in batches through a server-side cursor, so that no big table is ever in memory.

    The time counts only while we wait for Steampipe, not while the caller handles a batch.
    """
    left = seconds + GRACE_SECONDS
    clock = asyncio.get_running_loop().time
    try:
        await session.execute("begin read only", timeout=GRACE_SECONDS)
        query, arguments = await _query(session, connection, spec, wanted)
        started = clock()
        cursor = await session.cursor(query, *arguments, timeout=left)
        left -= clock() - started
        while True:
            started = clock()
            records = await cursor.fetch(batch_rows, timeout=left)
            left = max(0.01, left - (clock() - started))
            if not records:
                break
            yield records
    except asyncpg.QueryCanceledError:
        raise _TableFailed(f"Gave no answer within {seconds:.0f} s; try again later.") from None
    except TimeoutError:
        # The plugin ignores even a cancel request: leave the session to its fate.
        session.terminate()
        raise _TableFailed(
            f"Gave no answer within {seconds:.0f} s and did not let itself be stopped."
        ) from None
    except (asyncpg.PostgresConnectionError, asyncpg.CrashShutdownError, asyncpg.AdminShutdownError,
            asyncpg.InterfaceError, OSError) as lost:  # fmt: skip
        raise TargetUnreachable(
            f"Steampipe went away while {spec.table} was read: {_safe(lost)}", fix=_START_FIX
        ) from None
    except asyncpg.PostgresError as error:
        raise _TableFailed(_safe(error)) from None
    finally:
        if not session.is_closed():
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await session.execute("rollback", timeout=GRACE_SECONDS)


async def _query(
    session: asyncpg.Connection, connection: str, spec: TableSpec, wanted: frozenset[str] | None
) -> tuple[str, list[Any]]:
    """The query for one table, of the columns that this version of the plugin has."""
    columns = await session.fetch(
        """
        select a.attname from pg_catalog.pg_attribute a
        join pg_catalog.pg_class c on c.oid = a.attrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('f', 'r', 'v')
          and a.attnum > 0 and not a.attisdropped
        """,
        connection,
        spec.table,
        timeout=CONNECT_SECONDS,
    )
    has = {row["attname"] for row in columns}
    if not has:
        raise _TableFailed("This version of the Steampipe plugin has no such table.")
    asked = ("akas", spec.uid, spec.name, spec.region, spec.tags, *spec.attributes)
    chosen = [column for column in dict.fromkeys(asked) if column is not None and column in has]
    if not has & {"akas", spec.uid}:
        raise _TableFailed(f"The table has neither {spec.uid} nor akas: nothing names its rows.")
    conditions, arguments = [], []
    if spec.where:
        conditions.append(spec.where)
    if wanted is not None and spec.region == "region" and "region" in has:
        # Plugins ask only the regions that a query names.
        conditions.append('"region" = any($1::text[])')
        arguments.append(sorted(wanted))
    where = f" where {' and '.join(conditions)}" if conditions else ""
    source = f"{_quoted(connection)}.{_quoted(spec.table)}"
    # Names are quoted, conditions are our own catalogue's.
    return f"select {', '.join(map(_quoted, chosen))} from {source}{where}", arguments  # noqa: S608


@asynccontextmanager
async def _session(url: str, statement_seconds: float) -> AsyncIterator[asyncpg.Connection]:
    """A session without statement cache and without Steampipe's result cache."""
    try:
        session = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "cloudsweep"},
        )
    except (OSError, TimeoutError) as error:
        raise TargetUnreachable(
            f"Steampipe does not answer: {_safe(error)}", fix=_START_FIX
        ) from None
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise TargetUnreachable(
            f"Steampipe refuses the user or the password: {_safe(error)}",
            fix="Take the password from `steampipe service status --show-password`.",
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise TargetUnreachable(
            f"Steampipe cannot be used: {_safe(error)}", fix=_START_FIX
        ) from None
    try:
        for kind in ("json", "jsonb"):
            await session.set_type_codec(
                kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads
            )
        await session.execute(f"set statement_timeout = {int(statement_seconds * 1000)}")
        with suppress(asyncpg.PostgresError):  # versions without this function have no such cache
            await session.execute("select from steampipe_internal.meta_cache('off')")
        yield session
    finally:
        if not session.is_closed():
            try:
                await session.close(timeout=GRACE_SECONDS)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                session.terminate()


async def _connections(session: asyncpg.Connection, provider: Provider) -> list[_Connection]:
    """The provider's connections, aggregators left out."""
    try:
        rows = await session.fetch(
            "select name, state, type, plugin, error "
            "from steampipe_internal.steampipe_connection order by name",
            timeout=CONNECT_SECONDS,
        )
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        raise TargetUnreachable(
            "CLOUDSWEEP_STEAMPIPE_URL leads to a PostgreSQL that is not Steampipe.", fix=_START_FIX
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise TargetUnreachable(
            f"Steampipe does not tell its connections: {_safe(error)}", fix=_START_FIX
        ) from None
    return [
        _Connection(row["name"], row["state"], row["error"])
        for row in rows
        if _plugin(row["plugin"]) == provider and row["type"] != "aggregator"
    ]


def _plugin(image: str | None) -> str:
    """`hub.steampipe.io/plugins/turbot/aws@latest` is `aws`."""
    return (image or "").rpartition("/")[2].partition("@")[0]


async def _belongs_to(
    session: asyncpg.Connection, connection: str, provider: Provider
) -> str | None:
    """The account that a connection reads; None when it cannot say."""
    table, column = _IDENTITY[provider]
    query = f"select {_quoted(column)} from {_quoted(connection)}.{_quoted(table)} limit 1"  # noqa: S608 (quoted)
    try:
        identity = await session.fetchval(query, timeout=CONNECT_SECONDS + GRACE_SECONDS)
    except asyncpg.PostgresError:
        return None  # its credentials fail: another connection may still be the account's
    except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise TargetUnreachable(
            f"Steampipe's connection {connection} does not answer: {_safe(error)}", fix=_START_FIX
        ) from None
    return None if identity is None else str(identity)


def _no_connection(
    provider: Provider, account_uid: str | None, name: str | None, connections: list[_Connection]
) -> ScopeInvalid | TargetUnreachable:
    busy = sorted(c.name for c in connections if c.state in _BUSY_STATES)
    if busy:
        return TargetUnreachable(
            f"Steampipe is still loading {', '.join(busy)}.",
            fix="Wait until `steampipe_internal.steampipe_connection` shows them as ready.",
        )
    broken = "; ".join(
        f"{c.name} is {c.state}" + (f" ({redact(c.error, limit=300)})" if c.error else "")
        for c in connections
        if c.state != "ready"
    )
    subject = f"named {name}" if name else f"for {provider} account {account_uid}"
    return ScopeInvalid(
        f"Steampipe has no usable connection {subject}." + (f" {broken}." if broken else ""),
        field="account_id",
        fix=f"Add a connection with this account's credentials to "
        f"~/.steampipe/config/{provider}.spc and restart Steampipe, or scan with "
        f"discovery switched off.",
    )


def _quoted(identifier: str) -> str:
    escaped = identifier.replace('"', '""')
    return f'"{escaped}"'


def _safe(error: BaseException) -> str:
    """The error in one line that may be shown: Steampipe's texts quote requests."""
    text = " ".join(str(error).split()) or type(error).__name__
    return redact(text, limit=_ERROR_LIMIT)
