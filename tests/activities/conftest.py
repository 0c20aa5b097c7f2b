"""A store of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from tests.storage.lab import Lab, make_lab


@pytest.fixture
async def lab(database_url: str) -> AsyncIterator[Lab]:
    """An account to scan."""
    database = Database.open(database_url, pool_size=5)
    yield await make_lab(database)
    await database.close()
