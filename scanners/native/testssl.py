"""testssl.sh: protocols, certificate and known weaknesses of one TLS endpoint. For 3.0.8."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from contracts.errors import ReportMalformed
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    Endpoint,
    NativeFinding,
    NativeTool,
    ScanPolicy,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported, endpoint_name, in_brackets, plain, port_of
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, opened
from scanners.severities import of_word

TOOL: Final = NativeTool.TESTSSL
REPORT: Final = "testssl.json"

_CHECKS: Final = {
    "quick": ["-p", "-S", "--fast"],  # protocols and certificate
    "standard": ["-p", "-S", "-U", "--fast"],  # and known weaknesses
    "thorough": [],  # everything
}
_EXITS: Final = {
    245: "found no TLS on this port",
    246: "could not connect",
    247: "could not use the address",
    254: "did not take its arguments",
}
_SECTIONS: Final = {
    "SSLv2": ("SSLv*", "TLS1*", "NPN*", "ALPN*", "pre_128cipher"),
    "cert_numbers": (
        *("cert*", "OCSP*", "DNS_CAA*", "TLS_extensions", "TLS_session_ticket", "TLS_timestamp"),
        *("SSL_sessionID_support", "sessionresumption*"),
    ),
    "heartbleed": (
        *("heartbleed", "CCS", "ticketbleed", "ROBOT*", "secure_*renego", "CRIME*", "BREACH*"),
        *("POODLE*", "fallback_SCSV", "SWEET32", "FREAK", "DROWN*", "LOGJAM*", "BEAST*"),
        *("LUCKY13", "RC4", "winshock"),
    ),
    "cipherlist_NULL": ("*",),
}
"""A row that a section always writes, and the rules of that section: which rows it may write."""
_SILENT: Final = frozenset({"OK", "DEBUG"})
_UNANSWERED: Final = frozenset({"WARN", "FATAL"})
_ABOUT_THE_RUN: Final = frozenset({"scanTime", "engine_problem", "scanProblem", "service"})


def command(target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """One endpoint at its pinned address; no name is looked up and nobody else is asked."""
    target = plain(target)
    is_v6 = ipaddress.ip_address(target.address).version == 6
    return [
        *("testssl", "--quiet", "--color", "0", "--warnings", "batch"),
        *("--connect-timeout", "10", "--openssl-timeout", "10"),
        *_CHECKS[policy.checks],
        *(["--ids-friendly"] if policy.timing == 2 else []),
        *(["-6"] if is_v6 else []),
        *("--ip", target.address, "-n", "none"),
        *("--jsonfile", REPORT),
        "--",
        f"{in_brackets(target.host)}:{port_of(target)}",
    ]


def failure(code: int) -> str | None:
    """Small codes count what it could not decide, in whole runs too; large ones are its errors."""
    if code in _EXITS:
        return _EXITS[code]
    return f"ended with exit code {code}" if code < 0 or code >= 200 else None


def parse(report: Path, target: Endpoint) -> Iterator[Reported]:
    """A finding for each row that is not OK; whole only if it says how long it took."""
    asset = endpoint_name(target)
    is_whole = False
    undecided: list[str] = []
    assessed: list[str] = []
    complaint: tuple[AssetOutcome, str] | None = None
    for row in _rows(report):
        rule = hostile_text.line(row.get("id"), 100)
        severity = hostile_text.line(row.get("severity"), 20).upper()
        assessed += _SECTIONS.get(rule, ())
        if rule == "scanTime":
            is_whole = severity == "INFO"
        elif severity == "FATAL" or rule == "optimal_proto":
            complaint = _complaint(severity, hostile_text.line(row.get("finding")))
        elif rule in _ABOUT_THE_RUN or not rule:
            continue
        elif severity in _UNANSWERED:
            undecided.append(rule)
        elif severity not in _SILENT:
            yield _finding(rule, severity, row, asset, target)
    if complaint:
        yield AssetCoverage(asset, *complaint)
    elif is_whole:
        yield AssetCoverage(asset, AssetOutcome.ASSESSED, "", tuple(undecided), tuple(assessed))
    else:
        yield AssetCoverage(asset, AssetOutcome.PARTIAL, "testssl did not finish.")


def _rows(report: Path) -> Iterator[dict[str, Any]]:
    """Its rows, also of a report that was cut off when the tool was killed while it wrote."""
    try:
        for _, row in json_values(report, (EACH,)):
            if isinstance(row, dict):
                yield row
    except ReportMalformed:
        with opened(report) as file:
            whole = file.read(100).lstrip()
            file.seek(max(0, file.seek(0, os.SEEK_END) - 100))
            if not whole.startswith(b"[") or file.read().rstrip().endswith(b"]"):
                raise


def _complaint(severity: str, words: str) -> tuple[AssetOutcome, str]:
    cannot_connect = severity == "FATAL" and "connect" in words
    return AssetOutcome.UNREACHABLE if cannot_connect else AssetOutcome.FAILED, words


def _finding(
    rule: str, severity: str, row: dict[str, Any], asset: str, target: Endpoint
) -> NativeFinding:
    numbers = hostile_text.cves([row.get("cve")])
    return NativeFinding(
        tool=TOOL,
        rule=rule,
        title=f"TLS: {rule.replace('_', ' ')}",
        severity=of_word(severity, Severity.INFORMATIONAL),
        asset=asset,
        identity=(TOOL.value, asset, target.host, str(port_of(target)), rule, " ".join(numbers)),
        evidence=hostile_text.lines(row.get("finding"), 2_000),
        cves=numbers,
        remediation=hostile_text.lines(row.get("hint"), 1_000),
    )


ADAPTER: Final = Adapter[Endpoint](
    tool=TOOL,
    program="testssl",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    keeps_partial=True,
)
