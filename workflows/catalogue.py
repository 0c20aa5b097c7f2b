"""Every job that can recur: API, CLI, docs and workers read this table. A job is one entry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any, Final

from contracts.accounts import AccountRef
from contracts.jobs import Job, JobScope, ScanJob
from contracts.runs import ReconcileRequest
from contracts.scans import HybridOptions, NativeOptions, NewScan
from contracts.schedules import CLOUD_SCAN, IntervalTrigger, Timing
from contracts.vocabulary import Provider, ScanKind
from contracts.vulnerabilities import NewSync
from runtime import task_queues

RECONCILER: Final = "schedule_reconciler"
RETENTION_CYCLE: Final = "retention_cycle"
EXPIRY_SWEEP: Final = "expiry_sweep"
NATIVE_SCAN: Final = "native_scan"
HYBRID_ASSET_DISCOVERY: Final = "hybrid_asset_discovery"
KUBERNETES_DISCOVERY: Final = "kubernetes_discovery"
SLA_CHECK: Final = "sla_check"
VULNERABILITY_SYNC: Final = "vulnerability_sync"
WATCHDOG: Final = "data_sync_watchdog"

_ENTRIES: Final = (
    Job(
        name=CLOUD_SCAN,
        description="Scan an account: inventory and compliance checks.",
        workflow="workflows.cloud_scan:CloudScan",
        queue=task_queues.SCANS,
        params=NewScan,
        timeout=timedelta(days=3),
        scan=ScanJob(),
    ),
    Job(
        name=NATIVE_SCAN,
        description="Scan targets: hosts, URLs, images, repositories.",
        workflow="workflows.native_scan:NativeScan",
        queue=task_queues.SCANS,
        params=NativeOptions,
        timeout=timedelta(days=3),
        scan=ScanJob(ScanKind.NATIVE),
    ),
    Job(
        name=HYBRID_ASSET_DISCOVERY,
        description="Join inventory, network discovery and targets into one list of assets.",
        workflow="workflows.hybrid_discovery:HybridAssetDiscovery",
        queue=task_queues.SCANS,
        params=HybridOptions,
        timeout=timedelta(days=3),
        scan=ScanJob(ScanKind.HYBRID),
    ),
    Job(
        name="account_check",
        description="Check the credentials of an account; fails when they are refused.",
        workflow="workflows.account_check:AccountCheck",
        queue=task_queues.SCANS,
        params=AccountRef,
        timeout=timedelta(minutes=5),
        inline=True,
    ),
    Job(
        name=EXPIRY_SWEEP,
        description="Start what tracked items that are about to expire make due.",
        workflow="workflows.expiry_sweep:ExpirySweep",
        queue=task_queues.MAINTENANCE,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=2),
        default=Timing(trigger=IntervalTrigger(every_seconds=300)),
    ),
    Job(
        name=RETENTION_CYCLE,
        description="Delete what teams need not keep any more, and archive it before.",
        workflow="workflows.retention_cycle:RetentionCycle",
        queue=task_queues.MAINTENANCE,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=12),
        default=Timing(trigger=IntervalTrigger(every_seconds=86_400)),
    ),
    Job(
        name=KUBERNETES_DISCOVERY,
        description="Read the inventory of a Kubernetes cluster, without compliance checks.",
        workflow="workflows.kubernetes_scan:KubernetesDiscovery",
        queue=task_queues.SCANS,
        params=AccountRef,
        timeout=timedelta(days=1),
        scan=ScanJob(
            ScanKind.KUBERNETES_DISCOVERY, {"compliance": False}, provider=Provider.KUBERNETES
        ),
    ),
    Job(
        name=RECONCILER,
        description="Make Temporal fire what the schedules here say, and record what was missed.",
        workflow="workflows.schedule_reconciler:ScheduleReconciler",
        queue=task_queues.MAINTENANCE,
        params=ReconcileRequest,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=1),
        default=Timing(trigger=IntervalTrigger(every_seconds=300)),
        inline=True,
    ),
    Job(
        name=SLA_CHECK,
        description="Tell once what is due or overdue; reopen what is no longer accepted.",
        workflow="workflows.sla_check:SlaCheck",
        queue=task_queues.MAINTENANCE,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=6),
        default=Timing(trigger=IntervalTrigger(every_seconds=86_400)),
    ),
    Job(
        name=VULNERABILITY_SYNC,
        description="Bring the vulnerabilities of every team to what its findings say.",
        workflow="workflows.vulnerability_sync_all:VulnerabilitySyncAll",
        queue=task_queues.SYNC,
        params=NewSync,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=6),
        default=Timing(trigger=IntervalTrigger(every_seconds=900)),
    ),
    Job(
        name=WATCHDOG,
        description="Find and repair what drifted: scans, shards, staged rows, totals, schedules.",
        workflow="workflows.data_sync_watchdog:DataSyncWatchdog",
        queue=task_queues.MAINTENANCE,
        scope=JobScope.INSTALLATION,
        timeout=timedelta(hours=1),
        default=Timing(trigger=IntervalTrigger(every_seconds=900)),
        inline=True,
    ),
)

JOBS: Final[Mapping[str, Job]] = {job.name: job for job in _ENTRIES}


def load(where: str) -> Any:
    """A job's workflow class; for workers, since importing it imports what it works with."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
