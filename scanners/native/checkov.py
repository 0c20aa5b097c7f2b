"""checkov: mistakes in infrastructure as code. Written for 3.3.30."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.errors import ReportMalformed, ScopeInvalid
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    NativeFinding,
    NativeTool,
    ScanPolicy,
    SourceTree,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, within
from scanners.severities import of_word

TOOL: Final = NativeTool.CHECKOV
REPORT: Final = "checkov.json"

FILE_LIMIT: Final = 5_000_000
"""Bytes of one file; a larger one is nobody's configuration."""
TREE_LIMIT: Final = 100_000_000
FILES_LIMIT: Final = 50_000

_COPY: Final = "tree"
_ORDERS: Final = frozenset({".checkov.yaml", ".checkov.yml"})
_PASSED_OVER: Final = frozenset({".git", ".hg", ".svn", "node_modules", ".terraform", ".venv"})
_NOT_RUN: Final = ("helm", "kustomize", "sca_image", "sca_package")
"""Frameworks that start other programs, or ask others about packages."""

_ONE: Final = ("results", "failed_checks", EACH)
_ONE_SUMMARY: Final = ("summary",)
_EMPTY: Final = ("resource_count",)


def prepare(target: SourceTree, policy: ScanPolicy, workdir: Path) -> None:
    """A copy of the tree without checkov's own orders, for it would run Python that they name.

    Only plain files are copied: a link could point anywhere. ScopeInvalid for a tree that is
    not there or too large.
    """
    if not target.directory.is_dir():
        raise ScopeInvalid(f"There is no directory of {hostile_text.line(target.name)}.")
    files = size = 0
    for place, directories, names in os.walk(target.directory, followlinks=False):
        directories[:] = [each for each in directories if each not in _PASSED_OVER]
        copy = workdir / _COPY / os.path.relpath(place, target.directory)
        copy.mkdir(parents=True, exist_ok=True)
        for name in names:
            source = Path(place) / name
            state = source.lstat()
            if name in _ORDERS or not stat.S_ISREG(state.st_mode) or state.st_size > FILE_LIMIT:
                continue
            files, size = files + 1, size + state.st_size
            if files > FILES_LIMIT or size > TREE_LIMIT:
                raise ScopeInvalid(
                    f"{hostile_text.line(target.name)} is too large: at most {FILES_LIMIT:,} files "
                    f"of together {TREE_LIMIT // 1_000_000} MB are scanned.",
                    fix="Name a directory below it.",
                )
            shutil.copyfile(source, copy / name, follow_symlinks=False)


def command(target: SourceTree, policy: ScanPolicy, workdir: Path) -> list[str]:
    """The copy, in one word: checkov looks for its orders in what follows a bare `--directory`."""
    return [
        "checkov",
        f"--directory={_COPY}",
        *("--output", "json", "--compact", "--quiet", "--skip-download", "--soft-fail"),
        *("--skip-framework", *_NOT_RUN),
    ]


def failure(code: int) -> str | None:
    """With --soft-fail findings are no failure, so that every other code is one."""
    return None if code == 0 else f"ended with exit code {code}"


def parse(report: Path, target: SourceTree) -> Iterator[Reported]:
    """One object for one framework, a list for several, a flat summary for none."""
    asset = hostile_text.line(target.name)
    unread, is_known = 0, False
    wanted = [path for each in (_ONE, _ONE_SUMMARY) for path in (each, (EACH, *each))]
    for path, value in json_values(report, *wanted, _EMPTY):
        if path[-1] == EACH:
            if isinstance(value, dict):
                yield _finding(value, asset)
        elif path[-1] == _ONE_SUMMARY[-1]:
            is_known = True
            unread += _count(within(value, "parsing_errors"))
        else:
            is_known = True
    if not is_known:
        raise ReportMalformed("The report of checkov has no summary.")
    if unread:
        reason = f"checkov could not read {unread} of the files."
        yield AssetCoverage(asset, AssetOutcome.PARTIAL, reason)
    else:
        yield AssetCoverage(asset, AssetOutcome.ASSESSED)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 1


def _finding(check: dict[str, Any], asset: str) -> NativeFinding:
    rule = hostile_text.line(check.get("check_id"), 100)
    path = hostile_text.line(check.get("file_path"), 1_000)
    resource = hostile_text.line(check.get("resource"), 500)
    if not rule:
        raise ReportMalformed("A finding of checkov has no `check_id`.")
    lines = check.get("file_line_range")
    place = path
    if isinstance(lines, list) and lines:
        place += ":" + "-".join(hostile_text.line(each, 10) for each in lines[:2])
    return NativeFinding(
        tool=TOOL,
        rule=rule,
        title=hostile_text.line(check.get("check_name")) or rule,
        severity=of_word(check.get("severity"), Severity.MEDIUM),
        asset=asset,
        identity=(TOOL.value, asset, rule, path, resource),  # lines move with every edit above
        evidence=hostile_text.lines(f"{resource} in {place}"),
        references=hostile_text.links(check.get("guideline")),
    )


ADAPTER: Final = Adapter[SourceTree](
    tool=TOOL,
    program="checkov",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    prepare=prepare,
    output=REPORT,
    needs_network=False,
)
