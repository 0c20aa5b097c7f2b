"""What schedules cost: how late they start, how fast they are made and listed, what idling takes.

    python -m benchmarks.scheduler [spread] [burst] [size] [idle]
                                   [--schedules 1000] [--many 10000]

Each part has servers of its own: the Temporal and PostgreSQL of `cloudsweep up`, and one worker
process that is `worker.py` with one more job, which does nothing.

spread  schedules due one after the other, over a minute: from the nominal time to `started_at`
        of the run (admitted and recorded), and to the first step of its work. Beside it, in the
        same run, as many plain Temporal schedules with the same distances that start the same
        workflow directly: no record, no overlap with manual runs, no child workflow
burst   the same, all due at the same second
size    schedules made as the API makes them (the row, then Temporal's, with the row locked), then
        listed by the real API over HTTP, page by page, and reconciled: nothing to do
idle    CPU seconds a minute of server, worker and database without schedules (but for the two
        defaults, which run every five minutes), and with schedules that are not due

Bounded: each part has a time limit. CPU is of all processes of a part, this one left out.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import uvloop
from temporalio.service import RPCError, RPCStatusCode

from benchmarks.api import Api, serving
from benchmarks.scheduler_stack import AT_ONCE, PARTS, Stack, cpu, since, stack
from benchmarks.scheduler_worker import NOTHING
from contracts.accounts import NewAccount
from contracts.runs import JobSummary, ReconcileRequest
from contracts.schedules import (
    CloudScanTarget,
    CronTrigger,
    IntervalTrigger,
    JobTarget,
)
from runtime import task_queues
from runtime.embedded.temporal import without_temporal
from storage import accounts

DAY = 86_400
PART_SECONDS = 540
SPREAD_SECONDS = 60
SETTLE_SECONDS = 15
AFTER_SECONDS = 100
"""After the last of a set is due, before the first of the next is."""
TRIED, LEAD = 100, 1.5
"""Schedules that are made to see how long that takes, and how much longer others may take."""
IDLE_SECONDS = 60
PAGE = 50
PAGES = 100


async def gathered(work: Iterable[Any], at_once: int = AT_ONCE) -> tuple[list[Any], float]:
    """The results of coroutines, so many at a time, and the seconds that all took."""
    slots = asyncio.Semaphore(at_once)

    async def one(each: Any) -> Any:
        async with slots:
            return await each

    began = time.perf_counter()
    done = await asyncio.gather(*map(one, work))
    return done, time.perf_counter() - began


# ---- delay ----


class Set(NamedTuple):
    """Schedules that are measured together: due over `spread` seconds from `first` on."""

    name: str
    first: datetime
    spread: int
    count: int

    def due(self, number: int) -> datetime:
        """When one of them is due, in whole seconds as Temporal counts them."""
        return self.first + timedelta(seconds=number * self.spread // self.count)

    def trigger(self, number: int) -> IntervalTrigger:
        """Daily, this time of day."""
        second = int(self.due(number).timestamp())
        return IntervalTrigger(every_seconds=DAY, offset_seconds=second % DAY)


async def until(moment: datetime) -> None:
    """Sleep until then."""
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


async def our_delays(stack: Stack, ours: Set) -> tuple[list[float], list[float]]:
    """Seconds to `started_at`, and to the first step of the work, of each run."""
    connection = await asyncpg.connect(stack.url)
    try:
        while True:
            rows = await connection.fetch(
                "SELECT extract(epoch FROM started_at - nominal_at)::float AS started,"
                " (summary->>'began')::float - extract(epoch FROM nominal_at)::float AS began"
                " FROM job_run JOIN schedule ON schedule.id = job_run.schedule_id"
                " WHERE schedule.name LIKE $1 AND job_run.outcome = 'completed'",
                f"{ours.name}/%",
            )
            if len(rows) == ours.count:
                return [row["started"] for row in rows], [row["began"] for row in rows]
            await asyncio.sleep(1)
    finally:
        await connection.close()


async def plain_delays(stack: Stack, plain: Set) -> list[float]:
    """Seconds to the first step of each workflow that a plain schedule started."""

    async def one(number: int) -> float:
        due = plain.due(number)
        handle = stack.client.get_workflow_handle(
            f"{plain.name}/{number}-{due:%Y-%m-%dT%H:%M:%SZ}", result_type=dict[str, float]
        )
        while True:
            try:
                result: dict[str, float] = await handle.result()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it has not begun yet
                    raise
                await asyncio.sleep(1)
            else:
                return result["began"] - due.timestamp()

    found, _ = await gathered(map(one, range(plain.count)))
    return found


def percentile(seconds: Sequence[float], share: float) -> float:
    """The value that this share does not exceed."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def delay_line(name: str, seconds: Sequence[float], used: Counter[str] | None = None) -> None:
    """One line of the table of delays; CPU is that of a run."""
    shown = [percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)]
    each = [1000 * used[part] / len(seconds) for part in PARTS] if used else []
    print(
        f"{name:34}"
        + "".join(f"{value:9.3f}" for value in shown)
        + "".join(f"{value:10.1f}" for value in each),
        flush=True,
    )


