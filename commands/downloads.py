"""Answers that are files: written to the output, or under a name once they are whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from commands.client import WRONG_USAGE, Api, Failure, Row
from commands.output import say
from contracts.vocabulary import ExportFormat

Format = Annotated[ExportFormat, typer.Option("--format", help="How to write them.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file, not to the terminal.")
]


def save(api: Api, path: str, parameters: Row, format: ExportFormat, output: Path | None) -> None:
    """Write an export to the file, or without one to the output."""
    size = 0
    with _writing(output) as file:
        for chunk in api.download(path, {**parameters, "format": format.value}):
            file.write(chunk)
            size += len(chunk)
    if output is not None:
        say(f"{size:,} bytes in {output}")


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.", code=WRONG_USAGE) from error
    finally:
        partial.unlink(missing_ok=True)
