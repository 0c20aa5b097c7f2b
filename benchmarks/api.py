"""Latency of the API's list, filter, page and summary calls at a million findings or more.

    python -m benchmarks.api --rows 1000000

Starts a PostgreSQL of its own, fills it with findings spread over accounts, checks and regions as
real ones are (staged and merged as workers do), serves the real app under uvicorn on loopback and
asks it over HTTP, one call at a time. Beside each call stands what the same costs done the plain
way, in the same run over the same findings: one flat table with an index on every column, OFFSET
pages with a count(*), a GROUP BY for each group of a summary; asked of PostgreSQL directly, without
the HTTP, keys and checks that ours pays for. "CPU" is what the API and PostgreSQL computed for a
call on average, which says more than its latency where others keep the machine busy.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import psutil

from benchmarks.api_findings import fill
from runtime.embedded.postgres import running_postgres

Values = dict[str, Any]
PORT = 7550
PAGE = 50


@dataclass(frozen=True)
class Case:
    """One kind of call: its name and the parameters that a random finding gives it."""

    name: str
    path: str
    parameters: Callable[[Values], Values]
    page: int = 1


def _same(*names: str, **fixed: str) -> Callable[[Values], Values]:
    return lambda finding: {**{name: finding[name] for name in names}, **fixed}


OPEN = {"status": "fail", "state": "open"}
FILTERS: list[tuple[str, Callable[[Values], Values]]] = [
    ("no filter", _same()),
    ("status=fail", _same(status="fail")),
    ("state=open", _same(state="open")),
    ("severity=critical,high", _same(severity="critical,high")),
    ("account_id", _same("account_id")),
    ("source", _same("source")),
    ("service", _same("service")),
    ("region", _same("region")),
    ("check_id", _same("check_id")),
    ("resource_uid", _same("resource_uid")),
    ("scan_id", _same("scan_id")),
    ("first_seen_after (a month)", _same("first_seen_after")),
    ("q (a word of a resource)", _same("q")),
    ("q (a word of a title)", _same(q="publicly")),
    ("q (matches nothing)", _same(q="zzzzzz")),
    ("severity+status+state", _same(severity="critical,high", **OPEN)),
    ("account+service", _same("account_id", "service")),
    ("account+severity+status", _same("account_id", "severity", status="fail")),
    ("region+severity+status", _same("region", "severity", status="fail")),
    ("service+region+status", _same("service", "region", status="fail")),
    ("check+region+status", _same("check_id", "region", status="fail")),
    ("service+region+first_seen", _same("service", "region", "first_seen_after")),
    ("region+q", _same("region", "q")),
]
CASES = [
    *(Case(f"list: {name}", "findings", parameters) for name, parameters in FILTERS),
    *(
        Case(f"list, page {page}: {name}", "findings", parameters, page)
        for name, parameters in FILTERS
        if name in ("no filter", "status=fail", "account_id", "region+severity+status")
        for page in (2, 20)
    ),
    *(Case(f"summary: {name}", "findings/summary", parameters) for name, parameters in FILTERS),
]


class Api:
    """One connection that is kept open, and as little client as possible around it."""

    def __init__(self, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str, parameters: Values) -> tuple[Values, float]:
        """The document and the seconds until its last byte."""
        url = f"/api/v1/{path}?{urlencode(parameters)}"
        began = time.perf_counter()
        self._connection.request("GET", url, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {body.decode()[:500]}")
        return json.loads(body), seconds


def ours(api: Api, case: Case, findings: list[Values], count: int) -> tuple[list[float], float]:
    """Seconds of `count` calls, each with another finding's values, after a few to warm up; and
    how many of the CPU one took."""
    seconds = []
    spent = 0.0
    for number in range(count + 3):
        if number == 3:
            spent = cpu_seconds()
        parameters = case.parameters(findings[number % len(findings)])
        for _ in range(case.page - 1):
            document, _ = api.get(case.path, parameters)
            if document["next_cursor"] is None:
                break
            parameters = {**parameters, "cursor": document["next_cursor"]}
        seconds.append(api.get(case.path, parameters)[1])
    return seconds[3:], (cpu_seconds() - spent) / count / case.page


def cpu_seconds() -> float:
    """What the processes that we started, the API and PostgreSQL, have computed until now."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _where(parameters: Values) -> tuple[str, list[Any]]:
    conditions, values = ["true"], []
    types = {"severity": "severity", "status": "finding_status", "state": "finding_state"}
    for name, value in parameters.items():
        values.append(value.split(",") if name in types else value)
        number = f"${len(values)}"
        if name in types:
            conditions.append(f"{name} = ANY({number}::text[]::{types[name]}[])")
        elif name == "q":
            values[-1] = f"%{value}%"
            fields = ("title", "check_id", "resource_uid", "resource_name")
            conditions.append("(" + " OR ".join(f"{each} ILIKE {number}" for each in fields) + ")")
        elif name == "first_seen_after":
            conditions.append(f"first_seen_at > {number}::text::timestamptz")
        elif name in ("scan_id", "account_id"):
            conditions.append(f"{name} = {number}::text::uuid")
        else:
            conditions.append(f"{name} = {number}")
    return " AND ".join(conditions), values