async def spread(count: int) -> None:
    """Due one after the other, over a minute."""
    await _delays("spread over a minute", SPREAD_SECONDS, count)


async def burst(count: int) -> None:
    """All due at the same second."""
    await _delays("due at the same second", 0, count)


async def _delays(words: str, seconds: int, count: int) -> None:
    """Ours and plain ones, made first, then measured one after the other."""
    async with stack() as running_stack:
        target = JobTarget(job=NOTHING.name)
        _, warming = await gathered(
            running_stack.add(f"warm {number}", _far(number), target) for number in range(TRIED)
        )
        lead = timedelta(seconds=10 + LEAD * 2 * count * warming / TRIED)
        first = (datetime.now(UTC) + lead).replace(microsecond=0)
        ours = Set("ours", first, seconds, count)
        plain = ours._replace(
            name="plain", first=first + timedelta(seconds=seconds + AFTER_SECONDS)
        )
        await gathered(
            running_stack.add(f"ours/{number}", ours.trigger(number), target)
            for number in range(count)
        )
        await gathered(
            running_stack.add_plain(f"plain/{number}", plain.trigger(number))
            for number in range(count)
        )
        if datetime.now(UTC) > first - timedelta(seconds=3):
            raise RuntimeError("Making the schedules took longer than its beginning foretold.")
        print(f"\n{count:,} schedules, {words}: seconds from the time they were due")
        print(f"{'':34}{'p50':>9}{'p99':>9}{'last':>9}   CPU ms a run: {', '.join(PARTS)}")
        before = await _awaited(ours)
        started, work = await our_delays(running_stack, ours)
        delay_line("run started", started, since(before))
        delay_line("its work began", work)
        before = await _awaited(plain)
        began = await plain_delays(running_stack, plain)
        delay_line("plain Temporal: workflow began", began, since(before))
        ratios = [
            percentile(started, share) / percentile(began, share) for share in (0.5, 0.99, 1.0)
        ]
        print(f"{'run started / plain':34}" + "".join(f"{ratio:9.2f}" for ratio in ratios))


async def _awaited(due: Set) -> Counter[str]:
    """CPU used until just before the first is due; returns once the last should have begun."""
    await until(due.first - timedelta(seconds=2))
    before = cpu()
    await until(due.first + timedelta(seconds=due.spread + 5))
    return before


# ---- size ----


