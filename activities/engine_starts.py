"""Starting workflows by their ids, as the API and the workers that repair do."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities import temporal_schedules
from contracts.runs import RunRequest
from contracts.scans import ScanRequest
from contracts.sla import DueDatesRequest
from contracts.vocabulary import ScanKind
from runtime import search_attributes, task_queues

DUE_DATES: Final = "DueDates"
"""By name, as those of scans. A test compares them."""


class ScanStart(NamedTuple):
    """What a kind of scan starts, where, and what people read of it before the account's name."""

    workflow: str
    task_queue: str
    summary: str


SCAN_STARTS: Final[dict[ScanKind, ScanStart]] = {
    ScanKind.CLOUD: ScanStart("CloudScan", task_queues.SCANS, "Cloud scan of"),
    ScanKind.KUBERNETES: ScanStart("KubernetesScan", task_queues.SCANS, "Kubernetes scan of"),
    ScanKind.KUBERNETES_DISCOVERY: ScanStart(
        "KubernetesDiscovery", task_queues.SCANS, "Kubernetes inventory of"
    ),
    ScanKind.IMPORT: ScanStart("ImportMerge", task_queues.SYNC, "Import into"),
    ScanKind.NATIVE: ScanStart("NativeScan", task_queues.SCANS, "Targets:"),
    ScanKind.HYBRID: ScanStart("HybridAssetDiscovery", task_queues.SCANS, "Assets:"),
}
"""By name: importing the workflows would load every scanner. A test compares the names."""


async def start_scan(
    client: Client,
    scan_id: UUID,
    *,
    kind: ScanKind,
    team_id: UUID,
    account_id: UUID,
    account_name: str,
    rpc_timeout: timedelta | None = None,
) -> None:
    """Start a scan's workflow; starting twice is starting once."""
    start = SCAN_STARTS[kind]
    await client.start_workflow(
        start.workflow,
        ScanRequest(scan_id=scan_id),
        id=f"scan/{scan_id}",
        task_queue=start.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=search_attributes.of_account(team_id, account_id),
        static_summary=f"{start.summary} {account_name}",
        rpc_timeout=rpc_timeout,
    )


async def start_due_dates(client: Client, team_id: UUID, *, rpc_timeout: timedelta) -> None:
    """Give the team's vulnerabilities their due dates anew; what does so for an earlier policy is
    stopped, since each of its steps may be repeated."""
    await client.start_workflow(
        DUE_DATES,
        DueDatesRequest(team_id=team_id),
        id=f"due-dates/{team_id}",
        task_queue=task_queues.MAINTENANCE,
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        search_attributes=search_attributes.of_schedule(team_id, None),
        static_summary="Due dates of a new policy",
        rpc_timeout=rpc_timeout,
    )


async def start_run(
    client: Client,
    request: RunRequest,
    team_id: UUID,
    summary: str,
    *,
    rpc_timeout: timedelta | None = None,
) -> None:
    """Start the workflow of a run, which decides whether it may run."""
    await client.start_workflow(
        temporal_schedules.JOB_RUN,
        request,
        id=f"run/{request.run_id}",
        task_queue=task_queues.SCANS,
        search_attributes=search_attributes.of_schedule(team_id, request.schedule_id),
        static_summary=summary,
        rpc_timeout=rpc_timeout,
    )
