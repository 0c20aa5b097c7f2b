"""A full scan of one account: ours, with everything it runs on, beside `prowler aws`.

    python -m benchmarks.prowler_vs_cli [--services s3 iam ...] [--repeat 1]

All runs read the same demo cloud, one after the other:

cli-full      `prowler aws --output-formats json-ocsf`, as a user types it: 55 compliance files too
cli-stripped  the same naming all severities, with which Prowler leaves those files out
ours          `cloudsweep up` and a scan: Temporal, PostgreSQL, API, worker and scanners together

Wall time of ours is from POST /scans to the end of the scan, when its findings are queryable; the
start of the stack is printed beside it. Memory is the peak of the whole process tree as PSS, CPU
is that of the whole tree, bytes are what lies on disk at the end more than before.
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
from pathlib import Path
from typing import NamedTuple

from benchmarks.process_tree import Sampling
from demo import cloud
from runtime.settings import get_settings
from tests.support.ports import free_ports
from tests.support.system import running_system

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


async def run_ours(endpoint: str, services: list[str], *, not_ours: int) -> tuple[Figures, float]:
    """A fresh stack and one scan; also the seconds that the stack took to start."""
    with tempfile.TemporaryDirectory(prefix="cloudsweep-bench-", dir="/tmp") as folder:
        data_dir = Path(folder)
        started = time.monotonic()
        async with running_system(data_dir) as system:
            start_seconds = time.monotonic() - started
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
            before = _bytes(data_dir)
            # This process is the supervisor, so it counts; the demo cloud below it does not.
            with Sampling([os.getpid()], leave_out={not_ours}) as sampling:
                scan = await system.scan(account, **({"services": services} if services else {}))
            if scan["status"] not in ("completed", "completed_with_errors"):
                raise SystemExit(f"the scan ended {scan['status']}: {scan['error']}")
            usage = sampling.usage
            figures = Figures(
                wall=usage.wall,
                cpu=usage.cpu,
                memory=usage.peak,
                disk=_bytes(data_dir) - before,
                findings=sum(scan["counts"]["findings"].values()),
            )
            for name, size in sorted(usage.peak_by_name.items(), key=lambda pair: -pair[1]):
                print(f"    peak memory of {name:<16} {size / 1e6:7.0f} MB")
            return figures, start_seconds


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
    parser.add_argument("--repeat", type=int, default=1, choices=range(1, 6))
    options = parser.parse_args()
    runs: dict[str, list[Figures]] = {"cli-full": [], "cli-stripped": [], "ours": []}
    starts = []
    port = free_ports(1)[0]
    endpoint = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "demo.cloud", "--port", str(port)], stdout=subprocess.DEVNULL
    ) as demo:
        try:
            if not cloud.wait_until_serving(endpoint):
                raise SystemExit("the demo cloud did not start")
            for _ in range(options.repeat):
                print("ours ...", flush=True)
                ours, start = asyncio.run(run_ours(endpoint, options.services, not_ours=demo.pid))
                runs["ours"].append(ours)
                starts.append(start)
                for name in ("cli-stripped", "cli-full"):
                    print(f"{name} ...", flush=True)
                    runs[name].append(
                        run_cli(endpoint, options.services, stripped=name == "cli-stripped")
                    )
        finally:
            demo.terminate()
    medians = {name: _median(figures) for name, figures in runs.items()}
    ours = medians["ours"]
    print(f"\n{'':<14}{'wall s':>9}{'CPU s':>9}{'memory MB':>11}{'disk MB':>9}{'findings':>10}")
    for name, row in medians.items():
        print(
            f"{name:<14}{row.wall:>9.1f}{row.cpu:>9.1f}{row.memory / 1e6:>11.0f}"
            f"{row.disk / 1e6:>9.1f}{row.findings:>10.0f}"
        )
    for name in ("cli-full", "cli-stripped"):
        other = medians[name]
        print(
            f"{'ours/' + name[4:]:<14}{ours.wall / other.wall:>9.2f}{ours.cpu / other.cpu:>9.2f}"
            f"{ours.memory / other.memory:>11.2f}{ours.disk / other.disk:>9.2f}"
        )
    print(
        f"\nThe stack of ours started in {statistics.median(starts):.1f} s (not in its wall time)"
    )


if __name__ == "__main__":
    main()
