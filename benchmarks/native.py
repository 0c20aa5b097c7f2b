"""A network of 256 hosts and 100 ports each on loopback: our scan beside bare nmap.

    python -m benchmarks.native [--rate 2000] [--pairs 3]

Both run the same command, one after the other, in pairs. Ours is the whole of it: from POST
/scans/native to a scan that has ended, whose findings can be queried, with the stack running. Its
CPU is that of Temporal, PostgreSQL, API, worker, nmap and this client together. The first scan
writes the findings, the later ones find them unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.process_tree import Sampling
from contracts.native import Endpoint, PolicyLimits, ScanPolicy
from scanners.native import nmap
from tests.support.system import System, running_system

NETWORK = "127.77.0.0/24"
PORTS = range(20_000, 20_100)
OPEN = [(f"127.77.0.{host}", port) for host in range(8, 256, 16) for port in (20_022, 20_080)]
"""What listens: two ports on every sixteenth host."""


class Figures(NamedTuple):
    """Seconds of wall time and of CPU, and how many ports were found open."""

    wall: float
    cpu: float
    found: int


@asynccontextmanager
async def listening() -> AsyncIterator[None]:
    """Servers that take connections and close them."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with AsyncExitStack() as stack:
        for address, port in OPEN:
            stack.enter_context(closing(await asyncio.start_server(close, address, port)))
        yield


def bare(policy: ScanPolicy) -> Figures:
    """nmap by itself, with the arguments that our scan gives it."""
    with tempfile.TemporaryDirectory(prefix="nmap-") as folder:
        directory = Path(folder)
        command = nmap.command(Endpoint(NETWORK, NETWORK), policy, directory)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=True)
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = nmap.parse(directory / nmap.REPORT, Endpoint(NETWORK, NETWORK))
        found = sum(getattr(each, "rule", None) == "open-port" for each in said)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(wall, cpu, found)


async def ours(system: System, target: str) -> Figures:
    """One scan over HTTP."""
    with Sampling([os.getpid()]) as sampling:
        body = {"targets": [target], "tools": ["nmap"], "policy": "bench"}
        scan = await system.post("scans/native", body)
        ended = await system.until(scan["id"])
        found = await system.all("findings", check_id="open-port", state="open")
    if ended["status"] != "completed":
        raise SystemExit(f"the scan ended {ended['status']}: {ended['error']}")
    return Figures(sampling.usage.wall, sampling.usage.cpu, len(found))


async def prepared(system: System, limits: PolicyLimits) -> str:
    """The id of the network as a target, in a scope, with a policy beside it."""
    answer = await system.client.put("scan-policies/bench", json=limits.model_dump())
    answer.raise_for_status()
    allows = [{"kind": "cidr", "value": NETWORK}]
    await system.post("scopes", {"name": "bench", "allows": allows})
    return str((await system.post("targets", {"kind": "cidr", "value": NETWORK}))["id"])


async def run(policy: ScanPolicy, pairs: int) -> dict[str, list[Figures]]:
    """Pairs of scans on one stack."""
    runs: dict[str, list[Figures]] = {"bare nmap": [], "Cloudsweep": []}
    limits = PolicyLimits.model_validate(policy.model_dump(exclude={"name"}))
    async with listening():
        with tempfile.TemporaryDirectory(prefix="cloudsweep-bench-", dir="/tmp") as folder:
            async with running_system(Path(folder)) as system:
                target = await prepared(system, limits)
                for _ in range(pairs):
                    runs["bare nmap"].append(await asyncio.to_thread(bare, policy))
                    runs["Cloudsweep"].append(await ours(system, target))
                    for name, figures in runs.items():
                        _show(name, figures[-1])
    return runs


def main() -> None:
    """Run, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=2_000, help="connections a second")
    parser.add_argument("--pairs", type=int, default=3, choices=range(1, 10))
    options = parser.parse_args()
    os.environ["CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS"] = "true"
    policy = ScanPolicy(
        name="bench",
        timing=4,
        rate=options.rate,
        parallelism=25,
        checks="quick",
        ports=f"{PORTS[0]}-{PORTS[-1]}",
    )
    print(f"{'':<12}{'wall s':>9}{'CPU s':>9}{'found':>7}  of {len(OPEN)} open ports")
    runs = asyncio.run(run(policy, options.pairs))
    medians = [Figures(*map(statistics.median, zip(*runs[name], strict=True))) for name in runs]
    print("\nmedians")
    for name, figures in zip(runs, medians, strict=True):
        _show(name, figures)
    plain, whole = medians
    print(f"{'ratio':<12}{whole.wall / plain.wall:>9.3f}{whole.cpu / plain.cpu:>9.2f}")


def _show(name: str, row: Figures) -> None:
    print(f"{name:<12}{row.wall:>9.2f}{row.cpu:>9.2f}{row.found:>7.0f}", flush=True)


if __name__ == "__main__":
    main()
