"""testssl.sh and sslyze, the real ones, against TLS servers on the loopback address."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ReportMalformed, ScopeInvalid
from contracts.native import (
    FAST,
    GENTLE,
    NORMAL,
    AssetOutcome,
    Endpoint,
    NativeFinding,
    ScanPolicy,
)
from contracts.vocabulary import Severity
from scanners.native import sslyze, testssl
from scanners.native.native import Adapter
from scanners.processes.process import private_directory
from scanners.processes.python_tools import install_tool
from scanners.processes.sandbox import Ended, caged
from tests.support.endpoints import ADDRESS, Endpoints
from tests.support.native import SHORT, Outcome, needs, run, sort

RECORDED = Path(__file__).parent / "recorded"
WEAK = Endpoint("weak.example", ADDRESS, 18_444)
ADAPTERS = [testssl.ADAPTER, sslyze.ADAPTER]


@pytest.fixture
def real_testssl() -> None:
    """The real one; without it the test is skipped by name."""
    needs("testssl", "testssl.sh")


@pytest.fixture(scope="session")
def real_sslyze() -> Path:
    """The real one, in its own environment; made if this is the first run."""
    return install_tool("sslyze")


def parsed(adapter: Adapter[Endpoint], directory: Path, content: Any) -> Outcome:
    report = directory / adapter.report
    report.write_text(content if isinstance(content, str) else json.dumps(content))
    return sort(adapter.parse(report, WEAK))


def recorded(adapter: Adapter[Endpoint]) -> Any:
    return json.loads((RECORDED / f"{adapter.tool}-weak.json").read_text())


def severities(outcome: Outcome) -> dict[str, Severity]:
    return {each.rule: each.severity for each in outcome.findings}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda each: each.tool.value)
@pytest.mark.parametrize(
    "host",
    ["--openssl=/tmp/x", "-x", "a{10.0.0.9}", "a:443{10.0.0.9}", "a b", "a/b", "", "127.0.0.1/8"],
)
def test_a_name_that_a_tool_would_read_as_more_than_a_name_is_refused(
    adapter: Adapter[Endpoint], host: str, tmp_path: Path
) -> None:
    with pytest.raises(ScopeInvalid):
        adapter.command(Endpoint(host, ADDRESS, 443), NORMAL, tmp_path)
    with pytest.raises(ScopeInvalid):
        adapter.command(Endpoint("a.example", host, 443), NORMAL, tmp_path)


def test_the_commands_pin_the_address_and_end_the_options_before_the_target(tmp_path: Path) -> None:
    six = Endpoint("a.example", "2001:db8::1", 8443)
    for policy in (GENTLE, NORMAL, FAST):
        command = testssl.command(six, policy, tmp_path)
        assert command[-2:] == ["--", "a.example:8443"]
        assert command[command.index("--ip") + 1] == "2001:db8::1"
        assert "-6" in command
        command = sslyze.command(six, policy, tmp_path)
        assert command[-2:] == ["--", "a.example:8443{2001:db8::1}"]
        assert "--certinfo" in command  # without any check it would check nothing, and say 0
    alone = Endpoint("2001:db8::1", "2001:db8::1")
    assert sslyze.command(alone, NORMAL, tmp_path)[-1] == "[2001:db8::1]:443"
    assert testssl.command(alone, NORMAL, tmp_path)[-1] == "[2001:db8::1]:443"


def files_of(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


async def told(command: list[str], directory: Path) -> Ended:
    async with aclosing(caged(command[0], command, SHORT, directory)) as said:
        (ended,) = [each async for each in said if isinstance(each, Ended)]
    return ended


@pytest.mark.usefixtures("real_testssl")
async def test_a_target_that_begins_with_a_dash_runs_no_program_of_testssl(
    tmp_path: Path, endpoints: Endpoints
) -> None:
    touched, program = tmp_path / "touched", tmp_path / "openssl"
    program.write_text(f"#!/bin/sh\ntouch {touched}\n")
    program.chmod(0o755)
    target = WEAK._replace(port=endpoints.closed)
    with private_directory() as directory:
        command = testssl.command(target, SHORT, directory)
        await told([*command[:-1], f"--openssl={program}"], directory)
        outcome = sort(testssl.parse(directory / testssl.REPORT, target))
    assert not touched.exists()
    assert [each.outcome for each in outcome.coverage] == [AssetOutcome.UNREACHABLE]


async def test_a_target_that_begins_with_a_dash_writes_no_file_of_sslyze(
    real_sslyze: Path,
) -> None:
    with private_directory() as directory:
        command = [str(real_sslyze), *sslyze.command(WEAK, SHORT, directory)[1:-1]]
        ended = await told([*command, "--json_out=other.json"], directory)
        outcome = sort(sslyze.parse(directory / sslyze.REPORT, WEAK))
        names = files_of(directory)
    assert ended.exit_code == 0  # it says so of a target that it refused
    assert names == {"sslyze.json", "stderr"}
    assert [each.outcome for each in outcome.coverage] == [AssetOutcome.FAILED]


async def test_braces_in_a_target_would_override_the_address_of_sslyze(
    real_sslyze: Path, endpoints: Endpoints
) -> None:
    """Why a name with braces is refused: the address inside is the one that is scanned."""
    with private_directory() as directory:
        command = [str(real_sslyze), *sslyze.command(WEAK, SHORT, directory)[1:-1]]
        await told([*command, f"192.0.2.1:{endpoints.weak_tls}{{{ADDRESS}}}"], directory)
        assert f'"ip_address": "{ADDRESS}"' in (directory / sslyze.REPORT).read_text()


@pytest.mark.usefixtures("real_testssl")
async def test_a_real_testssl_tells_weak_protocols_and_a_certificate_that_nobody_trusts(
    endpoints: Endpoints,
) -> None:
    target = WEAK._replace(port=endpoints.weak_tls)
    outcome = await run(testssl.ADAPTER, target, SHORT)
    asset = f"weak.example:{endpoints.weak_tls}"
    assert outcome.outcomes() == {asset: AssetOutcome.ASSESSED}
    found = severities(outcome)
    assert found["TLS1"] is Severity.LOW
    assert found["cert_keySize"] is Severity.MEDIUM
    assert found["cert_chain_of_trust"] is Severity.CRITICAL
    assert "TLS1_2" not in found  # OK is no finding
    assert outcome.by_rule("TLS1").identity == (
        "testssl", asset, "weak.example", str(endpoints.weak_tls), "TLS1", ""
    )  # fmt: skip
    (coverage,) = outcome.coverage
    assert coverage.may_resolve("TLS1")
    assert coverage.may_resolve("cert_expirationStatus")
    assert not coverage.may_resolve("heartbleed")  # not of the quick checks


@pytest.mark.usefixtures("real_testssl")
async def test_a_real_testssl_that_is_stopped_leaves_what_it_found_and_counts_as_partial(
    endpoints: Endpoints,
) -> None:
    policy = ScanPolicy(name="short", checks="thorough", time_limit_seconds=12)
    outcome = await run(testssl.ADAPTER, WEAK._replace(port=endpoints.weak_tls), policy)
    assert [each.outcome for each in outcome.coverage] == [AssetOutcome.PARTIAL]


@pytest.mark.usefixtures("real_sslyze")
async def test_a_real_sslyze_tells_weak_protocols_and_a_certificate_that_nobody_trusts(
    endpoints: Endpoints,
) -> None:
    policy = SHORT.model_copy(update={"checks": "standard"})
    outcome = await run(sslyze.ADAPTER, WEAK._replace(port=endpoints.weak_tls), policy)
    asset = f"weak.example:{endpoints.weak_tls}"
    assert outcome.outcomes() == {asset: AssetOutcome.ASSESSED}
    assert outcome.coverage[0].not_assessed == ()
    assert severities(outcome) == {
        "tls_1_0-offered": Severity.MEDIUM,
        "tls_1_1-offered": Severity.MEDIUM,
        "anonymous-ciphers": Severity.HIGH,
        "certificate-key-short": Severity.HIGH,
        "certificate-untrusted": Severity.MEDIUM,
    }
    identity = outcome.by_rule("certificate-key-short").identity
    assert identity[:-1] == (
        "sslyze", asset, "weak.example", str(endpoints.weak_tls), "certificate-key-short"
    )  # fmt: skip
    assert len(bytes.fromhex(identity[-1])) == 32  # the certificate's SHA-256


@pytest.mark.usefixtures("real_sslyze")
async def test_a_real_sslyze_tells_a_sound_server_from_one_that_is_not_there(
    endpoints: Endpoints,
) -> None:
    sound = await run(sslyze.ADAPTER, Endpoint("sound.example", ADDRESS, endpoints.tls))
    assert set(severities(sound)) == {"certificate-untrusted"}
    assert not sound.coverage[0].may_resolve("heartbleed")  # not of the quick checks
    assert sound.coverage[0].may_resolve("ssl_3_0-offered")
    gone = await run(sslyze.ADAPTER, WEAK._replace(port=endpoints.closed))
    assert [each.outcome for each in gone.coverage] == [AssetOutcome.UNREACHABLE]
    assert gone.report is not None
    assert gone.report.exit_code == 0


def changed(rows: Any, **fields: str) -> Any:
    return [row | fields if row["id"] == "scanTime" else row for row in rows]


def test_a_report_of_testssl_is_whole_only_with_its_time_and_without_a_fatal_row(
    tmp_path: Path,
) -> None:
    rows = recorded(testssl.ADAPTER)
    whole = parsed(testssl.ADAPTER, tmp_path, rows)
    assert whole.coverage[0].outcome is AssetOutcome.ASSESSED
    assert whole.coverage[0].not_assessed == ("RC4",)  # this OpenSSL cannot ask
    assert whole.coverage[0].may_resolve("heartbleed")
    assert not whole.coverage[0].may_resolve("RC4")
    for cut in (rows[:-1], changed(rows, severity="WARN", finding="Scan interrupted")):
        assert parsed(testssl.ADAPTER, tmp_path, cut).coverage[0].outcome is AssetOutcome.PARTIAL
    text = json.dumps(rows)
    killed = parsed(testssl.ADAPTER, tmp_path, text[: len(text) // 2])
    assert killed.coverage[0].outcome is AssetOutcome.PARTIAL
    assert 0 < len(killed.findings) < len(whole.findings)
    fatal = {"id": "scanProblem", "severity": "FATAL", "finding": "Strange"}
    outcome = parsed(testssl.ADAPTER, tmp_path, [fatal, *rows])
    assert outcome.coverage[0].outcome is AssetOutcome.FAILED


@pytest.mark.parametrize(
    ("name", "outcome"), [("no-tls", AssetOutcome.FAILED), ("closed", AssetOutcome.UNREACHABLE)]
)
def test_a_testssl_that_meets_no_tls_or_nobody_claims_nothing(
    name: str, outcome: AssetOutcome
) -> None:
    told = sort(testssl.parse(RECORDED / f"testssl-{name}.json", WEAK))
    assert [each.outcome for each in told.coverage] == [outcome]
    assert told.coverage[0].reason
    assert told.findings == []


def test_rows_of_testssl_become_findings_with_their_cves(tmp_path: Path) -> None:
    engine = {"id": "engine_problem", "severity": "WARN", "finding": "No engine or GOST support"}
    outcome = parsed(testssl.ADAPTER, tmp_path, [engine, *recorded(testssl.ADAPTER)])
    beast = outcome.by_rule("BEAST")
    assert beast.severity is Severity.LOW
    assert beast.cves == ("CVE-2011-3389",)
    assert beast.identity[-2:] == ("BEAST", "CVE-2011-3389")
    assert not {"scanTime", "engine_problem", "SSLv2", "RC4"} & set(severities(outcome))


def sslyze_result(report: Any, port: int) -> Any:
    return next(
        each for each in report["server_scan_results"] if each["server_location"]["port"] == port
    )


def test_a_report_of_sslyze_is_as_whole_as_its_checks(tmp_path: Path) -> None:
    report = recorded(sslyze.ADAPTER)
    report["server_scan_results"] = [sslyze_result(report, 18_444)]
    checks = report["server_scan_results"][0]["scan_result"]
    checks["heartbleed"] = {"status": "ERROR", "error_reason": "BUG_IN_SSLYZE", "result": None}
    (coverage,) = parsed(sslyze.ADAPTER, tmp_path, report).coverage
    assert (coverage.outcome, coverage.not_assessed) == (AssetOutcome.PARTIAL, ("heartbleed",))
    for each in checks.values():
        each["status"] = "NOT_SCHEDULED"
    (coverage,) = parsed(sslyze.ADAPTER, tmp_path, report).coverage
    assert coverage.outcome is AssetOutcome.FAILED
    report["server_scan_results"] = []
    (coverage,) = parsed(sslyze.ADAPTER, tmp_path, report).coverage
    assert coverage.outcome is AssetOutcome.FAILED


def test_severities_of_sslyze_are_by_rule(tmp_path: Path) -> None:
    report = recorded(sslyze.ADAPTER)
    result = sslyze_result(report, 18_444)
    report["server_scan_results"] = [result]
    checks = result["scan_result"]
    checks["heartbleed"]["result"]["is_vulnerable_to_heartbleed"] = True
    checks["robot"]["result"]["robot_result"] = "VULNERABLE_STRONG_ORACLE"
    checks["ssl_3_0_cipher_suites"]["result"]["is_tls_version_supported"] = True
    leaf = checks["certificate_info"]["result"]["certificate_deployments"][0]
    leaf["received_certificate_chain"][0]["not_valid_after"] = "2020-01-01T00:00:00Z"
    found = severities(parsed(sslyze.ADAPTER, tmp_path, report))
    assert found["heartbleed"] is found["robot"] is Severity.CRITICAL
    assert found["ssl_3_0-offered"] is found["certificate-expired"] is Severity.HIGH
    assert found["tls_1_0-offered"] is found["certificate-untrusted"] is Severity.MEDIUM


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda each: each.tool.value)
def test_an_identity_holds_no_severity_and_no_text(
    adapter: Adapter[Endpoint], tmp_path: Path
) -> None:
    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(each) for each in value]
        if isinstance(value, dict):
            texts = {"finding": "other words", "severity": "HIGH"}
            return {k: texts[k] if k in texts and k in value and value.get("id") != "scanTime"
                    and value.get("severity") not in ("OK", "WARN") else other(v)
                    for k, v in value.items()}  # fmt: skip
        return value

    def identities(findings: list[NativeFinding]) -> list[tuple[str, ...]]:
        return [each.identity for each in findings]

    before = parsed(adapter, tmp_path, recorded(adapter)).findings
    after = parsed(adapter, tmp_path, other(recorded(adapter))).findings
    assert identities(before) == identities(after)
    assert len(set(identities(before))) == len(before) >= 4
    assert all(each.identity[0] == adapter.tool and each.asset in each.identity for each in before)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda each: each.tool.value)
@pytest.mark.parametrize("content", ["", '{"a"', "[1]]", "<xml/>"])
def test_a_report_that_is_no_json_is_malformed(
    adapter: Adapter[Endpoint], content: str, tmp_path: Path
) -> None:
    with pytest.raises(ReportMalformed):
        parsed(adapter, tmp_path, content)
