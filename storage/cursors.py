"""Keyset cursors: opaque to callers, and refused when they are not of this list."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from contracts.errors import ScopeInvalid

Parse = Callable[[str], Any]


def encode(kind: str, *values: object) -> str:
    """The cursor that continues after the row with these values in the list called `kind`."""
    parts = json.dumps([kind, *map(str, values)], separators=(",", ":"))
    return base64.urlsafe_b64encode(parts.encode()).rstrip(b"=").decode()


def decode(kind: str, cursor: str | None, parsers: Sequence[Parse]) -> list[Any] | None:
    """The values `encode` was given, or None without a cursor; ScopeInvalid if it is not ours."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(
            cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        found, *values = json.loads(raw)
        if found != kind:
            raise ValueError(kind)
        if any("\0" in value for value in values):  # which no text in PostgreSQL can hold
            raise ValueError(values)
        return [parse(value) for parse, value in zip(parsers, values, strict=True)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ScopeInvalid(
            "This cursor is not one that this list gave.",
            field="cursor",
            fix="Use `next_cursor` of the page before, or leave it out to start at the beginning.",
        ) from None


def decode_id(kind: str, cursor: str | None) -> UUID | None:
    """The id a cursor over ids alone stands at."""
    values = decode(kind, cursor, [UUID])
    return values[0] if values else None
