"""kube-bench: the CIS benchmark of the Kubernetes node that it runs on.

Written from its documentation and source; never tried with the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.errors import ReportMalformed
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    NativeFinding,
    NativeTool,
    Node,
    ScanPolicy,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, objects

TOOL: Final = NativeTool.KUBE_BENCH
REPORT: Final = "kube-bench.json"

_CONTROLS: Final = ("Controls", EACH)
_TOTALS: Final = ("Totals",)
_BY_HAND: Final = frozenset({"WARN", "INFO"})


def command(target: Node, policy: ScanPolicy, workdir: Path) -> list[str]:
    """Every benchmark that fits this node; nothing of it is the target's choice."""
    return ["kube-bench", "run", "--json"]


def failure(code: int) -> str | None:
    """Failed tests are no failure of the tool."""
    return None if code == 0 else f"ended with exit code {code}"


def parse(report: Path, target: Node) -> Iterator[Reported]:
    """A finding for each test that failed; tests that a person must do are not assessed."""
    asset = hostile_text.line(target.name)
    tests, is_whole, by_hand = 0, False, list[str]()
    for path, value in json_values(report, _CONTROLS, _TOTALS):
        if path == _TOTALS:
            is_whole = True
            continue
        if not isinstance(value, dict):
            raise ReportMalformed("A control in the report of kube-bench is no object.")
        for section in objects(value.get("tests")):
            for each in objects(section.get("results")):
                tests += 1
                number = hostile_text.line(each.get("test_number"), 40)
                status = hostile_text.line(each.get("status"), 10)
                if status == "FAIL":
                    yield _finding(each, number, asset)
                elif status in _BY_HAND:
                    by_hand.append(number)
    if not tests:
        yield AssetCoverage(asset, AssetOutcome.FAILED, "kube-bench found nothing to test here.")
    elif not is_whole:
        yield AssetCoverage(asset, AssetOutcome.PARTIAL, "The report of kube-bench has no totals.")
    else:
        yield AssetCoverage(asset, AssetOutcome.ASSESSED, "", tuple(by_hand))


def _finding(each: dict[str, Any], number: str, asset: str) -> NativeFinding:
    if not number:
        raise ReportMalformed("A test in the report of kube-bench has no number.")
    return NativeFinding(
        tool=TOOL,
        rule=number,
        title=hostile_text.line(each.get("test_desc")) or number,
        severity=Severity.MEDIUM,
        asset=asset,
        identity=(TOOL.value, asset, number),
        evidence=hostile_text.lines(each.get("actual_value"), 1_000),
        remediation=hostile_text.lines(each.get("remediation")),
    )


ADAPTER: Final = Adapter[Node](
    tool=TOOL,
    program="kube-bench",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    output=REPORT,
)
