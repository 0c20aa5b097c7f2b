"""The memory and time of exporting a million findings.

`python -m benchmarks.export_file` fills a PostgreSQL of its own as `benchmarks/api.py` does, starts
the API as a process of its own and reads the export as it comes. It prints the peak memory of the
API, and that of the API and PostgreSQL together (PSS).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from benchmarks.api import PORT, serving
from benchmarks.api_findings import fill
from benchmarks.process_tree import Sampling, most_memory
from contracts.vocabulary import ExportFormat
from runtime.embedded.postgres import running_postgres


async def main() -> None:
    """Fill, export, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=[*ExportFormat], default="ndjson")
    parser.add_argument("--keep", type=Path, help="data directory to fill once and use again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudsweep-export-") as temporary:
        data_dir = arguments.keep or Path(temporary)
        async with running_postgres(data_dir) as url:
            key = await fill(url, data_dir, arguments.rows)
            with serving(url, data_dir) as process:
                before = psutil.Process(process.pid).memory_info().rss
                began, size, lines = time.perf_counter(), 0, 0
                roots = [child.pid for child in psutil.Process().children()]
                with Sampling(roots) as sampling:
                    async with (
                        httpx.AsyncClient(timeout=60) as caller,
                        caller.stream(
                            "GET",
                            f"http://127.0.0.1:{PORT}/api/v1/findings/export",
                            params={"format": arguments.format},
                            headers={"Authorization": f"Bearer {key}"},
                        ) as answer,
                    ):
                        answer.raise_for_status()
                        async for chunk in answer.aiter_raw():
                            size += len(chunk)
                            lines += chunk.count(b"\n")
                seconds, peak = time.perf_counter() - began, most_memory(process.pid)
    print(f"{lines:,} lines of {arguments.format}, {size / 1e6:,.0f} MB in {seconds:.1f} s")
    print(f"memory of the API before {before / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB")
    print(f"peak of API and PostgreSQL together {sampling.usage.peak / 1e6:.0f} MB (PSS)")


if __name__ == "__main__":
    asyncio.run(main())
