"""Ends what scanners of a killed worker started; the kernel ends only the scanners themselves.

Also the program that does it: it imports little, since it stays for as long as its worker does.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

_watch: int | None = None


def watch_for_death(pid: int, mark: str) -> None:
    """Once process `pid`, which is ours, is gone, however that came: end all whose TMPDIR has the
    mark. One watch for each worker, started again if it was ended; Linux only."""
    global _watch
    if sys.platform.startswith("linux") and not _is_running(_watch):
        # By hand, since a Popen complains at the end of a worker that its process still runs.
        _watch = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", __file__, str(pid), mark],
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, each, os.devnull, os.O_RDWR, 0) for each in range(3)
            ],
        )


def _is_running(child: int | None) -> bool:
    try:
        return child is not None and os.waitpid(child, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # of the process that we were forked from
        return False


def _wait_for_death(pid: int) -> None:
    try:
        select.select([os.pidfd_open(pid)], [], [])
    except OSError:  # gone already, or no such call
        while os.getppid() == pid:
            time.sleep(1)


def _end_all(mark: bytes) -> bool:
    """Whether there was any."""
    found = False
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                values = file.read().split(b"\0")
            if any(each.startswith(b"TMPDIR=") and mark in each for each in values):
                found = True
                os.kill(int(name), signal.SIGKILL)
        except OSError:  # gone, or somebody else's
            continue
    return found


def main() -> None:
    """Sleep until the worker is gone; then look until nothing is left that could start more."""
    os.setsid()  # no signal to the worker's group ends it
    os.chdir("/")
    _wait_for_death(int(sys.argv[1]))
    for _ in range(250):
        if not _end_all(sys.argv[2].encode()):
            break
        time.sleep(0.02)


if __name__ == "__main__":
    main()
