"""nmap: open ports of hosts, and what its scripts say of them. Written for 7.93."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat import errors as expat

from defusedxml.ElementTree import iterparse

from contracts.errors import ReportMalformed, ScopeInvalid
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
from scanners.native.native import Adapter, Reported, plain
from scanners.processes import hostile_text
from scanners.processes.report_files import opened
from scanners.severities import of_cvss

TOOL: Final = NativeTool.NMAP
REPORT: Final = "nmap.xml"

_SCRIPTS: Final = {
    "quick": "",
    "standard": "ssl-cert,ssl-enum-ciphers,http-title",
    # Of nmap's safe ones: they look for a weakness and use none.
    "thorough": "ssl-cert,ssl-enum-ciphers,http-title,ssl-heartbleed,ssl-poodle,"
    "ssl-ccs-injection,ssl-dh-params",
}
_GRADES: Final = {
    **dict.fromkeys("AB", Severity.INFORMATIONAL),
    **dict.fromkeys("CD", Severity.MEDIUM),
    **dict.fromkeys("EF", Severity.HIGH),
}
_NOBODY_THERE: Final = frozenset(
    {"host-unreach", "net-unreach", "host-prohibited", "net-prohibited", "no-response"}
)
_OPEN: Final = frozenset({"open", "open|filtered"})
_CUT_OFF: Final = frozenset(
    expat.codes[each] for each in (expat.XML_ERROR_NO_ELEMENTS, expat.XML_ERROR_UNCLOSED_TOKEN)
)
_ELEMENTS_HELD: Final = 1_000_000
_DEPTH: Final = 30
_ROOT: Final = "nmaprun"
_PORTS: Final = re.compile(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*")
_NO_PORTS: Final = "0"
_HOST_END: Final = b"</host>\n"
_CHECKPOINT_BYTES: Final = 8_000_000
_PROGRESS: Final = re.compile(r"^(?P<phase>[A-Za-z ]{1,40}) Timing: About (?P<percent>\d+\.\d+)%")


def command(target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """Connect scans of the pinned address only; the name goes no further than SNI and Host."""
    network = _network(target)
    scripts = _SCRIPTS[policy.checks]
    host_seconds = min(policy.time_limit_seconds, 600)
    arguments = ["nmap", "-n", "-Pn", "-sT", f"-T{policy.timing}"]
    if network.version == 6:
        arguments.append("-6")
    if policy.checks != "quick":
        arguments += ["-sV", "--version-light"]
    if scripts:
        arguments += ["--script", scripts, "--script-timeout", "30s"]
        if target.host != target.address:
            arguments += [
                "--script-args",
                f"tls.servername={target.host},http.host={target.host}",
            ]
    return [
        *arguments,
        *("-p", str(target.port) if target.port else policy.ports),
        *("--max-retries", "2"),
        *("--max-rate", str(policy.rate)),
        *("--max-hostgroup", str(policy.parallelism)),  # what is done of a network is kept
        *("--host-timeout", f"{host_seconds}s"),
        *("--stats-every", "2s"),
        *("--no-stylesheet", "-oX", REPORT),
        "--",
        target.address,
    ]


def _network(target: Endpoint) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """ScopeInvalid for anything but one address, or a network that is written as one."""
    if "/" not in target.address:
        return ipaddress.ip_network(plain(target).address)
    try:
        network = ipaddress.ip_network(target.address)
        if str(network) == target.address == target.host:
            return network
    except ValueError:
        pass
    raise ScopeInvalid(f"{target.address[:100]!a} is no network that can be scanned.")


def checkpoint(report: Path) -> bytes | None:
    """The report up to the last host that is done; None without one, or if it is too long."""
    try:
        with report.open("rb") as file:
            said = file.read(_CHECKPOINT_BYTES + 1)
    except FileNotFoundError:
        return None
    end = said.rfind(_HOST_END)
    if end < 0 or len(said) > _CHECKPOINT_BYTES:
        return None
    return said[: end + len(_HOST_END)]


def resume(report: Path, target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """The command that scans the hosts which are not in a report that was cut off.

    nmap takes its arguments from the report itself, so ScopeInvalid when they are not ours.
    """
    expected = " ".join(command(target, policy, workdir))
    with opened(report) as file:
        head = file.read(8_000).decode(errors="replace")
    said = re.search(r'<nmaprun [^>]*\bargs="([^"]*)"', head)
    if said is None or said[1].replace("&#45;", "-") != expected:
        raise ScopeInvalid("The report is not of this target and policy; it cannot be resumed.")
    return ["nmap", "--resume", REPORT]


def failure(code: int) -> str | None:
    """nmap ends with 0 even when it scanned nothing; anything else it had to give up."""
    return None if code == 0 else f"ended with exit code {code}"


def progress(line: str) -> ToolProgress | None:
    """Of one phase; the next one begins at 0 again."""
    if found := _PROGRESS.match(line):
        return ToolProgress(found["phase"], min(100.0, float(found["percent"])))
    return None


def parse(report: Path, target: Endpoint) -> Iterator[Reported]:
    """Findings and one coverage for each host; a host that nobody answered for is unreachable."""
    hosts, ports = 0, ""
    assessed: tuple[str, ...] = ("open-port",)
    ended: str | None = "the report is cut off"
    with opened(report) as file:
        try:
            for element in _parts(file):
                if element.tag == _ROOT:
                    assessed += _scripts_of(element)
                elif element.tag == "scaninfo":
                    ports = _ports_of(element)
                elif element.tag == "host":
                    hosts += 1
                    for item in _host(element, target):
                        if isinstance(item, AssetCoverage):
                            item = item._replace(assessed=assessed, ports=ports)
                        yield item
                elif element.tag == "target" and element.get("status") == "skipped":
                    yield _skipped(element, target)
                elif (finished := element.find("finished")) is not None:
                    ended = _complaint(finished)
        except ParseError as error:
            if error.code not in _CUT_OFF:
                raise _malformed(error) from None
        except (ValueError, LookupError) as error:  # entities, unknown encodings
            raise _malformed(error) from None
    if ended or not hosts:
        yield AssetCoverage(
            target.host,
            AssetOutcome.PARTIAL if hosts else AssetOutcome.FAILED,
            ended or "nmap scanned no host.",
        )


def _parts(file: Any) -> Iterator[Element]:
    """The root as it begins, then each of its children; forgotten once the next is asked for."""
    root: Element | None = None
    depth = held = 0
    for event, element in iterparse(file, events=("start", "end")):
        if root is None:
            root = element
            if element.tag != _ROOT:
                raise ReportMalformed("The report of nmap is no <nmaprun>.")
            yield root
        depth += 1 if event == "start" else -1
        held += 1
        if held > _ELEMENTS_HELD or depth > _DEPTH:
            raise ReportMalformed("A host in the report of nmap is too large.")
        if event == "end" and depth == 1:
            yield element
            root.clear()
            held = 0


def _scripts_of(root: Element) -> tuple[str, ...]:
    said = re.search(r" --script ([a-z0-9,-]+) ", (root.get("args") or "")[:8_000])
    return tuple(said[1].split(",")) if said else ()


def _ports_of(scaninfo: Element) -> str:
    services = (scaninfo.get("services") or "")[:8_000]
    return services if _PORTS.fullmatch(services) else _NO_PORTS


def _malformed(error: Exception) -> ReportMalformed:
    return ReportMalformed(f"The report of nmap is no XML that can be read: {str(error)[:200]!a}")


def _complaint(finished: Element) -> str | None:
    if finished.get("exit") == "success":
        return None
    return hostile_text.line(finished.get("errormsg")) or "nmap did not finish."


def _skipped(element: Element, target: Endpoint) -> AssetCoverage:
    why = hostile_text.line(element.get("reason")) or "skipped"
    return AssetCoverage(target.host, AssetOutcome.FAILED, f"nmap skipped it: {why}")


def _host(host: Element, target: Endpoint) -> Iterator[Reported]:
    address = next(
        (
            hostile_text.line(each.get("addr"))
            for each in host.findall("address")
            if each.get("addrtype") in ("ipv4", "ipv6")
        ),
        "",
    )
    if not address:
        raise ReportMalformed("A host in the report of nmap has no address.")
    asset = target.host if address == target.address else address
    ports = host.findall("ports/port")
    for port in ports:
        state = port.find("state")
        if state is not None and state.get("state") in _OPEN:
            yield from _port(port, asset, address)
    for script in host.findall("hostscript/script"):
        yield _script(script, asset, address, "host", "")
    yield _reached(host, ports, asset)


def _reached(host: Element, ports: list[Element], asset: str) -> AssetCoverage:
    if host.get("timedout") == "true":
        return AssetCoverage(asset, AssetOutcome.PARTIAL, "nmap gave up on this host: too slow.")
    status = host.find("status")
    reasons = {status.get("reason") or ""} if status is not None else set()
    if status is None or status.get("state") != "up" or reasons & _NOBODY_THERE:
        return AssetCoverage(asset, AssetOutcome.UNREACHABLE, _why(reasons))
    # With -Pn a host counts as up, so that only its ports tell whether anybody is there.
    reasons = {
        _singular(each.get("reason") or "")
        for path in ("ports/port/state", "ports/extraports/extrareasons")
        for each in host.findall(path)
    }
    if reasons and reasons <= _NOBODY_THERE:
        return AssetCoverage(asset, AssetOutcome.UNREACHABLE, _why(reasons))
    if not reasons and not ports:
        return AssetCoverage(asset, AssetOutcome.FAILED, "nmap names no port of this host.")
    return AssetCoverage(asset, AssetOutcome.ASSESSED)


def _singular(reason: str) -> str:
    """Of several ports at once nmap says `host-unreaches` and `no-responses`."""
    for ending in ("es", "s"):
        if reason.removesuffix(ending) in _NOBODY_THERE:
            return reason.removesuffix(ending)
    return reason


def _why(reasons: Iterable[str]) -> str:
    said = ", ".join(sorted(hostile_text.line(each, 40) for each in reasons if each))
    return f"No port answered: {said}." if said else "The host did not answer."


def _port(port: Element, asset: str, address: str) -> Iterator[NativeFinding]:
    protocol = hostile_text.line(port.get("protocol"), 10)
    number = hostile_text.line(port.get("portid"), 5)
    service = port.find("service")
    name, evidence = "", ""
    if service is not None:
        name = hostile_text.line(service.get("name"), 60)
        words = [service.get(key) for key in ("product", "version", "extrainfo", "ostype")]
        evidence = hostile_text.line(" ".join(each[:200] for each in words if each))
    yield NativeFinding(
        tool=TOOL,
        rule="open-port",
        title=f"Port {number}/{protocol} is open" + (f" ({name})" if name else ""),
        severity=Severity.INFORMATIONAL,
        asset=asset,
        identity=(TOOL.value, asset, address, protocol, number),
        evidence=evidence,
    )
    for script in port.findall("script"):
        yield from _script_findings(script, asset, address, protocol, number)


def _script_findings(
    script: Element, asset: str, address: str, protocol: str, number: str
) -> Iterator[NativeFinding]:
    weaknesses = [
        table
        for table in script.findall("table")
        if _elem(table, "state").startswith(("VULNERABLE", "LIKELY VULNERABLE"))
    ]
    for table in weaknesses:
        yield _weakness(table, script, asset, address, protocol, number)
    if not weaknesses and not script.get("id", "").startswith(("ssl-heart", "ssl-pood", "ssl-ccs")):
        yield _script(script, asset, address, protocol, number)


def _script(script: Element, asset: str, address: str, protocol: str, number: str) -> NativeFinding:
    rule = hostile_text.line(script.get("id"), 100)
    severity = Severity.INFORMATIONAL
    if rule == "ssl-enum-ciphers":
        severity = _GRADES.get(_elem(script, "least strength"), severity)
    return NativeFinding(
        tool=TOOL,
        rule=rule,
        title=f"{rule} on port {number}/{protocol}" if number else rule,
        severity=severity,
        asset=asset,
        identity=(TOOL.value, asset, address, protocol, number, rule),
        evidence=hostile_text.lines(script.get("output"), 2_000),
    )


def _weakness(
    table: Element, script: Element, asset: str, address: str, protocol: str, number: str
) -> NativeFinding:
    """One entry in the form of nmap's `vulns` library."""
    rule = hostile_text.line(script.get("id"), 100)
    key = hostile_text.line(table.get("key"), 60)
    texts = [each.text for each in table.iter("elem")][: hostile_text.MANY]
    numbers = hostile_text.cves([table.get("key"), *texts])
    what = numbers[0] if numbers else key or rule
    return NativeFinding(
        tool=TOOL,
        rule=rule,
        title=hostile_text.line(_elem(table, "title")) or key or rule,
        severity=_scored(table),
        asset=asset,
        identity=(TOOL.value, asset, address, protocol, number, what),
        evidence=hostile_text.lines(script.get("output"), 2_000),
        cves=numbers,
        references=hostile_text.links(texts),
    )


def _scored(table: Element) -> Severity:
    for scores in table.findall("table"):
        if scores.get("key") == "scores":
            for each in scores.findall("elem"):
                if found := of_cvss(each.text):
                    return found
    return Severity.HIGH  # these scripts look only for weaknesses that can be used


def _elem(parent: Element, key: str) -> str:
    return next((e.text or "" for e in parent.findall("elem") if e.get("key") == key), "")


ADAPTER: Final = Adapter[Endpoint](
    tool=TOOL,
    program="nmap",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
    progress=progress,
    keeps_partial=True,
    checkpoint=checkpoint,
    resume=resume,
)
