"""Make a database ready: wait for it, migrate it, and give it a team and an admin key.

`python -m storage.bootstrap` does all of it and may run any number of times, also at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.errors import CloudsweepError, DatabaseUnavailable, PermanentError
from contracts.keys import NewKey
from contracts.vocabulary import Role
from runtime.embedded.postgres import database_url as embedded_url
from runtime.settings import get_settings
from storage import keys
from storage.database import Database
from storage.tables import KeyRow

TEAM: Final = "default"
KEY_NAME: Final = "first admin key"
KEY_FILE: Final = "admin.key"
OLDEST: Final = 180_000
"""PostgreSQL 18: uuidv7() and RETURNING OLD came with it."""
WAIT_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.5


async def migrate(url: str) -> None:
    """Bring a database to the tables of this version; two at once are one after the other."""
    database = Database.open(url, pool_size=1)
    try:
        async with database.transaction() as session:
            await _require_version(session)
            await _lock(session, "cloudsweep migrations")
            connection = await session.connection()
            await connection.run_sync(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def ensure_admin_key(
    database: Database, path: Path, *, replace_lost: bool = False
) -> str | None:
    """The first admin key of the team `default`: its secret in `path` (0600), its hash stored.

    Returns the key if it is new, else None. The file is written first, so that a process killed in
    between leaves a secret whose row the next call adds. A file that is lost cannot be had again:
    with `replace_lost` (the data directory is ours, so whoever reads it may be admin) the old key
    is revoked and a new one made; without it nothing happens, since the file may lie on another
    machine that shares this database.
    """
    async with database.transaction() as session:
        await _lock(session, "cloudsweep first admin key")
        team_id = await keys.create_team(session, TEAM)
        secret = await asyncio.to_thread(_read, path)
        known = (
            await session.scalars(
                select(KeyRow).where(KeyRow.team_id == team_id, KeyRow.name == KEY_NAME)
            )
        ).all()
        if secret is not None and keys.hash_secret(secret) in {row.hash for row in known}:
            return None
        at = datetime.now(UTC)
        lost = [row for row in known if row.revoked_at is None]
        if lost and not replace_lost:
            return None
        for row in lost:
            row.revoked_at = at
        if secret is None:
            secret = keys.new_secret()
            await asyncio.to_thread(_write, path, secret)
        await keys.store_key(
            session, team_id, NewKey(name=KEY_NAME, role=Role.ADMIN), secret, at=at
        )
        return secret


def _read(path: Path) -> str | None:
    """The secret that lies there; None if there is no file or no whole key in it."""
    try:
        secret = path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    whole = len(keys.new_secret()) == len(secret) and secret.startswith(keys.SECRET_PREFIX)
    return secret if whole and secret.isascii() else None


def _write(path: Path, secret: str) -> None:
    """All or nothing, never readable by others, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def _lock(session: AsyncSession, name: str) -> None:
    """Only one transaction at a time past this point; let go at its end, also when it dies."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
    )


async def _require_version(session: AsyncSession) -> None:
    number = (await session.execute(text("SHOW server_version_num"))).scalar_one()
    if int(number) < OLDEST:
        raise PermanentError(
            f"PostgreSQL {int(number) // 10_000} is too old.",
            fix="Use PostgreSQL 18 or later, or leave CLOUDSWEEP_DATABASE_URL unset.",
        )


async def _wait(url: str) -> None:
    """Return once PostgreSQL answers; DatabaseUnavailable if it has not after a minute."""
    database = Database.open(url, pool_size=1)
    deadline = monotonic() + WAIT_SECONDS
    try:
        while True:
            try:
                return await database.ping()
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        await database.close()


async def bootstrap(url: str, path: Path, *, replace_lost: bool) -> str | None:
    """Wait, migrate, ensure the first admin key; returns the key if it is new."""
    await _wait(url)
    await migrate(url)
    database = Database.open(url, pool_size=1)
    try:
        return await ensure_admin_key(database, path, replace_lost=replace_lost)
    finally:
        await database.close()


def main(say: Callable[[str], object] = sys.stdout.write) -> int:
    """Exit status 0, or 1 with what is wrong and how to put it right."""
    try:
        settings = get_settings()
        path = settings.data_dir / KEY_FILE
        url = settings.require_database_url()
        ours = url == embedded_url(settings.data_dir)
        made = asyncio.run(bootstrap(url, path, replace_lost=ours))
    except CloudsweepError as error:
        sys.stderr.write(" ".join(filter(None, (error.message, error.fix))) + "\n")
        return 1
    say(
        f"The database is ready. Its first admin key is in {path}.\n"
        if made
        else "The database is ready.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
