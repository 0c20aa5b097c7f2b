"""Files that keep what retention deletes: written whole before the rows go, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from contracts.errors import ArchiveUnavailable
from contracts.vocabulary import RetentionKind

FIX: Final = (
    "See that CLOUDSWEEP_ARCHIVE_DIRECTORY names a directory that exists on every worker of the "
    "queue maintenance, is theirs to write and has room. Until then nothing is deleted."
)


def check(directory: Path) -> None:
    """ArchiveUnavailable unless this is a directory that can be written."""
    if not directory.is_dir():
        raise ArchiveUnavailable(f"The archive {directory} is not a directory.", fix=FIX)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ArchiveUnavailable(f"The archive {directory} may not be written.", fix=FIX)


def write(
    directory: Path,
    team_id: UUID,
    kind: RetentionKind,
    lines: Sequence[str],
    *,
    first: datetime,
    last: datetime,
) -> Path:
    """Keep these lines in a file `<team>/<kind>/<first>-<last>-<digest>.ndjson.gz` of mode 0600.

    Once this returns, the file is on the disk. The same lines have the same name and the same
    bytes, so that a repetition overwrites its own file. ArchiveUnavailable: there is no file.
    """
    content = "".join(lines).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    name = f"{first:%Y%m%dT%H%M%SZ}-{last:%Y%m%dT%H%M%SZ}-{digest}.ndjson.gz"
    folder = directory / str(team_id) / kind.value
    try:
        check(directory)
        for made in (folder.parent, folder):
            if not made.is_dir():
                made.mkdir(mode=0o700, exist_ok=True)
                _sync_directory(made.parent)
        partial = folder / f".{name}.part"
        try:
            _write_file(partial, gzip.compress(content, mtime=0))
            partial.rename(folder / name)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
        _sync_directory(folder)
    except OSError as error:
        raise ArchiveUnavailable(
            f"The archive {directory} cannot be written: {error.strerror}.", fix=FIX
        ) from error
    return folder / name


def _write_file(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # it may be there, from an attempt that was killed
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """A name that is not on the disk is lost with the power, whatever the file holds."""
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
