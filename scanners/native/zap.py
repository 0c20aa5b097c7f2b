"""ZAP: weaknesses of one web application, from outside, by an automation plan.

Written from its documentation and source; never tried with the real one.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    Endpoint,
    NativeFinding,
    NativeTool,
    ScanPolicy,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported, endpoint_name, pinned_url, plain, port_of
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, objects

TOOL: Final = NativeTool.ZAP
REPORT: Final = "zap.json"
PLAN: Final = "plan.yaml"

_RISKS: Final = {"3": Severity.HIGH, "2": Severity.MEDIUM, "1": Severity.LOW}
_SITE: Final = ("site", EACH, "@name")
_ALERT: Final = ("site", EACH, "alerts", EACH)
_TAG: Final = re.compile(r"<[^<>]{0,200}>")


def prepare(target: Endpoint, policy: ScanPolicy, workdir: Path) -> None:
    """The plan, as JSON, which YAML holds: nothing in it needs quoting of its own."""
    (workdir / PLAN).write_text(json.dumps(plan(target, policy, workdir), indent=1))


def plan(target: Endpoint, policy: ScanPolicy, workdir: Path) -> dict[str, Any]:
    """Bounds in time and threads for each step; only the thorough checks attack."""
    target = plain(target)
    url = pinned_url(target)
    origin = pinned_url(target._replace(path="/"))
    minutes = max(1, policy.time_limit_seconds // 60)
    threads = min(policy.parallelism, 8)
    jobs: list[dict[str, Any]] = [_job("passiveScan-config", maxAlertsPerRule=20)]
    if target.host != target.address:
        rule = {
            "description": "host",
            "matchType": "req_header",
            "matchString": "Host",
            "matchRegex": False,
            "replacementString": target.host,
        }
        jobs.append({"type": "replacer", "parameters": {"deleteAllRules": True}, "rules": [rule]})
    jobs += [
        _job("spider", url=url, maxDuration=max(1, minutes // 4), maxDepth=5, threadCount=threads),
        _job("passiveScan-wait", maxDuration=max(1, minutes // 4)),
    ]
    if policy.checks == "thorough":
        longest = max(1, minutes // 2)
        jobs.append(_job("activeScan", maxScanDurationInMins=longest, threadPerHost=threads))
    jobs.append(
        _job("report", template="traditional-json", reportDir=str(workdir), reportFile=REPORT)
    )
    context = {"name": "target", "urls": [url], "includePaths": [f"{re.escape(origin)}.*"]}
    parameters = {"failOnError": True, "failOnWarning": False, "progressToStdout": True}
    return {"env": {"contexts": [context], "parameters": parameters}, "jobs": jobs}


def _job(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"type": kind, "parameters": parameters}


def command(target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """No target in it: that is in the plan. Silent: it asks nobody for updates."""
    heap = f"-Xmx{policy.memory_limit_mb * 6 // 10}m"
    return ["zap.sh", heap, "-cmd", "-silent", "-autorun", str(workdir / PLAN)]


def failure(code: int) -> str | None:
    """0 is done, 2 done with warnings; 1 is a step that failed."""
    return None if code in (0, 2) else f"ended with exit code {code}"


def parse(report: Path, target: Endpoint) -> Iterator[Reported]:
    """A finding for each place of each alert; other sites that it met are left out."""
    asset = endpoint_name(target)
    is_met = False
    for path, value in json_values(report, _SITE, _ALERT):
        if path == _SITE:
            is_met = is_met or _is_ours(str(value)[:1_000], target)
        elif isinstance(value, dict):
            yield from _alert(value, asset, target)
    if is_met:
        yield AssetCoverage(asset, AssetOutcome.ASSESSED)
    else:
        yield AssetCoverage(asset, AssetOutcome.UNREACHABLE, "ZAP met no page of the target.")


def _alert(alert: dict[str, Any], asset: str, target: Endpoint) -> Iterator[NativeFinding]:
    rule = hostile_text.line(alert.get("alertRef") or alert.get("pluginid"), 40)
    title = hostile_text.line(_text(alert.get("alert")))
    said = hostile_text.lines(_text(alert.get("desc")), 1_500)
    cwe = hostile_text.line(alert.get("cweid"), 10)
    weakness = f"CWE-{cwe}" if cwe.isdigit() and cwe != "0" else ""
    for instance in objects(alert.get("instances")):
        uri = _text(instance.get("uri"))
        if not _is_ours(uri, target):
            continue
        method = hostile_text.line(instance.get("method"), 20)
        parameter = hostile_text.line(_text(instance.get("param")))
        evidence = hostile_text.lines(_text(instance.get("evidence")), 500)
        place = f"{method} {hostile_text.line(uri, 500)}"
        yield NativeFinding(
            tool=TOOL,
            rule=rule,
            title=title or rule,
            severity=_RISKS.get(str(alert.get("riskcode"))[:5], Severity.INFORMATIONAL),
            asset=asset,
            identity=(TOOL.value, asset, rule, method, _path(uri), parameter),
            evidence="\n".join(each for each in (place, evidence, weakness, said) if each),
            remediation=hostile_text.lines(_text(alert.get("solution")), 1_500),
            references=hostile_text.links(_text(alert.get("reference"), " ").split()),
        )


def _text(value: object, between: str = "") -> str:
    """Its texts are HTML: escaped, and in paragraphs."""
    if not isinstance(value, str):
        return ""
    return html.unescape(_TAG.sub(between, value[:20_000]))


def _is_ours(uri: str, target: Endpoint) -> bool:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return False
    return host in (target.host.lower(), target.address) and port == port_of(target)


def _path(uri: str) -> str:
    """Without the query, whose values differ from scan to scan."""
    return hostile_text.line(urlsplit(uri).path or "/", 1_000)


ADAPTER: Final = Adapter[Endpoint](
    tool=TOOL,
    program="zap.sh",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    prepare=prepare,
)
