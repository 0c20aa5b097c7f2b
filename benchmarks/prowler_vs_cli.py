"""A full scan of one account: ours, with everything it runs on, beside `prowler aws`.

    python -m benchmarks.prowler_vs_cli [--services s3 iam ...] [--runs ours ...] [--repeat 1]

All runs read the same demo cloud, one after the other, the slowest last:

cli-full      `prowler aws --output-formats json-ocsf`, as a user types it: 55 compliance files too
cli-stripped  the same naming all severities, with which Prowler leaves those files out
ours          the stack (Temporal, PostgreSQL, API, worker) from nothing to running, and a scan
ours-running  the scan alone, in that same stack: from POST /scans to its end

A scan has ended when its findings are queryable. Memory is the peak of the whole process tree as
PSS, CPU is that of the whole tree, bytes are what lies on disk at the end more than before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.process_tree import Sampling
from demo import cloud
from runtime.settings import get_settings
from tests.support.ports import free_ports
from tests.support.system import running_system

RUNS = ("ours", "cli-stripped", "cli-full")
SEVERITIES = ("critical", "high", "medium", "low", "informational")


class Figures(NamedTuple):
    """One run: seconds, seconds, bytes, bytes, rows."""

    wall: float
    cpu: float
    memory: int
    disk: int
    findings: int


def run_cli(endpoint: str, services: list[str], *, stripped: bool) -> Figures:
    """One plain `prowler aws` run in a folder of its own."""
    warm_up = [str(get_settings().prowler_python.parent / "prowler"), "aws", "--list-services"]
    # The first run of a fresh installation compiles it, which is no part of a scan.
    subprocess.run(warm_up, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    with tempfile.TemporaryDirectory(prefix="prowler-cli-") as folder:
        prowler = get_settings().prowler_python.parent / "prowler"
        command = [
            *(str(prowler), "aws", "--no-banner", "--no-color", "--ignore-exit-code-3"),
            *("--output-formats", "json-ocsf", "--output-directory", folder),
            *("--output-filename", "report", "--region", *cloud.REGIONS),
            *(("--severity", *SEVERITIES) if stripped else ()),
            *(("--service", *services) if services else ()),
        ]
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **cloud.environment(endpoint),
            "TZ": "UTC",
        }
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            with Sampling([process.pid]) as sampling:
                started = time.monotonic()
                _, status, usage = os.wait4(process.pid, 0)
                wall = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"prowler ended with exit code {process.returncode}")
        report = Path(folder) / "report.ocsf.json"
        return Figures(
            wall=wall,
            cpu=usage.ru_utime + usage.ru_stime,
            memory=sampling.usage.peak,
            disk=_bytes(Path(folder)),
            findings=report.read_text().count('"event_code"'),
        )


async def run_ours(endpoint: str, services: list[str], *, not_ours: int) -> dict[str, Figures]:
    """A fresh stack and one scan: both together, and the scan alone."""
    with tempfile.TemporaryDirectory(prefix="cloudsweep-bench-", dir="/tmp") as folder:
        data_dir = Path(folder)
        async with AsyncExitStack() as stack:
            # This process is the supervisor, so it counts; the demo cloud below it does not.
            with Sampling([os.getpid()], leave_out={not_ours}) as sampling:
                system = await stack.enter_async_context(running_system(data_dir))
                credentials = data_dir / "credentials"
                credentials.write_text(
                    f"[default]\naws_access_key_id={cloud.ACCESS_KEY_ID}\n"
                    f"aws_secret_access_key={cloud.SECRET_ACCESS_KEY}\n"
                )
                account = await system.add_account(
                    "bench",
                    endpoint,
                    {"kind": "file", "path": str(credentials)},
                    regions=list(cloud.REGIONS),
                )
                started = sampling.so_far()
                empty = _bytes(data_dir)
                scan = await system.scan(account, **({"services": services} if services else {}))
            if scan["status"] not in ("completed", "completed_with_errors"):
                raise SystemExit(f"the scan ended {scan['status']}: {scan['error']}")
            usage, size = sampling.usage, _bytes(data_dir)
        for name, peak in sorted(usage.peak_by_name.items(), key=lambda pair: -pair[1]):
            print(f"    at the peak of memory, {name:<24} {peak / 1e6:7.0f} MB")
        findings = sum(scan["counts"]["findings"].values())
        return {
            "ours": Figures(usage.wall, usage.cpu, usage.peak, size, findings),
            "ours-running": Figures(
                usage.wall - started[0], usage.cpu - started[1], usage.peak, size - empty, findings
            ),
        }


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def _median(runs: list[Figures]) -> Figures:
    return Figures(*(statistics.median(values) for values in zip(*runs, strict=True)))


def main() -> None:
    """Run everything in turn and print the medians and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", nargs="*", default=[], help="default: all")
    parser.add_argument("--runs", nargs="*", default=RUNS, choices=RUNS, help="default: all")
    parser.add_argument("--repeat", type=int, default=1, choices=range(1, 6))
    options = parser.parse_args()
    runs: dict[str, list[Figures]] = {}
    port = free_ports(1)[0]
    endpoint = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "demo.serve", "--port", str(port)], stdout=subprocess.DEVNULL
    ) as demo:
        try:
            if not cloud.wait_until_serving(endpoint):
                raise SystemExit("the demo cloud did not start")
            for _ in range(options.repeat):
                for run in RUNS:
                    if run not in options.runs:
                        continue
                    if run == "ours":
                        seen = asyncio.run(run_ours(endpoint, options.services, not_ours=demo.pid))
                    else:
                        stripped = run == "cli-stripped"
                        seen = {run: run_cli(endpoint, options.services, stripped=stripped)}
                    for name, figures in seen.items():
                        _show(name, figures)
                        runs.setdefault(name, []).append(figures)
        finally:
            demo.terminate()
    medians = {name: _median(figures) for name, figures in runs.items()}
    print(f"\n{'':<14}{'wall s':>9}{'CPU s':>9}{'memory MB':>11}{'disk MB':>9}{'findings':>10}")
    for name, row in medians.items():
        _show(name, row)
    for name in [name for name in medians if name in ("ours", "ours-running")]:
        for other in [name for name in medians if name.startswith("cli")]:
            ratios = (one / two for one, two in zip(medians[name], medians[other], strict=True))
            wall, cpu, memory, disk, _ = ratios
            print(f"{name}/{other:<14}{wall:>9.2f}{cpu:>9.2f}{memory:>11.2f}{disk:>9.2f}")


def _show(name: str, row: Figures) -> None:
    print(
        f"{name:<14}{row.wall:>9.1f}{row.cpu:>9.1f}{row.memory / 1e6:>11.0f}"
        f"{row.disk / 1e6:>9.1f}{row.findings:>10.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
