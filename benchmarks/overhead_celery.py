"""The other side of `benchmarks.overhead`: a scan of no-op tasks in Celery, and its driver.

Runs in Celery's own environment, so it imports nothing of ours. As a module it is the app that
`celery worker` loads; as a script it reads one JSON request a line and answers with seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time

from celery import Celery, chain, chord

# Named as the worker imports it, for the driver runs this file as __main__.
app = Celery(
    "overhead_celery", broker=os.environ["OVERHEAD_REDIS"], backend=os.environ["OVERHEAD_REDIS"]
)
app.conf.update(
    # Acknowledged when done, and given to another when a worker process dies: what it takes in
    # Celery for work not to be lost.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
    result_expires=600,
)


@app.task
def begin(scan: str) -> dict[str, str]:
    return {"account": scan}


@app.task
def plan_discovery(scan: str) -> list[str]:
    return []


@app.task(bind=True)
def plan_compliance(self, scan: str, shards: int):  # type: ignore[no-untyped-def]  # self: Celery's
    """The shards are known only now, so the task replaces itself by them."""
    header = [
        chain(assess.si(scan, f"compliance/{n}"), merge.si(scan, f"compliance/{n}"))
        for n in range(shards)
    ]
    raise self.replace(chord(header, end.si(scan)))


@app.task
def assess(scan: str, key: str) -> dict[str, object]:
    return {"key": key, "rows": 0, "planned": 1, "run": 1, "not_assessed": 0}


@app.task
def merge(scan: str, key: str) -> dict[str, int]:
    return {"new": 0, "changed": 0, "resolved": 0, "unchanged": 0}


@app.task
def end(scan: str) -> dict[str, str]:
    return {"status": "completed"}


def main() -> None:
    """Run `scans` scans of `shards` shards at once, as asked, and say how long that took."""
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        running = [
            chain(
                begin.si(scan), plan_discovery.si(scan), plan_compliance.si(scan, asked["shards"])
            ).apply_async()
            for scan in (f"scan-{number}" for number in range(asked["scans"]))
        ]
        for result in running:
            assert result.get(timeout=asked["timeout"]) == {"status": "completed"}
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - started}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
