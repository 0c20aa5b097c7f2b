"""One worker process: builds the dependencies, registers what its queues run, drains on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from activities.asset_discovery import AssetDiscoveryActivities
from activities.cascade_starts import CascadeActivities
from activities.cluster_tools import ClusterToolActivities
from activities.failures import SafeFailures
from activities.kubernetes_shards import KubernetesActivities
from activities.native_scans import NativeScanActivities
from activities.retention import RetentionActivities
from activities.run_admission import RunAdmissionActivities
from activities.run_endings import RunEndActivities
from activities.scan_lifecycle import ScanLifecycleActivities
from activities.scan_watch import ScanWatchActivities
from activities.schedule_upkeep import ScheduleUpkeepActivities
from activities.schedule_watch import ScheduleWatchActivities
from activities.shards import ShardActivities
from activities.sla_checks import SlaActivities
from activities.store_watch import StoreWatchActivities
from activities.vulnerability_syncs import VulnerabilitySyncActivities
from contracts.errors import CloudsweepError
from runtime import policies, search_attributes, task_queues, temporal
from runtime.exit import leave
from runtime.logging import configure_logging
from runtime.settings import Settings, get_settings
from runtime.version import VERSION
from runtime.workflow_sandbox import ContextFreeRunner
from storage.database import Database
from workflows.catalogue import JOBS, load
from workflows.defaults import keep_defaults
from workflows.due_dates import DueDates
from workflows.import_merge import ImportMerge
from workflows.job_run import JobRun
from workflows.kubernetes_scan import KubernetesScan
from workflows.schedule_backfill import ScheduleBackfill
from workflows.vulnerability_sync import VulnerabilitySync

PASSED_THROUGH = (
    *("contracts", "runtime", "scanners", "scheduling", "storage", "activities"),
    *("workflows.failures", "workflows.prompt"),
)
"""Imported once, not once a workflow. The sandbox itself stays on."""

LATE = timedelta(seconds=10)
"""What a worker that stops may take besides what its activities take."""

POLLS = 20
"""Requests for work that wait at the server, for each queue as far as it has free slots. With the
default of 5 the server stores every further task before it can give it away: a fifth more CPU."""


class Registration(NamedTuple):
    """What the workers of one queue run."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]


def registrations(
    database: Database, settings: Settings, client: Client
) -> dict[str, Registration]:
    """Every queue with what it runs: the one table that worker processes are built from.

    The workflows of jobs come from the catalogue, each on the queue of its entry.
    """
    lifecycle = ScanLifecycleActivities(database, settings, client)
    shards = ShardActivities(database, settings)
    native = NativeScanActivities(database, settings)
    cluster_tools = ClusterToolActivities(database, settings)
    discovery = AssetDiscoveryActivities(database, settings)
    kubernetes = KubernetesActivities(database, settings)
    endings = RunEndActivities(database, client)
    admission = RunAdmissionActivities(database, endings, JOBS)
    upkeep = ScheduleUpkeepActivities(database, client, admission, endings)
    syncs = VulnerabilitySyncActivities(database)
    retention = RetentionActivities(database, settings.archive_directory)
    sla = SlaActivities(database)
    scan_watch = ScanWatchActivities(database, client, settings)
    store_watch = StoreWatchActivities(database, client)
    jobs = {
        queue: [load(job.workflow) for job in JOBS.values() if job.queue == queue]
        for queue in task_queues.SLOTS
    }
    return {
        task_queues.SCANS: Registration(
            [*jobs[task_queues.SCANS], KubernetesScan, JobRun, ScheduleBackfill],
            [
                admission.admit_run,
                endings.displace_runs,
                endings.close_run,
                lifecycle.begin_scan,
                lifecycle.take_account,
                lifecycle.check_account,
                lifecycle.plan_discovery,
                kubernetes.plan_kinds,
                lifecycle.record_failed_shard,
                lifecycle.record_paused,
                lifecycle.end_scan,
                CascadeActivities(database, settings, client).start_cascades,
                shards.merge_shards,  # what a scan merges promptly, where its workflow runs
            ],
        ),
        task_queues.DISCOVERY: Registration(
            [], [shards.discover_shard, kubernetes.list_kinds, discovery.join_assets]
        ),
        task_queues.COMPLIANCE: Registration([], [lifecycle.plan_compliance, shards.assess_shard]),
        task_queues.NATIVE: Registration(
            [],
            [
                native.plan_native,
                native.run_tool,
                cluster_tools.plan_cluster_tools,
                cluster_tools.run_cluster_tool,
                discovery.plan_ranges,
                discovery.look_at_range,
            ],
        ),
        task_queues.SYNC: Registration(
            [*jobs[task_queues.SYNC], VulnerabilitySync, ImportMerge],
            [
                shards.merge_shards,
                syncs.plan_teams,
                syncs.plan_accounts,
                syncs.sync_account,
                # What an import takes promptly, where its workflow runs.
                lifecycle.take_account,
                lifecycle.end_scan,
            ],
        ),
        task_queues.MAINTENANCE: Registration(
            [*jobs[task_queues.MAINTENANCE], DueDates],
            [
                upkeep.reconcile_schedules,
                upkeep.record_missed_runs,
                upkeep.end_lost_runs,
                upkeep.start_due_items,
                sla.check_sla,
                sla.redate,
                retention.list_teams,
                retention.delete_old,
                scan_watch.watch_scans,
                scan_watch.watch_queues,
                store_watch.watch_store,
                store_watch.watch_totals,
                ScheduleWatchActivities(database, client).watch_reconciler,
            ],
        ),
    }


