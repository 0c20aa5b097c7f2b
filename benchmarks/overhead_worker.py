"""Our side of `benchmarks.overhead`: the real workers and workflow, activities that do nothing.

python -m benchmarks.overhead_worker 127.0.0.1:7700 --in-flight 64
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from uuid import UUID, uuid4

import uvloop
from temporalio import activity

from contracts.scans import (
    MergeReport,
    PhasePlan,
    ScanBegun,
    ScanCounts,
    ScanEnd,
    ScanPlanning,
    ScanRequest,
    ScanSummary,
    Shard,
    ShardBatch,
    ShardReport,
    ShardTask,
)
from contracts.vocabulary import ScanStatus, TaskKind
from runtime import task_queues, temporal
from runtime.settings import Settings
from worker import Registration, build_workers, keep_what_is_loaded, running
from workflows.cloud_scan import CloudScan

_SHARDS_MASK = 0xFFFF


def scan_of(shards: int) -> UUID:
    """A new scan id that says how many shards its plan has: no store is asked here."""
    return UUID(int=(uuid4().int & ~_SHARDS_MASK) | shards)


class NoOps:
    """What a scan calls, under the real names, with answers of the real shape and nothing done."""

    def __init__(self, in_flight: int) -> None:
        self._in_flight = in_flight

    @activity.defn
    async def begin_scan(self, request: ScanRequest) -> ScanBegun:
        return ScanBegun(
            account_name="benchmark",
            regions=["eu-west-1"],
            home_region="eu-west-1",
            shards_in_flight=self._in_flight,
        )

    @activity.defn
    async def plan_discovery(self, planning: ScanPlanning) -> PhasePlan:
        return PhasePlan()

    @activity.defn
    async def plan_compliance(self, planning: ScanPlanning) -> PhasePlan:
        return PhasePlan(
            shards=[
                Shard(kind=TaskKind.COMPLIANCE, key=f"compliance/{number}", title=f"Shard {number}")
                for number in range(planning.scan_id.int & _SHARDS_MASK)
            ]
        )

    @activity.defn
    async def assess_shard(self, task: ShardTask) -> ShardReport:
        return ShardReport(key=task.key, rows=0, planned=1, run=1, not_assessed=0)

    @activity.defn
    async def merge_shards(self, batch: ShardBatch) -> MergeReport:
        return MergeReport()

    @activity.defn
    async def end_scan(self, end: ScanEnd) -> ScanSummary:
        return ScanSummary(status=ScanStatus.COMPLETED, counts=ScanCounts())


async def serve(in_flight: int) -> None:
    """Run workers with the options of `worker.py` until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    settings = Settings()
    client = await temporal.connect(settings)
    work = NoOps(in_flight)
    table = {
        task_queues.SCANS: Registration(
            [CloudScan],
            [work.begin_scan, work.plan_discovery, work.merge_shards, work.end_scan],
        ),
        task_queues.COMPLIANCE: Registration([], [work.plan_compliance, work.assess_shard]),
        task_queues.SYNC: Registration([], [work.merge_shards]),
    }
    # As many slots as shards in flight: what does nothing needs no core of its own.
    async with running(build_workers(client, table, settings, tuple(table), in_flight)):
        keep_what_is_loaded()
        await stopping.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.in_flight))


if __name__ == "__main__":
    main()
