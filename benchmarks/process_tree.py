"""Wall time, CPU and peak memory of a process and everything it started, sampled from /proc."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil


@dataclass
class Usage:
    """Seconds of wall time and CPU, and the peak of proportional memory (PSS) in bytes.

    PSS counts a page that n processes share as 1/n in each, so that PostgreSQL's shared buffers
    and forked interpreters are counted once.
    """

    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    samples: int = 0
    peak_by_name: dict[str, int] = field(default_factory=dict)


class Sampling:
    """While entered, samples the trees below some processes twice a second.

    CPU is the difference of the trees' totals at the end and the start, and includes children
    that have ended, since the kernel adds their time to the parent that waited for them. What the
    sampling itself costs is left out.
    """

    def __init__(self, roots: list[int], *, every: float = 0.5, leave_out: set[int] | None = None):
        self._roots = [psutil.Process(pid) for pid in roots]
        self._leave_out = leave_out or set()
        self._every = every
        self._stop = threading.Event()
        self._names: dict[int, str] = {}
        self._own_cpu = 0.0
        self.usage = Usage()

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._cpu_before = self._cpu()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.usage.wall, self.usage.cpu = self.so_far()
        self._stop.set()
        self._thread.join()

    def so_far(self) -> tuple[float, float]:
        """Seconds of wall time and of CPU until now."""
        own = self._own_cpu if any(root.pid == os.getpid() for root in self._roots) else 0.0
        return time.monotonic() - self._started, self._cpu() - self._cpu_before - own

    def _processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for root in self._roots:
            try:
                found += [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        left_out = set(self._leave_out)
        for process in found:  # children of what is left out are left out, too
            try:
                if process.ppid() in left_out:
                    left_out.add(process.pid)
            except psutil.NoSuchProcess:
                continue
        return [process for process in found if process.pid not in left_out]

    def _cpu(self) -> float:
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            by_name: dict[str, int] = {}
            for process in self._processes():
                try:
                    name = self._name(process)
                    size = _pss(process.pid)
                except (psutil.NoSuchProcess, OSError):
                    continue
                by_name[name] = by_name.get(name, 0) + size
            total = sum(by_name.values())
            self.usage.samples += 1
            if total > self.usage.peak:
                self.usage.peak, self.usage.peak_by_name = total, by_name
            self._own_cpu = time.thread_time()

    def _name(self, process: psutil.Process) -> str:
        """What a process is: of a Python process, the module or script that it runs."""
        name = self._names.get(process.pid)
        if name is None:
            name = process.name()
            if name.startswith("python"):
                words = [word for word in process.cmdline()[1:] if not word.startswith("-")]
                name = f"python {Path(words[0]).name}" if words else name
            self._names[process.pid] = name
        return name


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def most_memory(pid: int) -> int:
    """Bytes of the most memory that a process ever held, as the kernel knows it.

    `ru_maxrss` would do for no child: on Linux it begins with the peak of its parent.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
