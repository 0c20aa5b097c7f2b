"""Reading a tool's report in bounded memory, whatever is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import ijson
from ijson.common import ObjectBuilder

from contracts.errors import ReportMalformed, ScannerCrashed

MEGABYTE: Final = 1_000_000
SIZE_LIMIT: Final = 256 * MEGABYTE
DEPTH_LIMIT: Final = 60
PARTS_LIMIT: Final = 2_000_000
"""Keys and values of one value that is handed out whole."""

JsonPath = tuple[str, ...]
EACH: Final = "[]"
"""In a path: each element of an array."""


@contextmanager
def opened(report: Path, limit: int = SIZE_LIMIT) -> Iterator[IO[bytes]]:
    """The report, if it is a plain file within the limit: a larger one is refused unread.

    Raises ScannerCrashed when there is none, ReportMalformed when it is not to be read.
    """
    try:
        # A link would let a hostile tool or tree choose what we read; a pipe would never end.
        handle = os.open(report, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ScannerCrashed(f"There is no report {report.name}.") from None
    except OSError as error:
        raise ReportMalformed(
            f"The report {report.name} cannot be read: {error.strerror}."
        ) from None
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        raise ReportMalformed(f"The report {report.name} is no plain file.")
    with os.fdopen(handle, "rb") as file:
        if state.st_size > limit:
            raise ReportMalformed(
                f"The report {report.name} has {state.st_size / MEGABYTE:,.0f} MB; at most "
                f"{limit / MEGABYTE:,.0f} MB are read."
            )
        yield file


def json_values(report: Path, *wanted: JsonPath) -> Iterator[tuple[JsonPath, Any]]:
    """The values at these paths, one by one; of the rest of the report nothing is kept.

    ReportMalformed when it is no JSON, ends too early or is nested more than DEPTH_LIMIT deep.
    """
    with opened(report) as file:
        try:
            yield from _routed(file, frozenset(wanted))
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError) as error:
            raise ReportMalformed(
                f"The report {report.name} is no JSON that can be read: {str(error)[:200]!a}"
            ) from None


def _routed(file: IO[bytes], wanted: frozenset[JsonPath]) -> Iterator[tuple[JsonPath, Any]]:
    path: list[str] = []
    builder: ObjectBuilder | None = None
    builds_at = parts = 0
    for event, value in ijson.basic_parse(file):
        if isinstance(value, Decimal):
            value = float(value)
        parts += 1
        if builder is None:
            parts = 0
        elif parts > PARTS_LIMIT:
            raise ReportMalformed("One value of the report is too large.")
        if event == "map_key":
            path[-1] = value
            if builder is not None:
                builder.event(event, value)
            continue
        ends = event in ("end_map", "end_array")
        if ends:
            path.pop()
        if builder is None and not ends and tuple(path) in wanted:
            builder, builds_at = ObjectBuilder(), len(path)
        if builder is not None:
            builder.event(event, value)
        if event in ("start_map", "start_array"):
            path.append(EACH if event == "start_array" else "")
            if len(path) > DEPTH_LIMIT:
                raise ReportMalformed(f"The report is nested more than {DEPTH_LIMIT} deep.")
        elif builder is not None and len(path) == builds_at:
            yield tuple(path), builder.value
            builder = None


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list; what is no list, or no object in it, is left out."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def within(value: object, *keys: str) -> Any:
    """What lies at these keys, one inside the other; None when there is no such place."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
