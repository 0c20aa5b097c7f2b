"""One full demo cloud with its Steampipe stand-in, for all tests that do not change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from tests.support.cloud import RunningCloud, demo_cloud
from tests.support.steampipe import SteampipeServer, running_steampipe


class Demo(NamedTuple):
    """The demo as it is after `make demo`."""

    cloud: RunningCloud
    steampipe: SteampipeServer


@pytest.fixture(scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    async with running_steampipe(tmp_path_factory.mktemp("demo")) as steampipe:
        with demo_cloud(steampipe=steampipe.admin_url) as cloud:
            yield Demo(cloud, steampipe)
