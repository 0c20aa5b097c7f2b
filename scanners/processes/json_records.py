"""JSON objects one by one out of a stream: an array of them, or one a line (NDJSON)."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from contracts.errors import ReportMalformed

RECORD_LIMIT: Final = 4_000_000
"""Characters of one object; no more than this is ever held of an array that does not end."""
NEAR_THE_END: Final = 16
"""Characters before the end of what was read where an error may only mean that more is to come."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODE: Final = json.JSONDecoder().raw_decode


class Record(NamedTuple):
    """One object and where it stands: what people look for when it is wrong."""

    place: str
    value: dict[str, Any]


class JsonRecords:
    """Feed bytes, get the objects that are complete; what is held is one object and one chunk.

    Raises ReportMalformed with the line, and for arrays the number of the object.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""
        self._line = 1  # where `_rest` begins
        self._found = 0
        self._is_array: bool | None = None
        self._expects = "first"
        self._try_at = 0

    def feed(self, data: bytes) -> Iterator[Record]:
        """The objects that these bytes complete."""
        yield from self._take(data, final=False)

    def close(self) -> Iterator[Record]:
        """The objects that the end completes; ReportMalformed if it comes too early."""
        yield from self._take(b"", final=True)
        if self._is_array is None:
            raise ReportMalformed("The file is empty.")
        if self._is_array and self._expects != "nothing":
            raise self._cut_off()

    def _take(self, data: bytes, *, final: bool) -> Iterator[Record]:
        try:
            self._rest += self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].count(b"\n")
            line = self._line + self._rest.count("\n") + before
            raise ReportMalformed(f"Line {line}: it is not UTF-8.") from None
        if self._is_array is None:
            start = self._rest.lstrip(" \t\r\n")
            if not start:
                return
            if start[0] not in "[{":
                raise ReportMalformed(
                    f"Line {self._line + self._rest[: -len(start)].count(chr(10))}: the file is "
                    "neither a JSON array nor JSON objects, one a line."
                )
            self._is_array = start[0] == "["
        if final or len(self._rest) >= self._try_at:
            yield from self._array(final) if self._is_array else self._lines(final)
            held = len(self._rest)  # a large object is not tried again for each few bytes more
            self._try_at = held * 5 // 4 if held > RECORD_LIMIT // 16 else 0

    def _lines(self, final: bool) -> Iterator[Record]:
        lines = self._rest.split("\n")
        self._rest = "" if final else lines.pop()
        for position, line in enumerate(lines):
            if line.strip():
                is_last = final and position == len(lines) - 1
                yield self._line_record(line.strip(), is_last)
            self._line += 1
        if len(self._rest) > RECORD_LIMIT:
            raise self._too_long()

    def _line_record(self, line: str, is_last: bool) -> Record:
        place = f"line {self._line}"
        if len(line) > RECORD_LIMIT:
            raise self._too_long()
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            if is_last and _may_go_on(error, line):
                raise self._cut_off() from None
            raise ReportMalformed(
                f"Line {self._line}, column {error.colno}: it is no JSON: {error.msg}."
            ) from None
        except (ValueError, RecursionError):
            raise ReportMalformed(f"Line {self._line}: it is no JSON that can be read.") from None
        return self._record(place, value)

    def _record(self, place: str, value: Any) -> Record:
        if not isinstance(value, dict):
            raise ReportMalformed(f"{place.capitalize()}: it is no JSON object.")
        self._found += 1
        return Record(place, value)

    def _array(self, final: bool) -> Iterator[Record]:
        text, at, counted = self._rest, 0, 0
        while True:
            at = _after_space(text, at)
            self._line += text.count("\n", counted, at)
            counted = at
            if at == len(text):
                break
            if self._expects in ("first", "comma", "first value", "nothing"):
                at = self._punctuation(text[at], at)
                if at > counted:
                    continue
            place = f"finding {self._found + 1} (line {self._line})"
            try:
                value, end = _DECODE(text, at)
            except json.JSONDecodeError as error:
                if not _may_go_on(error, text):
                    line = self._line + text.count("\n", counted, error.pos)
                    raise ReportMalformed(
                        f"Finding {self._found + 1}, line {line}: it is no JSON: {error.msg}."
                    ) from None
                if final:
                    raise self._cut_off() from None
                if len(text) - at > RECORD_LIMIT:
                    raise self._too_long() from None
                break
            except (ValueError, RecursionError):
                raise ReportMalformed(
                    f"{place.capitalize()} is no JSON that can be read."
                ) from None
            yield self._record(place, value)
            self._line += text.count("\n", at, end)
            at = counted = end
            self._expects = "comma"
        self._rest = text[at:]

    def _punctuation(self, sign: str, at: int) -> int:
        """Past a sign that may stand here; where it is, if a value may."""
        match self._expects, sign:
            case "first", "[":
                self._expects = "first value"
            case (("comma" | "first value"), "]"):
                self._expects = "nothing"
            case "comma", ",":
                self._expects = "value"
            case "first value", _:
                return at
            case "nothing", _:
                raise ReportMalformed(
                    f"Line {self._line}: something follows the end of the array. A tool that "
                    "writes a second report into the same file does that."
                )
            case _:
                raise ReportMalformed(
                    f"Line {self._line}: after finding {self._found} there is no comma."
                )
        return at + 1

    def _cut_off(self) -> ReportMalformed:
        where = f"line {self._line + self._rest.count(chr(10))}"
        return ReportMalformed(
            f"The file is cut off in {where}, after {self._found} whole findings."
        )

    def _too_long(self) -> ReportMalformed:
        return ReportMalformed(
            f"Line {self._line}: finding {self._found + 1} is longer than {RECORD_LIMIT:,} "
            "characters."
        )


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _may_go_on(error: json.JSONDecodeError, text: str) -> bool:
    """Whether more text may mend this error: it stands at the end, or in a string without one."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - NEAR_THE_END
