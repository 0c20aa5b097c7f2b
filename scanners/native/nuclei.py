"""Nuclei: known weaknesses of one web server, by templates.

Written from its documentation and source; never tried with the real one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.errors import ReportMalformed, ScannerCrashed
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    Endpoint,
    NativeFinding,
    NativeTool,
    ScanPolicy,
    ToolProgress,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported, endpoint_name, pinned_url, plain, port_of
from scanners.processes import hostile_text
from scanners.processes.json_records import JsonRecords, Record
from scanners.processes.report_files import opened, within
from scanners.severities import of_cvss, of_word

TOOL: Final = NativeTool.NUCLEI
REPORT: Final = "nuclei.jsonl"
STATISTICS: Final = "stderr"
"""Where it tells how far it got: nothing in its report does."""

_CHUNK: Final = 1_000_000
_TAIL: Final = 20_000
_LEFT_OUT: Final = "dos,fuzz,intrusive,brute-force"


def command(target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """The pinned address, with the name as Host and SNI; no redirect leads elsewhere."""
    target = plain(target)
    names = []
    if target.host != target.address:
        names = ["-H", f"Host: {target.host}", "-sni", target.host]
    severities = {"quick": ["-severity", "high,critical"]}
    return [
        *("nuclei", f"-u={pinned_url(target)}", *names),
        *("-t", str(_templates()), "-etags", _LEFT_OUT, *severities.get(policy.checks, [])),
        *("-jsonl", "-o", REPORT, "-silent", "-nc", "-duc", "-ni", "-dr", "-or", "-ot"),
        *("-rl", str(policy.rate), "-c", str(policy.parallelism)),
        *("-timeout", "5", "-retries", "1", "-stats", "-sj", "-si", "5"),
    ]


def _templates() -> Path:
    """Where the templates are that the operator keeps fresh: as Nuclei itself looks for them."""
    named = os.environ.get("NUCLEI_TEMPLATES_DIR")
    return Path(named) if named else Path.home() / "nuclei-templates"


def failure(code: int) -> str | None:
    """Any other code means that it gave up, as without templates."""
    return None if code == 0 else f"ended with exit code {code}"


def progress(line: str) -> ToolProgress | None:
    """Its statistics, a JSON object a line; numbers in them are texts."""
    if (percent := _number(_statistics(line), "percent")) is None:
        return None
    return ToolProgress("templates", max(0.0, min(100.0, percent)))


def parse(report: Path, target: Endpoint) -> Iterator[Reported]:
    """A finding for each match. Whole once the statistics say so: silence may be a dead server."""
    asset = endpoint_name(target)
    is_cut = False
    for each in _records(report):
        if each is None:
            is_cut = True
        else:
            yield _finding(each, asset, target)
    yield _reached(report.with_name(STATISTICS), asset, is_cut=is_cut)


def _records(report: Path) -> Iterator[Record | None]:
    """The records; None at the end when the last one is cut off."""
    reader, is_empty = JsonRecords(), True
    with opened(report) as file:
        while data := file.read(_CHUNK):
            is_empty = False
            yield from reader.feed(data)
    try:
        yield from reader.close()
    except ReportMalformed as error:
        if "cut off" in error.message:
            yield None
        elif not is_empty:
            raise


def _reached(statistics: Path, asset: str, *, is_cut: bool) -> AssetCoverage:
    last = None
    try:
        with opened(statistics) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            for line in file.read().decode(errors="replace").splitlines():
                last = _statistics(line) or last
    except (ScannerCrashed, ReportMalformed):
        last = None
    percent, errors, requests = (_number(last, key) for key in ("percent", "errors", "requests"))
    if requests and errors is not None and errors >= requests:
        return AssetCoverage(asset, AssetOutcome.UNREACHABLE, "No request was answered.")
    if is_cut or percent is None or percent < 100:
        reason = "Nuclei did not say that it finished."
        return AssetCoverage(asset, AssetOutcome.PARTIAL, reason)
    return AssetCoverage(asset, AssetOutcome.ASSESSED)


def _statistics(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or len(line) > 5_000:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "percent" in value else None


def _number(record: dict[str, Any] | None, key: str) -> float | None:
    try:
        number = float(str((record or {})[key])[:20])
    except (KeyError, ValueError):
        return None
    return number if 0 <= number < 1e15 else None


def _finding(record: Record, asset: str, target: Endpoint) -> NativeFinding:
    value = record.value
    template = hostile_text.line(value.get("template-id"), 200)
    if not template:
        raise ReportMalformed(f"{record.place}: the record of Nuclei names no template.")
    matcher = hostile_text.line(value.get("matcher-name"), 200)
    port = hostile_text.line(value.get("port"), 10) or str(port_of(target))
    info = value.get("info")
    words = within(info, "severity")
    score = of_cvss(within(info, "classification", "cvss-score"))
    extracted = value.get("extracted-results")
    shown = (
        [hostile_text.line(each) for each in extracted[:10]] if isinstance(extracted, list) else []
    )
    number = within(info, "classification", "cve-id")
    return NativeFinding(
        tool=TOOL,
        rule=template,
        title=hostile_text.line(within(info, "name")) or template,
        severity=of_word(words, score or Severity.INFORMATIONAL),
        asset=asset,
        identity=(TOOL.value, asset, template, matcher, target.host, port),
        evidence="\n".join([hostile_text.line(value.get("matched-at"), 1_000), *shown]).strip(),
        cves=hostile_text.cves(number if isinstance(number, list) else [number]),
        remediation=hostile_text.lines(within(info, "remediation"), 1_000),
        references=hostile_text.links(within(info, "reference")),
    )


ADAPTER: Final = Adapter[Endpoint](
    tool=TOOL,
    program="nuclei",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    progress=progress,
    keeps_partial=True,
    output="matches.txt",
)
