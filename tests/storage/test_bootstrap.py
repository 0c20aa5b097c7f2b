"""The first admin key: file and row agree, whenever the process was killed."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from storage import bootstrap, keys
from storage.bootstrap import ensure_admin_key, migrate
from storage.database import Database
from tests.storage.lab import at_once


@pytest.fixture
async def empty(database: Database) -> Database:
    """Migrated, but nobody has a key yet."""
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM api_key"))
    return database


async def _opens(database: Database, path: Path) -> bool:
    secret = await asyncio.to_thread(path.read_text)
    async with database.transaction() as session:
        return await keys.authenticate(session, secret.strip(), at=datetime.now(UTC)) is not None


async def _active(database: Database) -> int:
    async with database.transaction() as session:
        counted = await session.execute(
            text("SELECT count(*) FROM api_key WHERE revoked_at IS NULL")
        )
        return int(counted.scalar_one())


async def test_the_first_key_lies_in_a_file_that_only_its_owner_reads(
    empty: Database, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "admin.key"
    made = await ensure_admin_key(empty, path)
    assert made == path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["admin.key"]
    assert await _opens(empty, path)
    assert await ensure_admin_key(empty, path) is None
    assert await _active(empty) == 1


async def test_two_at_once_make_one_key(empty: Database, tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    made = await at_once(*(ensure_admin_key(empty, path) for _ in range(4)))
    assert sorted(each is not None for each in made) == [False, False, False, True]
    assert await _opens(empty, path)
    assert await _active(empty) == 1


async def test_killed_between_file_and_row_the_next_start_adds_the_row(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "admin.key"

    async def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keys, "store_key", killed)
        with pytest.raises(KeyboardInterrupt):
            await ensure_admin_key(empty, path)
    secret = path.read_text().strip()
    assert await _active(empty) == 0
    assert await ensure_admin_key(empty, path) == secret
    assert await _opens(empty, path)


async def test_killed_while_writing_the_file_nothing_half_written_counts(
    empty: Database, tmp_path: Path
) -> None:
    path = tmp_path / "admin.key"
    path.write_text("csk_half")
    assert await ensure_admin_key(empty, path) == path.read_text().strip() != "csk_half"
    assert await _opens(empty, path)


async def test_a_lost_file_is_replaced_only_where_the_data_directory_is_ours(
    empty: Database, tmp_path: Path
) -> None:
    path = tmp_path / "admin.key"
    old = await ensure_admin_key(empty, path)
    path.unlink()
    assert await ensure_admin_key(empty, path) is None
    assert not path.exists()
    assert await ensure_admin_key(empty, path, replace_lost=True) not in (None, old)
    assert await _opens(empty, path)
    assert await _active(empty) == 1


async def test_a_key_that_was_revoked_on_purpose_stays_revoked(
    empty: Database, tmp_path: Path
) -> None:
    path = tmp_path / "admin.key"
    await ensure_admin_key(empty, path)
    async with empty.transaction() as session:
        await session.execute(text("UPDATE api_key SET revoked_at = now()"))
    assert await ensure_admin_key(empty, path, replace_lost=True) is None
    assert not await _opens(empty, path)


async def _command(url: str, data_dir: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storage.bootstrap"),
        env={**os.environ, "CLOUDSWEEP_DATABASE_URL": url, "CLOUDSWEEP_DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_run_twice_at_once_and_again_leaves_one_key(
    empty: Database, database_url: str, tmp_path: Path
) -> None:
    async with empty.transaction() as session:
        await session.execute(text("DROP SCHEMA public CASCADE"))
        await session.execute(text("CREATE SCHEMA public"))
    outcomes = await asyncio.gather(*(_command(database_url, tmp_path) for _ in range(2)))
    outcomes.append(await _command(database_url, tmp_path))
    assert [code for code, _ in outcomes] == [0, 0, 0], outcomes
    secret = (tmp_path / "admin.key").read_text().strip()
    assert all(secret not in output for _, output in outcomes)
    assert await _opens(empty, tmp_path / "admin.key")
    assert await _active(empty) == 1
    await migrate(database_url)


async def test_the_command_says_what_is_wrong_and_the_fix(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(bootstrap, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("CLOUDSWEEP_DATABASE_URL", "postgresql://me:secret@/x?host=/tmp/nowhere")
    monkeypatch.setenv("CLOUDSWEEP_DATA_DIR", str(tmp_path))
    bootstrap.get_settings.cache_clear()
    assert await asyncio.to_thread(bootstrap.main) == 1
    bootstrap.get_settings.cache_clear()
    said = capsys.readouterr().err
    assert "PostgreSQL cannot be used: it cannot be reached." in said
    assert "CLOUDSWEEP_DATABASE_URL" in said
    assert "secret" not in said
    assert "Traceback" not in said
