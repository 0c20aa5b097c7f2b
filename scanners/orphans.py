"""Ends what scanners of a killed worker started; the kernel ends only the scanners themselves."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

_ROUNDS: Final = 250
"""Looks at all processes, 20 ms apart: what is just starting another is ended with it."""

# Sleeps until its worker is gone. Of a session of its own, so that no signal to the worker's group
# ends it, and without anything of ours, since it stays for as long as the worker does.
_WATCH: Final = """
import os, select, signal, sys, time
os.setsid()
os.chdir("/")
worker, mark = int(sys.argv[1]), sys.argv[2].encode()
try:
    select.select([os.pidfd_open(worker)], [], [])
except OSError:  # gone already, or no such call
    while os.getppid() == worker:
        time.sleep(1)
for _ in range(int(sys.argv[3])):
    is_clean = True
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                values = file.read().split(b"\\0")
            if any(each.startswith(b"TMPDIR=") and mark in each for each in values):
                is_clean = False
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # gone, or somebody else's
    if is_clean:
        break
    time.sleep(0.02)
"""

_watch: int | None = None


def watch_for_death(pid: int, mark: str) -> None:
    """Once process `pid`, which is ours, is gone, however that came: end all whose TMPDIR has the
    mark. One watch for each worker, started again if it was ended; Linux only."""
    global _watch
    if sys.platform.startswith("linux") and not _is_running(_watch):
        # By hand, since a Popen complains at the end of a worker that its process still runs.
        _watch = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", _WATCH, str(pid), mark, str(_ROUNDS)],
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, each, os.devnull, os.O_RDWR, 0) for each in range(3)
            ],
        )


def _is_running(child: int | None) -> bool:
    with suppress(ChildProcessError):  # of the process that we were forked from
        return child is not None and os.waitpid(child, os.WNOHANG) == (0, 0)
    return False
