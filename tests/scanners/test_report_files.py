"""Reports are read in bounded memory, and text in them is harmless afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ReportMalformed, ScannerCrashed
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, opened


def read(directory: Path, text: str | bytes, *wanted: tuple[str, ...]) -> list[Any]:
    report = directory / "report.json"
    report.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [value for _, value in json_values(report, *wanted)]


def test_a_report_of_two_gigabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.touch()
    os.truncate(report, 2_000_000_000)  # of holes: it takes no place
    with pytest.raises(ReportMalformed, match=r"2,000 MB; at most 256 MB"), opened(report):
        pass


def test_only_a_plain_file_is_a_report(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("/etc/passwd")
    os.mkfifo(pipe)
    for each in (link, pipe, tmp_path):
        with pytest.raises(ReportMalformed), opened(each):
            pass
    with pytest.raises(ScannerCrashed, match="no report gone"), opened(tmp_path / "gone"):
        pass


def test_values_come_from_their_paths_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    text = '{"a": {"b": [{"c": [1, {"d": 2.5}]}, [], "x", null]}, "b": [9], "e": {"f": true}}'
    assert read(tmp_path, text, ("a", "b", EACH), ("e", "f")) == [
        {"c": [1, {"d": 2.5}]}, [], "x", None, True
    ]  # fmt: skip
    assert read(tmp_path, "[3, 4]", (EACH,)) == [3, 4]
    assert read(tmp_path, "{}", ("a", EACH)) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": [1, 2', "[" * 100_000, "{} {}", '{"a": 1e}', b'{"a": "\xff"}', "nonsense"],
    ids=["empty", "open", "cut off", "depth", "two", "number", "encoding", "words"],
)
def test_a_report_that_is_no_json_is_malformed(text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(ReportMalformed):
        read(tmp_path, text, ("a", EACH), (EACH,))


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=10,
    )
)
def test_every_value_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    directory = tmp_path_factory.mktemp("json")
    text = json.dumps({"a": [value], "b": value}, ensure_ascii=False).encode(errors="replace")
    expected = json.loads(text)["b"]
    assert read(directory, text, ("a", EACH), ("b",)) == [expected, expected]


@settings(max_examples=200)
@given(st.text(st.characters()), st.integers(2, 50))
def test_text_is_harmless_printable_and_capped(text: str, limit: int) -> None:
    for made in (hostile_text.line(text, limit), hostile_text.lines(text, limit)):
        made.encode()
        assert len(made) <= limit
        assert made.replace("\n", "").replace("\t", "").isprintable()
    assert hostile_text.line(text, limit).isprintable()


def test_control_characters_stay_visible_and_change_nothing() -> None:
    assert hostile_text.line("\x1b[31mred\x00\u202etxt.exe\ud800") == (
        "\\x1b[31mred\\x00\\u202etxt.exe\\ud800"
    )
    assert hostile_text.lines(" one\r\ntwo\a ") == "one\ntwo\\x07"
    assert hostile_text.line("Käse 日本語 🙂") == "Käse 日本語 🙂"
    assert hostile_text.line("x" * 10**6) == "x" * 299 + "…"
    assert hostile_text.line(10**5_000) == "a very large number"
    assert hostile_text.line({"not": "text"}) == ""


def test_cves_and_links_are_only_what_they_are() -> None:
    said = ["cve-2014-0160, CVE-2014-0160 and CVE-2016-9244", None, "CVE-99", 7]
    assert hostile_text.cves(said) == ("CVE-2014-0160", "CVE-2016-9244")
    assert hostile_text.links(["https://a.example/x", "javascript:alert(1)", 3, "file:///x"]) == (
        "https://a.example/x",
    )
    assert hostile_text.links(None) == ()