async def size(many: int) -> None:
    """Make, list and reconcile many schedules, none of them due."""
    async with stack() as running_stack:
        async with running_stack.database.transaction() as session:
            account = await accounts.create_account(
                session,
                running_stack.team_id,
                NewAccount.model_validate(
                    {"name": "demo", "provider": "aws", "credentials": {"kind": "environment"}}
                ),
                at=datetime.now(UTC),
            )
        target = CloudScanTarget(account_id=account.id)
        print(f"\n{many:,} schedules (cron in Europe/Berlin)")
        _, seconds = await gathered(
            running_stack.add(f"nightly {number}", _far(number), target) for number in range(many)
        )
        print(f"made: {1000 * seconds / many:.1f} ms a schedule, {AT_ONCE} at a time", flush=True)
        with serving(running_stack.url, running_stack.data_dir):
            pages = await asyncio.to_thread(_list, Api(running_stack.key), many)
        print(
            f"listed over HTTP: {1000 * percentile(pages, 0.5):.1f} ms a page of {PAGE} (p50), "
            f"{1000 * percentile(pages, 0.99):.1f} ms (p99)",
            flush=True,
        )
        await asyncio.sleep(2)  # Temporal's list may be a second old
        began = time.perf_counter()
        done: JobSummary = await running_stack.client.execute_workflow(
            "ScheduleReconciler",
            ReconcileRequest(),
            id=f"reconcile/{uuid4()}",
            task_queue=task_queues.MAINTENANCE,
            result_type=JobSummary,
        )
        print(f"reconciled: {time.perf_counter() - began:.1f} s, did {done.counts}", flush=True)


def _far(number: int) -> CronTrigger:
    """Some time of a day about half a year from now."""
    day = datetime.now(UTC) + timedelta(days=180)
    return CronTrigger(
        cron=f"{number % 60} {number // 60 % 24} {min(day.day, 28)} {day.month} *",
        timezone="Europe/Berlin",
    )


def _list(api: Api, many: int) -> list[float]:
    """Seconds of each page, from the first to the last or the hundredth."""
    took: list[float] = []
    cursor: str | None = None
    while len(took) < min(PAGES, many // PAGE):
        parameters = {"limit": PAGE, **({"cursor": cursor} if cursor else {})}
        document, seconds = api.get("schedules", parameters)
        cursor = document["next_cursor"]
        took.append(seconds)
    return took


# ---- idle ----


async def idle(count: int) -> None:
    """CPU of a minute without, and of a minute with schedules."""
    async with stack() as running_stack:
        print(f"\nCPU seconds a minute while nothing is due (of {os.cpu_count()} cores)")
        print(f"{'schedules':>12}{'server':>10}{'worker':>10}{'database':>10}{'all':>10}")
        for made in (0, count):
            target = JobTarget(job=NOTHING.name)
            await gathered(
                running_stack.add(f"far {number}", _far(number), target) for number in range(made)
            )
            await asyncio.sleep(SETTLE_SECONDS)
            before, began = cpu(), time.perf_counter()
            await asyncio.sleep(IDLE_SECONDS)
            minutes = (time.perf_counter() - began) / 60
            used = since(before)
            shown = [used[part] / minutes for part in PARTS]
            print(
                f"{made:>12,}" + "".join(f"{each:10.2f}" for each in [*shown, sum(shown)]),
                flush=True,
            )


async def measure(parts: Sequence[str], count: int, many: int) -> None:
    """Run the parts that were asked for."""
    for name, part, number in (
        ("spread", spread, count),
        ("burst", burst, count),
        ("size", size, many),
        ("idle", idle, count),
    ):
        if name in parts:
            async with asyncio.timeout(PART_SECONDS):
                await part(number)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("spread", "burst", "size", "idle")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--schedules", type=int, default=1000, help="of each set, and idle ones")
    parser.add_argument("--many", type=int, default=10_000, help="schedules of the part `size`")
    arguments = parser.parse_args()
    for name in set(os.environ) - without_temporal(os.environ).keys():
        del os.environ[name]  # nothing may be sent to another server
    uvloop.run(measure(arguments.parts or parts, arguments.schedules, arguments.many))


if __name__ == "__main__":
    main()