async def plain(connection: asyncpg.Connection[Any], case: Case, finding: Values) -> float:
    """Seconds of the same list or counts done the plain way."""
    where, values = _where(case.parameters(finding))
    count = f"SELECT count(*) FROM plain_finding WHERE {where}"  # noqa: S608 (our own names)
    began = time.perf_counter()
    if case.path == "findings":
        rows = await connection.fetch(
            f"SELECT to_jsonb(f) FROM plain_finding AS f WHERE {where}"  # noqa: S608 (our own)
            f" ORDER BY severity DESC, id DESC LIMIT {PAGE} OFFSET {(case.page - 1) * PAGE}",
            *values,
        )
        total = await connection.fetchval(count, *values)
        json.dumps({"items": [json.loads(row[0]) for row in rows], "total": total})
    else:
        groups = {"total": await connection.fetchval(count, *values)}
        for column in ("severity", "status", "state", "service", "region"):
            counted = count.replace("SELECT", f"SELECT {column}::text,") + " GROUP BY 1"
            groups[column] = dict(await connection.fetch(counted, *values))
        json.dumps(groups)
    return time.perf_counter() - began


@contextmanager
def serving(url: str, data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real app in a process of its own."""
    environment = {
        **os.environ,
        "CLOUDSWEEP_DATABASE_URL": url,
        "CLOUDSWEEP_DATA_DIR": str(data_dir),
        "CLOUDSWEEP_API_PORT": str(PORT),
        "CLOUDSWEEP_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen([sys.executable, "-m", "api"], env=environment)
    try:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError("The API did not start.") from None
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def percentile(seconds: list[float], share: float) -> float:
    """The value that this share of the calls does not exceed."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


async def main() -> None:
    """Fill, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=100, help="of each kind")
    parser.add_argument("--plain-calls", type=int, default=3, help="of each kind, the plain way")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--keep", type=Path, help="data directory to fill once and use again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudsweep-api-") as temporary:
        data_dir = arguments.keep or Path(temporary)
        async with running_postgres(data_dir) as url:
            key = await fill(url, data_dir, arguments.rows)
            connection = await asyncpg.connect(url)
            await connection.execute("SET jit = off")
            findings = await sample(connection)
            print(f"{arguments.rows:,} findings, {arguments.calls} calls of each kind, ms\n")
            print(f"{'':44}{'p50':>8}{'p95':>8}{'CPU':>8}{'plain p50':>12}{'plain/ours':>12}")
            with serving(url, data_dir) as process:
                worst: dict[str, list[float]] = {"findings": [], "findings/summary": []}
                for case in CASES:
                    if arguments.only not in case.name:
                        continue
                    api = Api(key)
                    took, cpu = await asyncio.to_thread(ours, api, case, findings, arguments.calls)
                    theirs = [
                        await plain(connection, case, finding)
                        for finding in findings[: arguments.plain_calls]
                    ]
                    report(case.name, took, theirs, cpu)
                    worst[case.path] += took
                peak = psutil.Process(process.pid).memory_full_info().pss
            print()
            for path, took in worst.items():
                if took:
                    report(f"all of {path}", took, [])
            print(f"\nMemory of the API at the end: {peak / 1e6:.0f} MB")
            await connection.close()


def report(name: str, took: list[float], theirs: list[float], cpu: float | None = None) -> None:
    """One line of the table."""
    middle = statistics.median(took)
    line = f"{name:44}{middle * 1000:8.1f}{percentile(took, 0.95) * 1000:8.1f}"
    line += "" if cpu is None else f"{cpu * 1000:8.1f}"
    if theirs:
        other = statistics.median(theirs)
        line += f"{other * 1000:12.1f}{other / middle:11.0f}x"
    print(line, flush=True)


async def sample(connection: asyncpg.Connection[Any]) -> list[Values]:
    """Random findings as the parameters of calls: common values come up as often as they are."""
    rows = await connection.fetch(
        "SELECT account_id::text, source, service, region, check_id, resource_uid, resource_name,"
        " severity::text, scan_id::text FROM plain_finding"
        " WHERE random() < 2000.0 / (SELECT count(*) FROM plain_finding) LIMIT 1000"
    )
    newest = await connection.fetchval("SELECT max(first_seen_at) FROM plain_finding")
    found = [dict(row) for row in rows]
    random.Random(5).shuffle(found)  # noqa: S311 (a sample, not a secret)
    for finding in found:
        finding["q"] = finding["resource_name"].split("-")[0]
        finding["first_seen_after"] = (newest - timedelta(days=30)).isoformat()
    return found


if __name__ == "__main__":
    asyncio.run(main())
