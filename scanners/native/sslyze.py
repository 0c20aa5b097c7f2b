"""sslyze: protocols, certificate and known weaknesses of one TLS endpoint. For 6.3.1."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

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
from scanners.processes.report_files import EACH, json_values, objects, within

TOOL: Final = NativeTool.SSLYZE
REPORT: Final = "sslyze.json"


class Rule(NamedTuple):
    """A question to one of the tool's checks: what it is called, and when the answer is bad."""

    name: str
    title: str
    severity: Severity
    check: str
    is_bad: Callable[[dict[str, Any]], bool]
    evidence: Callable[[dict[str, Any]], str] = lambda result: ""
    cves: tuple[str, ...] = ()


def _accepts(result: dict[str, Any]) -> bool:
    return result.get("is_tls_version_supported") is True


def _ciphers(result: dict[str, Any]) -> str:
    names = [within(each, "cipher_suite", "name") for each in _accepted(result)]
    return "Accepted: " + ", ".join(hostile_text.line(each, 80) for each in names[:30])


def _accepted(result: dict[str, Any]) -> list[dict[str, Any]]:
    return list(objects(result.get("accepted_cipher_suites")))


def _anonymous(result: dict[str, Any]) -> bool:
    return any(within(x, "cipher_suite", "is_anonymous") is True for x in _accepted(result))


def _says(field: str, bad: bool = True) -> Callable[[dict[str, Any]], bool]:
    return lambda result: result.get(field) is bad


def _robot(result: dict[str, Any]) -> bool:
    return str(result.get("robot_result")).startswith("VULNERABLE")


_PROTOCOLS: Final = {
    "ssl_2_0": ("SSL 2.0", Severity.HIGH),
    "ssl_3_0": ("SSL 3.0", Severity.HIGH),
    "tls_1_0": ("TLS 1.0", Severity.MEDIUM),
    "tls_1_1": ("TLS 1.1", Severity.MEDIUM),
}
_FLAGS: Final = {
    "certificate_info": "--certinfo",
    "ssl_2_0_cipher_suites": "--sslv2",
    "ssl_3_0_cipher_suites": "--sslv3",
    "tls_1_0_cipher_suites": "--tlsv1",
    "tls_1_1_cipher_suites": "--tlsv1_1",
    "tls_1_2_cipher_suites": "--tlsv1_2",
    "heartbleed": "--heartbleed",
    "openssl_ccs_injection": "--openssl_ccs",
    "robot": "--robot",
    "tls_compression": "--compression",
    "session_renegotiation": "--reneg",
    "tls_fallback_scsv": "--fallback",
}
"""The checks that are asked for: without any, sslyze connects, checks nothing and ends with 0."""
_QUICK: Final = list(_FLAGS)[:6]

RULES: Final = (
    *(
        Rule(
            f"{check}-offered", f"{name} is offered", severity,
            f"{check}_cipher_suites", _accepts, _ciphers,
        )
        for check, (name, severity) in _PROTOCOLS.items()
    ),
    Rule("anonymous-ciphers", "Ciphers without authentication are accepted", Severity.HIGH,
         "tls_1_2_cipher_suites", _anonymous, _ciphers),
    Rule("heartbleed", "Heartbleed", Severity.CRITICAL, "heartbleed",
         _says("is_vulnerable_to_heartbleed"), cves=("CVE-2014-0160",)),
    Rule("robot", "ROBOT", Severity.CRITICAL, "robot", _robot,
         lambda result: hostile_text.line(result.get("robot_result")), ("CVE-2017-13099",)),
    Rule("ccs-injection", "OpenSSL CCS injection", Severity.HIGH, "openssl_ccs_injection",
         _says("is_vulnerable_to_ccs_injection"), cves=("CVE-2014-0224",)),
    Rule("tls-compression", "TLS compression (CRIME)", Severity.MEDIUM, "tls_compression",
         _says("supports_compression"), cves=("CVE-2012-4929",)),
    Rule("insecure-renegotiation", "Insecure renegotiation", Severity.MEDIUM,
         "session_renegotiation", _says("supports_secure_renegotiation", False),
         cves=("CVE-2009-3555",)),
    Rule("client-renegotiation", "Clients may renegotiate without end", Severity.LOW,
         "session_renegotiation", _says("is_vulnerable_to_client_renegotiation_dos"),
         cves=("CVE-2011-1473",)),
    Rule("no-fallback-scsv", "Downgrades are not noticed", Severity.LOW, "tls_fallback_scsv",
         _says("supports_fallback_scsv", False)),
)  # fmt: skip
CERTIFICATE_RULES: Final = {
    "certificate-expired": ("The certificate has expired", Severity.HIGH),
    "certificate-not-yet-valid": ("The certificate is not valid yet", Severity.HIGH),
    "certificate-key-short": ("The certificate's key is too short", Severity.HIGH),
    "certificate-untrusted": ("No trust store accepts the certificate", Severity.MEDIUM),
    "certificate-sha1": ("The certificate is signed with SHA-1 or MD5", Severity.MEDIUM),
}


