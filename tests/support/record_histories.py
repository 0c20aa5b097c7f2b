"""Record the histories that must replay; on purpose only.

python -m tests.support.record_histories [name ...]

A history that no longer replays means that running scans would break: guard the change with
`workflow.patched` instead of recording again.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from contracts.errors import CredentialsRejected, ReportMalformed, StagingLost
from contracts.scans import ScanRequest
from runtime import search_attributes, task_queues
from runtime.embedded.temporal import running_temporal
from runtime.settings import Settings
from runtime.temporal import connect
from tests.support import scripted_jobs
from tests.support.ports import free_ports
from tests.support.scripted_scan import ScriptedScan, working
from tests.support.waiting import until
from workflows.cloud_scan import CloudScan
from workflows.hybrid_discovery import HybridAssetDiscovery
from workflows.kubernetes_scan import KubernetesDiscovery, KubernetesScan
from workflows.native_scan import NativeScan
from workflows.sharded_scan import ShardedScan

SCANS: dict[str, type[ShardedScan]] = {
    **dict.fromkeys(("completed", "failed", "waited", "paused", "cancelled"), CloudScan),
    "kubernetes_scan": KubernetesScan,
    "kubernetes_discovery": KubernetesDiscovery,
    "native": NativeScan,
    "hybrid": HybridAssetDiscovery,
    "native_cascade": NativeScan,
}
HISTORIES = Path(__file__).parents[1] / "histories"


async def record(client: Client, name: str) -> None:
    """Run one scan as its name says and keep its history."""
    script = ScriptedScan(discovery=2, compliance=3)
    scan_id = uuid4()
    held = asyncio.Event()
    match name:
        case "completed" | "kubernetes_scan":
            script.fails["run compliance/1"] = [ReportMalformed("The report is not JSON.")]
            script.fails["merge compliance/2"] = [StagingLost("Staged rows are gone.")]
        case "native" | "hybrid":
            script.fails["run native/1"] = [ReportMalformed("The report is no XML.")]
            script.fails["merge native/2"] = [StagingLost("Staged rows are gone.")]
        case "native_cascade":
            script.may_cascade = True
        case "failed":
            script.fails["run compliance/0"] = [CredentialsRejected("The key is unknown.")]
        case "waited":
            script.busy = ["Another scan of this account is running."]
            script.next_scan = uuid4()
        case "paused" | "cancelled":
            script.held["run compliance/0"] = held
    async with working(client, script):
        scan = await client.start_workflow(
            SCANS[name].__name__,
            ScanRequest(scan_id=scan_id),
            id=f"scan/{scan_id}",
            task_queue=task_queues.SCANS,
        )
        match name:
            case "waited":
                await until(lambda: not script.busy)
                await scan.signal(CloudScan.account_free)
            case "paused":
                await until(lambda: "compliance/0" in script.running)
                await scan.signal(CloudScan.pause)
                await until(lambda: "paused" in script.said)
                held.set()
                await scan.signal(CloudScan.resume)
            case "cancelled":
                await until(lambda: "compliance/0" in script.running)
                await scan.cancel()
        try:
            await scan.result()
        except WorkflowFailureError:
            if name not in ("failed", "cancelled"):
                raise
        await _keep(scan, name)


async def record_job(client: Client, name: str) -> None:
    """Run an import or a job as its name says and keep its history."""
    script = scripted_jobs.ScriptedJobs()
    async with scripted_jobs.working(client, script):
        handle = await scripted_jobs.RECORDINGS[name](client, script)
        await handle.result()
        await _keep(handle, name)


async def _keep(handle: WorkflowHandle[Any, Any], name: str) -> None:
    history = await handle.fetch_history()
    kept = _without_this_machine(json.loads(history.to_json()))
    (HISTORIES / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


def _without_this_machine(value: Any) -> Any:
    """The same without process names and stack traces, which no replay reads.

    `sdkMetadata` stays: how a patch is replayed depends on its flags.
    """
    if isinstance(value, dict):
        return {
            name: _without_this_machine(inner)
            for name, inner in value.items()
            if name not in ("identity", "stackTrace")
        }
    if isinstance(value, list):
        return [_without_this_machine(inner) for inner in value]
    return re.sub(r"^\d+@.*", "worker", value) if isinstance(value, str) else value


async def main(wanted: Sequence[str]) -> None:
    """Record every shape of a scan, an import and each job, on a Temporal server of its own."""
    port, ui_port = free_ports(2)
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with running_temporal(
            Path(folder), port=port, ui_port=ui_port, search_attributes=search_attributes.TYPES
        ):
            client = await connect(Settings(temporal_port=port))
            for name in wanted or (*SCANS, *scripted_jobs.RECORDINGS):
                await (record if name in SCANS else record_job)(client, name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
