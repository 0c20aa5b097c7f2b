"""The task queues, and how many activities of each one worker runs at a time."""

from __future__ import annotations

import os
from typing import Final

SCANS: Final = "scans"
DISCOVERY: Final = "discovery"
COMPLIANCE: Final = "compliance"
NATIVE: Final = "native"
SYNC: Final = "sync"
MAINTENANCE: Final = "maintenance"

SLOTS: Final[dict[str, int]] = {
    SCANS: 100,
    DISCOVERY: 8,
    COMPLIANCE: max(1, os.cpu_count() or 1),
    NATIVE: 4,
    SYNC: 8,
    MAINTENANCE: 2,
}
"""Default slots per queue: many for light work, one per core for scanner processes."""


def no_worker(queue: str) -> str:
    """In words that nobody takes the work of this queue, and what to do."""
    return (
        f"No worker polls the task queue {queue}. Start one: `cloudsweep up` on one machine, or "
        f"`python worker.py{'' if queue == SCANS else f' {queue}'}`."
    )