def command(target: Endpoint, policy: ScanPolicy, workdir: Path) -> list[str]:
    """One endpoint, its address in sslyze's own braces so that no name is looked up."""
    target = plain(target)
    checks = _QUICK if policy.checks == "quick" else list(_FLAGS)
    ip = ipaddress.ip_address(target.address)
    port = port_of(target)
    if target.host == target.address:
        server = f"{in_brackets(target.host)}:{port}"
    else:
        server = f"{target.host}:{port}{{{ip}}}"
    return [
        *("sslyze", "--quiet", f"--json_out={REPORT}", "--mozilla_config=disable"),
        *(["--slow_connection"] if policy.timing == 2 else []),
        *(_FLAGS[check] for check in checks),
        *("--", server),
    ]


def failure(code: int) -> str | None:
    """0 is no success and other codes no failure of a target: only a signal is sure."""
    return f"ended with exit code {code}" if code < 0 else None


def parse(report: Path, target: Endpoint) -> Iterator[Reported]:
    """What its checks answered; a check that did not complete is not assessed."""
    asset = endpoint_name(target)
    now = _now(report)
    answered = False
    for path, value in json_values(
        report, ("invalid_server_strings", EACH), ("server_scan_results", EACH)
    ):
        answered = True
        if path[0] == "invalid_server_strings":
            words = hostile_text.line(within(value, "error_message"))
            yield AssetCoverage(asset, AssetOutcome.FAILED, words or "sslyze refused the target.")
        else:
            yield from _server(value, asset, target, now)
    if not answered:
        yield AssetCoverage(asset, AssetOutcome.FAILED, "sslyze assessed no server.")


def _now(report: Path) -> datetime | None:
    """When it was scanned, so that the same report always says the same."""
    for _, value in json_values(report, ("date_scans_started",)):
        return _moment(value)
    return None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value)[:40])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _server(
    result: object, asset: str, target: Endpoint, now: datetime | None
) -> Iterator[Reported]:
    if within(result, "connectivity_status") != "COMPLETED":
        trace = hostile_text.lines(within(result, "connectivity_error_trace"))
        reason = trace.rpartition("\n")[2] or "The server did not answer."
        yield AssetCoverage(asset, AssetOutcome.UNREACHABLE, reason)
        return
    answers = within(result, "scan_result")
    asked = {
        check: each.get("status")
        for check in _FLAGS
        if isinstance(each := within(answers, check), dict)
        and each.get("status") != "NOT_SCHEDULED"
    }
    if not asked:
        yield AssetCoverage(asset, AssetOutcome.FAILED, "sslyze checked nothing.")
        return
    for rule in RULES:
        answer = within(answers, rule.check, "result")
        if (
            asked.get(rule.check) == "COMPLETED"
            and isinstance(answer, dict)
            and rule.is_bad(answer)
        ):
            yield _finding(rule, answer, asset, target)
    certificates = within(answers, "certificate_info", "result", "certificate_deployments")
    for deployment in objects(certificates):
        yield from _certificate(deployment, asset, target, now)
    yield _reached(asked, asset)


