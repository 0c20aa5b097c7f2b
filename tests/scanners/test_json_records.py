"""JSON objects out of a stream: whole ones, however it is cut, and the line of what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ReportMalformed
from scanners.processes import json_records
from scanners.processes.json_records import JsonRecords, Record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6)
FORMS = {
    "compact array": lambda rows: json.dumps(rows, ensure_ascii=False),
    "pretty array": lambda rows: json.dumps(rows, indent=4),
    "lines": lambda rows: "".join(f"{json.dumps(row)}\n" for row in rows),
    "lines without an end": lambda rows: "\n".join(json.dumps(row) for row in rows),
    "windows": lambda rows: "\ufeff" + "".join(f"{json.dumps(row)}\r\n\r\n" for row in rows),
}


def read(data: bytes, step: int = 1_000_000) -> list[Record]:
    """All objects, fed so many bytes at a time."""
    records = JsonRecords()
    found: list[Record] = []
    for start in range(0, len(data), step):
        found += records.feed(data[start : start + step])
    return [*found, *records.close()]


@given(rows=OBJECTS, step=st.integers(1, 60), form=st.sampled_from(sorted(FORMS)))
def test_every_object_is_found_wherever_the_stream_is_cut(
    rows: list[dict[str, Any]], step: int, form: str
) -> None:
    data = FORMS[form](rows).encode("utf-8", "surrogatepass")
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    if not rows and "array" not in form:
        with pytest.raises(ReportMalformed, match="The file is empty"):
            read(data, step)
        return
    assert [record.value for record in read(data, step)] == rows


@given(rows=OBJECTS.filter(bool), cut=st.integers(1, 10_000), step=st.integers(1, 60))
def test_an_array_that_is_cut_off_is_never_taken_for_whole(
    rows: list[dict[str, Any]], cut: int, step: int
) -> None:
    data = json.dumps(rows, indent=1).encode()
    with pytest.raises(ReportMalformed):
        read(data[: -1 - cut % (len(data) - 1)], step)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty."),
        (b" \n ", "The file is empty."),
        (b"\n\nhello", "Line 3: the file is neither"),
        (b'{"a": 1}\n{"a": }\n{"a": 3}', "Line 2, column 7: it is no JSON: Expecting value."),
        (b'{"a": 1}\n\n[1]\n', "Line 3: it is no JSON object."),
        (b'{"a": 1}\n{"a": "tex', "cut off in line 2, after 1 whole findings"),
        (b'{"a": 1}\n{"a": 2', "cut off in line 2, after 1 whole findings"),
        (b'{"a": 1}\n{"b": "\xff"}', "Line 2: it is not UTF-8."),
        (b'[{"a": 1},\n {"a" 2}, {"long": "enough to be no end"}]',
         "Finding 2, line 2: it is no JSON: Expecting ':' delimiter."),
        (b'[{"a": 1}\n {"a": 2}]', "Line 2: after finding 1 there is no comma."),
        (b'[{"a": 1},\n7]', "Finding 2 (line 2): it is no JSON object."),
        (b'[{"a": 1}]\n[{"a": 2}]', "Line 2: something follows the end of the array."),
        (b'[{"a": 1},\n', "cut off in line 2, after 1 whole findings"),
        (b'[{"a": 1}', "cut off in line 1, after 1 whole findings"),
        (b'[{"a": 1}, {"b": "' + b"\n" * 3, "cut off in line"),
        (b"[" * 200_000, "no JSON that can be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(data: bytes, words: str) -> None:
    for step in (1_000_000, 7):
        with pytest.raises(ReportMalformed) as raised:
            read(data, step)
        assert words in raised.value.message


@pytest.mark.parametrize("start", [b'[{"a": "', b'{"a": "'])
def test_an_object_without_an_end_is_not_held_without_a_limit(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "RECORD_LIMIT", 50_000)
    records = JsonRecords()
    list(records.feed(start))
    fed = 0
    with pytest.raises(ReportMalformed, match="longer than"):
        while fed < 200_000:
            list(records.feed(b"x" * 1_000))
            fed += 1_000
    assert fed < 80_000
