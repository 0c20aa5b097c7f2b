"""A cycle that stands still at a named place, to be killed there: run as a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.testing import ActivityEnvironment

from activities.retention import RetentionActivities
from contracts.retention import RetentionStep
from storage.database import Database
from storage.retention import retention, retention_policies

PLACES = {
    "file without its name": (Path, "rename"),
    "archived": (retention, "delete"),
    "deleted, not committed": (retention_policies, "count_deleted"),
}
"""What is about to be called when the process stands still."""


def hang(*arguments: Any, **more: Any) -> None:
    """Stand still, until killed."""
    print("reached", flush=True)  # noqa: T201 (to the test)
    time.sleep(600)


async def main(place: str, url: str, team_id: str, at: str, directory: str) -> None:
    """Delete what is old of a team, up to this place."""
    module, name = PLACES[place]
    setattr(module, name, hang)
    step = RetentionStep(
        cycle=UUID(int=1), team_id=UUID(team_id), at=datetime.fromisoformat(at), limit=100
    )
    activities = RetentionActivities(Database.open(url), Path(directory))
    await ActivityEnvironment().run(activities.delete_old, step)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
