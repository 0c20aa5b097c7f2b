"""A store of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from tests.storage.lab import Lab, make_lab


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def lab(database: Database) -> Lab:
    """An account to scan."""
    return await make_lab(database)
