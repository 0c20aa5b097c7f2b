"""Starting a team's vulnerability sync: from the end of a scan, and from the API."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from contracts.vulnerabilities import NewSync, SyncRequest
from runtime import search_attributes, task_queues

# By name, since activities do not import workflows. A test compares it with the class.
VULNERABILITY_SYNC: Final = "VulnerabilitySync"
LOOK_AGAIN: Final = "look_again"
RPC_TIMEOUT: Final = timedelta(seconds=4)

logger = logging.getLogger(__name__)


def sync_workflow_id(team_id: UUID) -> str:
    """One team has one sync."""
    return f"sync/{team_id}"


async def start_sync(client: Client, team_id: UUID, new: NewSync) -> None:
    """Start the team's sync; one that runs looks again, so that it misses nothing of before."""
    await client.start_workflow(
        VULNERABILITY_SYNC,
        SyncRequest(team_id=team_id, full=new.full),
        id=sync_workflow_id(team_id),
        task_queue=task_queues.SYNC,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=LOOK_AGAIN,
        start_signal_args=[new],
        search_attributes=search_attributes.of_schedule(team_id, None),
        static_summary="Vulnerability sync",
        rpc_timeout=RPC_TIMEOUT,
    )


async def ask_for_sync_soon(client: Client, team_id: UUID) -> None:
    """The same, where nothing depends on it: the scheduled sync comes anyway."""
    try:
        await start_sync(client, team_id, NewSync())
    except RPCError as error:
        logger.info("The sync of team %s is left to its schedule: %s", team_id, error)