def _reached(asked: dict[str, Any], asset: str) -> AssetCoverage:
    missing = {check for check in _FLAGS if asked.get(check) != "COMPLETED"}
    failed = sorted(check for check in missing if check in asked)
    rules = [rule.name for rule in RULES if rule.check in missing]
    if "certificate_info" in missing:
        rules += CERTIFICATE_RULES
    if failed:
        reason = f"These checks did not complete: {', '.join(failed)}."
        return AssetCoverage(asset, AssetOutcome.PARTIAL, reason, tuple(rules))
    return AssetCoverage(asset, AssetOutcome.ASSESSED, "", tuple(rules))


def _finding(rule: Rule, answer: dict[str, Any], asset: str, target: Endpoint) -> NativeFinding:
    return NativeFinding(
        tool=TOOL,
        rule=rule.name,
        title=rule.title,
        severity=rule.severity,
        asset=asset,
        identity=(TOOL.value, asset, target.host, str(port_of(target)), rule.name),
        evidence=rule.evidence(answer),
        cves=rule.cves,
    )


def _certificate(
    deployment: dict[str, Any], asset: str, target: Endpoint, now: datetime | None
) -> Iterator[NativeFinding]:
    leaf = next(objects(deployment.get("received_certificate_chain")), None)
    if leaf is None:
        return
    fingerprint = _hex(leaf.get("fingerprint_sha256"))
    subject = hostile_text.line(within(leaf, "subject", "rfc4514_string"))
    for name, detail in _complaints(leaf, deployment, now):
        title, severity = CERTIFICATE_RULES[name]
        yield NativeFinding(
            tool=TOOL,
            rule=name,
            title=title,
            severity=severity,
            asset=asset,
            identity=(
                TOOL.value, asset, target.host, str(port_of(target)), name, fingerprint
            ),
            evidence=hostile_text.lines(f"{subject}, SHA-256 {fingerprint}\n{detail}"),
        )  # fmt: skip


def _complaints(
    leaf: dict[str, Any], deployment: dict[str, Any], now: datetime | None
) -> Iterator[tuple[str, str]]:
    begins, ends = _moment(leaf.get("not_valid_before")), _moment(leaf.get("not_valid_after"))
    if now and ends and ends < now:
        yield "certificate-expired", f"It was valid until {ends:%Y-%m-%d %H:%M} UTC."
    if now and begins and begins > now:
        yield "certificate-not-yet-valid", f"It is valid from {begins:%Y-%m-%d %H:%M} UTC."
    kind = str(within(leaf, "public_key", "algorithm"))
    size = within(leaf, "public_key", "key_size")
    least = 2_048 if kind.startswith(("RSA", "DSA")) else 224 if kind.startswith("EC") else 0
    if isinstance(size, int) and size < least:
        yield "certificate-key-short", f"{size} bits of {hostile_text.line(kind, 40)}."
    digest = str(within(leaf, "signature_hash_algorithm", "name")).lower()
    if digest in ("sha1", "md5"):
        yield "certificate-sha1", f"Signed with {digest}."
    stores = list(objects(deployment.get("path_validation_results")))
    if stores and not any(each.get("was_validation_successful") is True for each in stores):
        yield "certificate-untrusted", hostile_text.line(stores[0].get("validation_error"))


def _hex(value: object) -> str:
    """sslyze writes bytes as base64; people and other tools know fingerprints as hex."""
    try:
        return base64.b64decode(str(value)[:200], validate=True).hex()
    except (binascii.Error, ValueError):
        return hostile_text.line(value, 100)


ADAPTER: Final = Adapter[Endpoint](
    tool=TOOL,
    program="sslyze",
    report=REPORT,
    command=command,
    parse=parse,
    failure=failure,
)
