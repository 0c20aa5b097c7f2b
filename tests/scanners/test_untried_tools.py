"""ZAP, Trivy, Nuclei and kube-bench, which these tests do not have: their commands, reports written
by hand in their documented form, and stand-ins that end as they may end."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from contracts.errors import ReportMalformed, ScannerCrashed, ScannerTimedOut, ScopeInvalid
from contracts.native import (
    FAST,
    GENTLE,
    NORMAL,
    AssetOutcome,
    Cluster,
    Endpoint,
    Image,
    Node,
    SourceTree,
)
from contracts.vocabulary import Severity
from scanners.native import kube_bench, nuclei, trivy, zap
from scanners.native.native import Adapter
from scanners.processes import process as process_module
from scanners.processes import sandbox
from tests.support import unruly_tool
from tests.support.native import SHORT, Outcome, run, sort
from tests.support.stand_in_tools import put

RECORDED = Path(__file__).parent / "recorded"
SITE = Endpoint("shop.example", "192.0.2.10", 8443, path="/search")
TREE = SourceTree("shop", Path("/srv/shop"))
IMAGE = Image("registry.example/shop:1")
CLUSTER = Cluster("prod", Path("/etc/kube/config"))
NODE = Node("node-1")


class Case(NamedTuple):
    """A tool, a target for it, and the report in its form."""

    adapter: Adapter[Any]
    target: Any
    report: str
    findings: int


CASES = [
    Case(zap.ADAPTER, SITE, "written-zap.json", 2),
    Case(trivy.IMAGE_ADAPTER, IMAGE, "written-trivy-image.json", 3),
    Case(trivy.TREE_ADAPTER, TREE, "written-trivy-fs.json", 1),
    Case(trivy.CLUSTER_ADAPTER, CLUSTER, "written-trivy-k8s.json", 2),
    Case(nuclei.ADAPTER, SITE, "written-nuclei.jsonl", 2),
    Case(kube_bench.ADAPTER, NODE, "written-kube_bench.json", 1),
]
BY_TOOL = pytest.mark.parametrize("case", CASES, ids=lambda case: case.adapter.tool.value)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the PATH; what ignores SIGTERM is killed at once."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.2)
    return tmp_path


def parsed(case: Case, directory: Path, content: Any = None) -> Outcome:
    report = directory / case.adapter.report
    text = (RECORDED / case.report).read_text() if content is None else json.dumps(content)
    report.write_text(text)
    return sort(case.adapter.parse(report, case.target))


def content_of(case: Case) -> Any:
    return json.loads((RECORDED / case.report).read_text())


@BY_TOOL
async def test_a_stand_in_that_works_brings_its_findings(case: Case, programs: Path) -> None:
    put(programs, case.adapter.program, "works", RECORDED / case.report)
    outcome = await run(case.adapter, case.target)
    assert len(outcome.findings) == case.findings
    assert [each.outcome for each in outcome.coverage] == [AssetOutcome.ASSESSED]
    assert outcome.report is not None
    assert (outcome.report.exit_code, outcome.report.findings) == (0, case.findings)


@BY_TOOL
async def test_a_stand_in_that_fails_is_not_believed_to_have_seen_all(
    case: Case, programs: Path
) -> None:
    put(programs, case.adapter.program, "fails", RECORDED / case.report)
    outcome = await run(case.adapter, case.target)
    assert [each.outcome for each in outcome.coverage] == [AssetOutcome.PARTIAL]
    assert outcome.coverage[0].reason == "ended with exit code 1"


@BY_TOOL
async def test_a_stand_in_that_says_no_or_is_killed_is_named_with_what_it_said(
    case: Case, programs: Path
) -> None:
    put(programs, case.adapter.program, "says no", RECORDED / case.report)
    with pytest.raises(ScannerCrashed, match=rf"{case.adapter.tool}.*unknown flag") as error:
        await run(case.adapter, case.target)
    assert "\x1b" not in error.value.message
    put(programs, case.adapter.program, "is killed", RECORDED / case.report)
    if case.adapter.keeps_partial:
        outcome = await run(case.adapter, case.target)
        assert [each.outcome for each in outcome.coverage] == [AssetOutcome.PARTIAL]
    else:
        with pytest.raises(ScannerCrashed, match=f"{case.adapter.tool} ended with exit code -9"):
            await run(case.adapter, case.target)


async def test_what_a_tool_says_twice_comes_once(programs: Path, tmp_path: Path) -> None:
    case = CASES[1]
    content = content_of(case)
    content["Results"] += content["Results"]
    (tmp_path / "twice.json").write_text(json.dumps(content))
    put(programs, case.adapter.program, "works", tmp_path / "twice.json")
    assert len((await run(case.adapter, case.target)).findings) == case.findings


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is told by Linux")
async def test_a_report_of_two_gigabytes_is_refused_in_bounded_memory(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unruly_tool.put(programs)
    image = Image("registry.example/app:two-gigabytes")
    with pytest.raises(ReportMalformed, match="trivy_image was stopped: it wrote without end"):
        await run(trivy.IMAGE_ADAPTER, image)
    monkeypatch.setattr(sandbox, "MEGABYTE", 1_000_000_000)  # as if no limit held its files
    with forgotten_peak() as peak:
        with pytest.raises(ReportMalformed, match="has 2,000 MB; at most 256 MB are read"):
            await run(trivy.IMAGE_ADAPTER, image)
        assert peak() < 64_000_000
    assert left_behind() == []


def left_behind() -> list[Path]:
    """Directories of runs of this process."""
    return list(Path(tempfile.gettempdir()).glob(f"cloudsweep-scanner-{os.getpid()}-*"))


@contextmanager
def forgotten_peak() -> Iterator[Callable[[], int]]:
    """Tells how many bytes more than at the beginning this process has had at most."""

    def most(field: str) -> int:
        (line,) = (each for each in status.read_text().splitlines() if each.startswith(field))
        return int(line.split()[1]) * 1_024

    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = most("VmRSS:")
    yield lambda: most("VmHWM:") - before


async def test_stand_ins_that_hang_are_stopped_with_their_children(programs: Path) -> None:
    policy = SHORT.model_copy(update={"time_limit_seconds": 4})
    for case in (CASES[0], CASES[4]):  # one that keeps what it had found, and one that does not
        put(programs, case.adapter.program, "hangs", RECORDED / case.report)
        if case.adapter.keeps_partial:
            outcome = await run(case.adapter, case.target, policy)
            assert [each.outcome for each in outcome.coverage] == [AssetOutcome.PARTIAL]
            assert outcome.progress[-1].percent == 40
        else:
            with pytest.raises(ScannerTimedOut, match=f"{case.adapter.tool} was stopped"):
                await run(case.adapter, case.target, policy)
        program = str(programs / case.adapter.program)
        left = [each for each in psutil.process_iter(["cmdline"])
                if program in (each.info["cmdline"] or [])]  # fmt: skip
        assert left == []


@BY_TOOL
def test_an_identity_begins_with_tool_and_asset_and_outlives_words_and_severity(
    case: Case, tmp_path: Path
) -> None:
    text = (RECORDED / case.report).read_text()
    for word in ("high", "HIGH", "Cross Site", "Apache 2", "X.400", "Ensure"):
        text = text.replace(word, "low")
    before = parsed(case, tmp_path).findings
    (tmp_path / case.adapter.report).write_text(text)
    after = sort(case.adapter.parse(tmp_path / case.adapter.report, case.target)).findings
    assert [each.identity for each in before] == [each.identity for each in after]
    assert all(each.identity[:2] == (case.adapter.tool, each.asset) for each in before)
    assert len({each.identity for each in before}) == len(before)


def test_the_commands_hold_no_name_that_could_be_an_option(tmp_path: Path) -> None:
    for policy in (GENTLE, NORMAL, FAST):
        assert "zap.sh" in zap.command(SITE, policy, tmp_path)[0]
        assert not any("shop.example" in each for each in zap.command(SITE, policy, tmp_path))
        assert "-u=https://192.0.2.10:8443/search" in nuclei.command(SITE, policy, tmp_path)
        assert trivy.image_command(IMAGE, policy, tmp_path)[-2:] == ["--", IMAGE.reference]
        assert trivy.tree_command(TREE, policy, tmp_path)[-2:] == ["--", "/srv/shop"]
        assert kube_bench.command(Node("--version"), policy, tmp_path) == [
            "kube-bench", "run", "--json"
        ]  # fmt: skip
        cluster = Cluster("--debug", Path("/etc/kube/config"))
        assert "--debug" not in trivy.cluster_command(cluster, policy, tmp_path)


@pytest.mark.parametrize(
    "name", ["-t=/tmp/x", "--config=/tmp/x", "a b", "a\nHost: b", 'a"b', "a$b"]
)
def test_a_target_that_begins_with_a_dash_or_holds_syntax_is_refused(
    name: str, tmp_path: Path
) -> None:
    for command in (zap.plan, nuclei.command):
        with pytest.raises(ScopeInvalid):
            command(Endpoint(name, "192.0.2.10", 443), NORMAL, tmp_path)
        with pytest.raises(ScopeInvalid):
            command(Endpoint("a.example", name, 443), NORMAL, tmp_path)
    with pytest.raises(ScopeInvalid):
        trivy.image_command(Image(name), NORMAL, tmp_path)


def test_a_path_cannot_leave_the_url(tmp_path: Path) -> None:
    target = SITE._replace(path='/a b?x=1#y"\n${env}')
    command = nuclei.command(target, NORMAL, tmp_path)
    assert "-u=https://192.0.2.10:8443/a%20b%3Fx=1%23y%22%0A$%7Benv%7D" in command
    outside = SITE._replace(path="@evil.example/")
    assert "-u=https://192.0.2.10:8443/" in nuclei.command(outside, NORMAL, tmp_path)


def test_the_plan_of_zap_is_bounded_and_attacks_only_when_asked_to(tmp_path: Path) -> None:
    def kinds(checks: str) -> list[str]:
        policy = NORMAL.model_copy(update={"checks": checks})
        return [job["type"] for job in zap.plan(SITE, policy, tmp_path)["jobs"]]

    assert "activeScan" not in kinds("standard")
    assert "activeScan" in kinds("thorough")
    plan = zap.plan(SITE, NORMAL, tmp_path)
    jobs = {job["type"]: job for job in plan["jobs"]}
    assert jobs["spider"]["parameters"]["maxDuration"] == 7  # of 30 minutes in all
    assert jobs["replacer"]["rules"][0]["replacementString"] == "shop.example"
    assert plan["env"]["contexts"][0]["urls"] == ["https://192.0.2.10:8443/search"]


def test_alerts_of_zap_are_by_place_without_queries_and_of_our_site_alone(tmp_path: Path) -> None:
    outcome = parsed(CASES[0], tmp_path)
    script = outcome.by_rule("40012-1")
    assert script.severity is Severity.HIGH
    assert script.identity == (
        "zap", "shop.example:8443", "40012-1", "GET", "/search", "q"
    )  # fmt: skip
    assert "<script>alert(1)</script>\nCWE-79\nScript <b> is echoed." in script.evidence
    assert script.references == ("https://owasp.org/xss", "https://cwe.mitre.org/79")
    assert outcome.by_rule("10096").severity is Severity.INFORMATIONAL
    assert "CWE" not in outcome.by_rule("10096").evidence
    nobody = parsed(CASES[0], tmp_path, {"site": []})
    assert nobody.coverage[0].outcome is AssetOutcome.UNREACHABLE


def test_findings_of_trivy_name_package_and_fix_and_never_the_secret(tmp_path: Path) -> None:
    outcome = parsed(CASES[1], tmp_path)
    openssl = outcome.by_rule("CVE-2023-0286")
    assert openssl.severity is Severity.HIGH
    assert openssl.identity[2:] == (
        "", "registry.example/shop:1 (debian 12.1)", "openssl", "CVE-2023-0286"
    )  # fmt: skip
    assert openssl.remediation == "Update openssl to 3.0.11-1."
    assert outcome.by_rule("CVE-2022-0001").identity[2:] == ("sha256:0a1b",)
    assert outcome.by_rule("CVE-2022-0001").severity is Severity.INFORMATIONAL
    secret = outcome.by_rule("aws-access-key-id")
    assert "****" not in secret.evidence
    assert secret.severity is Severity.CRITICAL
    mistake = parsed(CASES[2], tmp_path)
    assert [each.rule for each in mistake.findings] == ["DS002"]  # DS026 passed
    cluster = content_of(CASES[3])
    cluster["Resources"][0]["Error"] = "no image"
    assert parsed(CASES[3], tmp_path, cluster).coverage[0].outcome is AssetOutcome.PARTIAL


@pytest.mark.parametrize("case", CASES[1:4], ids=lambda case: case.adapter.tool.value)
def test_a_report_of_trivy_in_another_schema_is_malformed(case: Case, tmp_path: Path) -> None:
    for content in ({}, [], {"SchemaVersion": 3, "Results": []}):
        with pytest.raises(ReportMalformed):
            parsed(case, tmp_path, content)


def test_nuclei_is_believed_only_once_its_statistics_say_that_it_finished(tmp_path: Path) -> None:
    def outcome(**statistics: str) -> AssetOutcome:
        lines = "noise\n" + json.dumps({"percent": "5"}) + "\n" + json.dumps(statistics) + "\n"
        (tmp_path / nuclei.STATISTICS).write_text(lines)
        return parsed(CASES[4], tmp_path).coverage[0].outcome

    assert parsed(CASES[4], tmp_path).coverage[0].outcome is AssetOutcome.PARTIAL
    assert outcome(percent="100", requests="9", errors="0") is AssetOutcome.ASSESSED
    assert outcome(percent="60", requests="9", errors="0") is AssetOutcome.PARTIAL
    assert outcome(percent="100", requests="9", errors="9") is AssetOutcome.UNREACHABLE
    found = parsed(CASES[4], tmp_path).by_rule("CVE-2021-41773")
    assert found.cves == ("CVE-2021-41773",)
    assert found.identity[2:] == ("CVE-2021-41773", "LFI", "shop.example", "8443")


def test_a_test_of_kube_bench_that_needs_a_person_is_not_assessed(tmp_path: Path) -> None:
    (coverage,) = parsed(CASES[5], tmp_path).coverage
    assert coverage.may_resolve("4.1.2")
    assert not coverage.may_resolve("4.1.3")
    content = content_of(CASES[5])
    del content["Totals"]
    assert parsed(CASES[5], tmp_path, content).coverage[0].outcome is AssetOutcome.PARTIAL
    content["Controls"] = []
    assert parsed(CASES[5], tmp_path, content).coverage[0].outcome is AssetOutcome.FAILED
