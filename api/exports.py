"""Rows as files: CSV for spreadsheets, NDJSON for programs, OCSF for other security tools."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from contracts.vocabulary import ExportFormat

PAGE: Final = 500
"""Rows read and held at a time."""

MEDIA_TYPES: Final = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.OCSF: "application/x-ndjson",
}
ENDINGS: Final = {
    ExportFormat.CSV: "csv",
    ExportFormat.NDJSON: "ndjson",
    ExportFormat.OCSF: "ocsf.ndjson",
}
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet would run; clouds let people name things so."""

RowT = TypeVar("RowT", bound=BaseModel)
Columns = Mapping[str, Callable[[RowT], Any]]
"""The columns of a CSV by name, and how each is read from a row."""


class Piece(NamedTuple):
    """Some rows in the order of the list, and where the next ones begin; None at the end."""

    rows: Sequence[Any]
    after: Any
    record: Callable[[Any], dict[str, Any]] | None
    """A row as OCSF; None where the export is not written so."""


Reader = Callable[[Any], Awaitable[Piece]]
"""Reads the rows after a place; the first ones after None."""


def described(noun: str) -> dict[int | str, dict[str, Any]]:
    """What an export answers, for the description of the API."""
    content = {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}
    return {200: {"description": f"The {noun}, one a line.", "content": content}}


async def answer(
    noun: str, read: Reader, columns: Columns[Any], format: ExportFormat, at: datetime
) -> StreamingResponse:
    """The export as a file to save. Its first piece is read before this returns, so that what is
    wrong is still an answer of its own; one piece is held at a time. What goes wrong later cuts the
    answer off before its end, which no client takes for a whole one."""
    name = f"{noun}-{at:%Y%m%dT%H%M%SZ}.{ENDINGS[format]}"
    return StreamingResponse(
        await exported(read, columns, format),
        media_type=MEDIA_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def exported(
    read: Reader, columns: Columns[Any], format: ExportFormat
) -> AsyncIterator[bytes]:
    """The lines of the export, its first piece already read."""
    return _lines(await read(None), read, columns, format)


async def _lines(
    piece: Piece, read: Reader, columns: Columns[Any], format: ExportFormat
) -> AsyncIterator[bytes]:
    if format is ExportFormat.CSV:
        yield _csv([list(columns)])
    while True:
        # In a thread: writing a piece takes milliseconds that other requests need not wait for.
        yield await asyncio.to_thread(_written, piece, columns, format)
        if piece.after is None:
            return
        piece = await read(piece.after)


def _written(piece: Piece, columns: Columns[Any], format: ExportFormat) -> bytes:
    if format is ExportFormat.CSV:
        return _csv([[_cell(value(row)) for value in columns.values()] for row in piece.rows])
    write = piece.record
    if write is None:
        return "".join(f"{row.model_dump_json()}\n" for row in piece.rows).encode()
    return "".join(f"{_json(write(row))}\n" for row in piece.rows).encode()


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _csv(rows: list[list[Any]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        value = value.isoformat().replace("+00:00", "Z")
    text = "" if value is None else str(value)
    # An apostrophe makes it text for every spreadsheet, also behind leading spaces.
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