def build_workers(
    client: Client,
    table: Mapping[str, Registration],
    settings: Settings,
    queues: Sequence[str] = tuple(task_queues.SLOTS),
    slots: int | None = None,
) -> list[Worker]:
    """One worker a queue, all on one client; `slots` replaces the queue's own number."""
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=table[queue].workflows,
            activities=table[queue].activities,
            interceptors=[SafeFailures()],
            workflow_runner=ContextFreeRunner.importing_once(*PASSED_THROUGH),
            max_concurrent_activities=slots or _slots(queue, settings),
            max_concurrent_activity_task_polls=POLLS,
            max_concurrent_workflow_tasks=200 if table[queue].workflows else None,
            max_eager_activity_reservations_per_workflow_task=100,
            max_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=policies.HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=policies.DRAIN,
            build_id=VERSION,  # by default the SDK hashes every module: a second and a half
        )
        for queue in queues
    ]


@asynccontextmanager
async def running(workers: Sequence[Worker]) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """Run these in the block; then all stop at once, with `policies.DRAIN` for what they do.

    One that does not end is left: the SDK may wait without end for a completion of an activity that
    it lost while it stopped (temporalio/sdk-rust issue 1537).
    """
    runs = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield runs
    finally:
        stops = [asyncio.create_task(worker.shutdown()) for worker in workers]
        _, late = await asyncio.wait(runs, timeout=(policies.DRAIN + LATE).total_seconds())
        for task in (*late, *stops):
            task.cancel()
        await asyncio.wait([*late, *stops], timeout=LATE.total_seconds())
    for run in runs:
        if run.done() and not run.cancelled():
            run.result()  # a worker that failed


def keep_what_is_loaded() -> None:
    """Spare the garbage collector what lives as long as the process, and let it look less often:
    a twentieth of a worker's CPU in a scan."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _slots(queue: str, settings: Settings) -> int:
    if queue == task_queues.COMPLIANCE and settings.compliance_slots:
        return settings.compliance_slots
    return task_queues.SLOTS[queue]


async def serve(queues: Sequence[str], slots: int | None) -> None:
    """Run until SIGTERM or SIGINT, then let running activities finish for `policies.DRAIN`."""
    settings = get_settings()
    configure_logging(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    client = await temporal.connect(settings)
    await temporal.register_search_attributes(client, search_attributes.TYPES)
    database = Database.open(settings.require_database_url())
    table = registrations(database, settings, client)
    try:
        async with AsyncExitStack() as left:
            runs = await left.enter_async_context(
                running(build_workers(client, table, settings, queues, slots))
            )
            if task_queues.MAINTENANCE in queues:
                watching = asyncio.create_task(keep_defaults(database, client))
                left.callback(watching.cancel)
            keep_what_is_loaded()
            told = asyncio.create_task(stopping.wait())
            left.callback(told.cancel)
            await asyncio.wait([told, *runs], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await database.close()


def main() -> None:
    """The command line: which queues to serve, and how many activities at a time."""
    parser = argparse.ArgumentParser(prog="worker", description=__doc__)
    parser.add_argument(
        "queues",
        nargs="*",
        choices=[*task_queues.SLOTS, []],
        metavar="queue",
        help=f"task queues to serve (default: all): {', '.join(task_queues.SLOTS)}",
    )
    parser.add_argument("--slots", type=int, help="activities at a time, for each queue named")
    arguments = parser.parse_args()
    if arguments.slots is not None and arguments.slots < 1:
        parser.error("--slots must be at least 1")
    try:
        uvloop.run(serve(arguments.queues or tuple(task_queues.SLOTS), arguments.slots))
    except CloudsweepError as error:  # at its start: nothing to talk to, or settings that are wrong
        sys.stderr.write(" ".join(filter(None, (error.message, error.fix))) + "\n")
        leave(1)
    leave(0)


if __name__ == "__main__":
    main()
