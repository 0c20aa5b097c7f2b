"""A stack's hold on its data directory: the lock, and what it says of itself in `stack.json`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from pydantic import ValidationError

from contracts.base import Contract
from runtime.embedded.processes import StackFailed

FILE: Final = "stack.json"

CLOCK_SECONDS: Final = 60.0
"""The kernel counts from its start, which seems to move when the machine's clock is set."""


class StackRecord(Contract):
    """Where a stack answers, and its processes by name."""

    pid: int
    started: float
    """The supervisor's own start, in seconds since 1970: a pid alone may be reused."""
    api_url: str
    docs_url: str
    ui_url: str | None
    temporal_address: str | None
    database_url: str | None
    children: dict[str, int]


def write(data_dir: Path, record: StackRecord) -> None:
    """Replace the record in one step; only its owner may read it."""
    path = data_dir / FILE
    new = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        new.unlink()
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(record.model_dump_json(indent=2) + "\n")
    new.replace(path)


def read(data_dir: Path) -> StackRecord | None:
    """The record of the stack that runs on this data directory; None when none does."""
    try:
        record = StackRecord.model_validate_json((data_dir / FILE).read_bytes())
        apart = abs(psutil.Process(record.pid).create_time() - record.started)
    except (OSError, ValidationError, psutil.Error):
        return None
    return record if apart < CLOCK_SECONDS else None


def remove(data_dir: Path) -> None:
    """Say no more; nothing to do when there is no record."""
    (data_dir / FILE).unlink(missing_ok=True)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory; the kernel lets go of it however this process ends."""
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackFailed(
            f"The data directory {data_dir} cannot be used: {error.strerror}.",
            fix="Set CLOUDSWEEP_DATA_DIR to a directory that you may write to.",
        ) from error
    with open(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackFailed(
                f"A stack runs on {data_dir} already, as process {file.read().strip() or '?'}.",
                fix="Use that one, stop it, or set CLOUDSWEEP_DATA_DIR and other ports for a "
                "second one.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
