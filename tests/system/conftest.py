"""One stack and one demo cloud for all tests of the whole product; accounts are each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from demo import cloud
from tests.support.cloud import RunningCloud, demo_cloud
from tests.support.system import Row, System, running_system


@pytest.fixture(scope="session")
def acme() -> Iterator[RunningCloud]:
    """The demo cloud with everything in it."""
    with demo_cloud() as running:
        yield running


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Row:
    """A reference to the demo cloud's key, in a secret file."""
    path = tmp_path_factory.mktemp("secrets") / "credentials"
    path.write_text(
        f"[default]\naws_access_key_id={cloud.ACCESS_KEY_ID}\n"
        f"aws_secret_access_key={cloud.SECRET_ACCESS_KEY}\n"
    )
    return {"kind": "file", "path": str(path)}


@pytest.fixture(scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A stack that runs for all tests here; what a test kills comes back by itself."""
    async with running_system(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def name() -> str:
    """A name for an account of this test's own."""
    return f"account-{uuid4().hex[:8]}"


AddAccount = Callable[..., str]


@pytest.fixture
async def account(
    system: System, acme: RunningCloud, credentials: Row, name: str, tmp_path: Path
) -> str:
    """The demo cloud's production account in two regions, as an account of this test's own."""
    return await system.add_account(name, acme.url, credentials, regions=["us-east-1", "eu-west-1"])
