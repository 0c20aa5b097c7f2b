"""Find what drifted and repair it: scans, queues, the store and what it says, the schedules."""

from __future__ import annotations

from collections import Counter

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.scan_watch import ScanWatchActivities
    from activities.schedule_watch import ScheduleWatchActivities
    from activities.store_watch import StoreWatchActivities
    from contracts.jobs import NoParams
    from contracts.runs import JobSummary
    from runtime import policies, task_queues

STEPS = (
    (ScanWatchActivities.watch_scans, "Compare scans with their workflows"),
    (ScanWatchActivities.watch_queues, "See who polls the queues that scans wait for"),
    (StoreWatchActivities.watch_store, "Look for what was left behind"),
    (StoreWatchActivities.watch_totals, "Compare findings with totals and vulnerabilities"),
    (ScheduleWatchActivities.watch_reconciler, "See that schedules are looked after"),
)


@workflow.defn
class DataSyncWatchdog:
    """One cycle. A step that fails does not keep the others from their work."""

    @workflow.run
    async def run(self, request: NoParams) -> JobSummary:
        counts: Counter[str] = Counter()
        notes: list[str] = []
        failure: ActivityError | None = None
        for step, summary in STEPS:
            try:
                did = await workflow.execute_activity_method(
                    step,
                    task_queue=task_queues.MAINTENANCE,
                    summary=summary,
                    **policies.WATCH,
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failure = failure or error
                continue
            counts.update(did.counts)
            notes += did.notes
            workflow.set_current_details(_words(counts))
        if failure is not None:
            raise failure
        return JobSummary(counts=dict(counts), notes=notes)


def _words(counts: Counter[str]) -> str:
    did = [f"{number} {name}" for name, number in counts.items() if number]
    return ", ".join(did) or "Nothing had drifted so far"
