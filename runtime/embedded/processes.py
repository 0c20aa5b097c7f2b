"""Processes that cannot outlive us, and recognising those that did all the same."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import psutil

from contracts.errors import CloudsweepError

MARK = "CLOUDSWEEP_MEMBER"
"""Environment variable that every child and its descendants carry: `<data dir>#<child's name>`."""


class StackFailed(CloudsweepError):
    """The embedded stack, or one part of it, cannot run here; says which part and what to do."""

    code = "stack_failed"


def token(path: Path) -> str:
    """A short name for a directory, the same for every process and every start."""
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]


def mark(owner: Path, name: str = "") -> str:
    """The value of `MARK` for one child of the stack at `owner`; without a name, its prefix."""
    return f"{owner.resolve()}#{name}"


# ---- starting ----


@lru_cache
def _setpriv() -> str | None:
    """`setpriv` of util-linux, or None where there is none that knows `--pdeathsig`."""
    path = shutil.which("setpriv") if sys.platform == "linux" else None
    if path is None:
        return None
    probe = subprocess.run(  # noqa: S603 (a fixed command)
        [path, "--pdeathsig", "TERM", "--", "true"], capture_output=True, check=False
    )
    return path if probe.returncode == 0 else None


def tied(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """The command, made to receive a signal when the thread that starts it dies.

    Where the kernel or `setpriv` cannot do that, the command itself: the next start of the stack
    then finds the process by its mark and ends it.
    """
    setpriv = _setpriv()
    if setpriv is None:
        return [*command]
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--", *command]


def unprivileged(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """`tied`, and as the user nobody when we are root, for programs that refuse to run as root.

    The one capability that is kept lets it reach data and programs below directories that only
    root may enter, such as /root, without changing the mode of anything. `no_setuid_fixup` makes
    access(2), which PostgreSQL asks about its own binary, honour that capability.
    """
    if os.geteuid() != 0:
        return tied(command, death_signal)
    setpriv = _setpriv()
    if setpriv is None:
        raise StackFailed(
            "PostgreSQL refuses to run as root, and there is no `setpriv` to change user with.",
            fix="Run as an ordinary user, install util-linux, or set CLOUDSWEEP_DATABASE_URL.",
        )
    user, group = nobody()
    return [
        setpriv,
        *(f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"),
        *("--securebits=+no_setuid_fixup", "--inh-caps=-all,+dac_override"),
        "--ambient-caps=+dac_override",
        *("--pdeathsig", death_signal.name.removeprefix("SIG"), "--", *command),
    ]


def nobody() -> tuple[int, int]:
    """User and group id of the account `nobody`, which every Unix has."""
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


# ---- recognising and ending ----


def marked(owner: Path, name: str = "") -> list[psutil.Process]:
    """Every process that carries the mark of this stack, or of one child of it; never ourselves."""
    wanted = mark(owner, name)
    found = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
        except (psutil.Error, OSError):  # gone, or another user's
            continue
        if (value == wanted if name else value.startswith(wanted)) and process.pid != os.getpid():
            found.append(process)
    return found


def alive(process: psutil.Process) -> bool:
    """True until the process ended; one that only waits to be reaped has ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def end(
    processes: Iterable[psutil.Process], steps: Sequence[tuple[signal.Signals, float]] = ()
) -> None:
    """End these processes: each signal with the seconds it may take, and SIGKILL at last."""
    remaining = [process for process in processes if alive(process)]
    for signal_number, grace in (*steps, (signal.SIGKILL, 10.0)):
        for process in remaining:
            try:
                process.send_signal(signal_number)
            except psutil.NoSuchProcess:
                continue
        deadline = asyncio.get_running_loop().time() + grace
        while remaining := [process for process in remaining if alive(process)]:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.02)
        if not remaining:
            return
    raise StackFailed(
        "A leftover process does not end: "
        + ", ".join(f"{process.pid}" for process in remaining)
        + ".",
        fix="End it by hand (as its owner or root), then start again.",
    )
