"""nmap: what a real one finds on the loopback address, and what its reports do not say aloud."""

from __future__ import annotations

import re
from contextlib import aclosing
from pathlib import Path

import pytest

from contracts.errors import ReportMalformed, ScopeInvalid
from contracts.native import GENTLE, NORMAL, AssetOutcome, Checkpoint, Endpoint, ScanPolicy
from contracts.vocabulary import Severity
from scanners.native import nmap
from scanners.native.native_run import assess
from scanners.processes.process import private_directory
from scanners.processes.sandbox import Ended, caged
from tests.support.endpoints import ADDRESS, Endpoints
from tests.support.native import SHORT, Outcome, needs, run, sort

RECORDED = Path(__file__).parent / "recorded"
HOST = Endpoint("shop.example", ADDRESS)


@pytest.fixture
def real_nmap() -> None:
    """The real one; without it the test is skipped by name."""
    needs("nmap", "nmap")


def parsed(tmp_path: Path, xml: str, target: Endpoint = HOST) -> Outcome:
    report = tmp_path / nmap.REPORT
    report.write_text(xml)
    return sort(nmap.parse(report, target))


def document(inside: str) -> str:
    finished = '<runstats><finished exit="success"/></runstats>'
    return f'<!DOCTYPE nmaprun>\n<nmaprun args="nmap">{inside}{finished}</nmaprun>'


def host(ports: str, attributes: str = "", address: str = ADDRESS) -> str:
    return (
        f'<host {attributes}><status state="up" reason="user-set"/>'
        f'<address addr="{address}" addrtype="ipv4"/><ports>{ports}</ports></host>'
    )


OPEN = '<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/></port>'


def test_the_command_pins_the_address_and_ends_the_options_before_it(tmp_path: Path) -> None:
    command = nmap.command(HOST, NORMAL, tmp_path)
    assert command[-2:] == ["--", ADDRESS]
    assert command[: command.index("-T3") + 1] == ["nmap", "-n", "-Pn", "-sT", "-T3"]
    assert "tls.servername=shop.example,http.host=shop.example" in command
    gentle = nmap.command(HOST._replace(port=443), GENTLE, tmp_path)
    assert gentle[gentle.index("--max-rate") + 1] == "50"
    assert gentle[gentle.index("-p") + 1] == "443"
    assert "-6" in nmap.command(Endpoint("::1", "::1"), NORMAL, tmp_path)


@pytest.mark.parametrize(
    "address",
    ["--script=/tmp/x.nse", "-oN=/tmp/x", "-iL=/etc/passwd", "127.0.0.1-3", "127.0.0.*", "127.1",
     "localhost/30", "2130706433", "0x7f000001", "127.0.0.1/99", "127.0.0.1/30", "a,b=c", ""],
)  # fmt: skip
def test_what_is_no_single_address_or_written_network_is_refused(
    address: str, tmp_path: Path
) -> None:
    with pytest.raises(ScopeInvalid):
        nmap.command(Endpoint(address, address), NORMAL, tmp_path)
    with pytest.raises(ScopeInvalid):
        nmap.command(Endpoint("shop.example", address), NORMAL, tmp_path)


@pytest.mark.parametrize("name", ["a,unsafe=1", "-x", "a}b", "a b", "a'b", "\x1b[2J"])
def test_a_name_cannot_bring_script_arguments_of_its_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScopeInvalid):
        nmap.command(Endpoint(name, ADDRESS), NORMAL, tmp_path)


@pytest.mark.usefixtures("real_nmap")
async def test_a_target_that_begins_with_a_dash_runs_no_script_and_writes_no_file(
    tmp_path: Path,
) -> None:
    touched = tmp_path / "touched"
    script = tmp_path / "evil.nse"
    script.write_text(f'prerule = function() io.open("{touched}", "w"):close() return false end\n')
    for target in (f"--script={script}", f"-oN={touched}", f"-iL={script}"):
        with private_directory() as directory:
            command = nmap.command(HOST._replace(port=9), SHORT, directory)
            async with aclosing(caged("nmap", [*command[:-1], target], SHORT, directory)) as said:
                ends = [each async for each in said if isinstance(each, Ended)]
            assert [each.exit_code for each in ends] == [0]  # it says so of a target like this
            outcome = sort(nmap.parse(directory / nmap.REPORT, HOST))
            assert outcome.outcomes() == {HOST.host: AssetOutcome.FAILED}
    assert not touched.exists()


@pytest.mark.usefixtures("real_nmap")
async def test_a_real_scan_finds_ports_services_and_weak_ciphers(endpoints: Endpoints) -> None:
    ports = sorted({endpoints.http, endpoints.weak_tls, endpoints.closed})
    policy = SHORT.model_copy(update={"checks": "standard", "ports": ",".join(map(str, ports))})
    outcome = await run(nmap.ADAPTER, HOST, policy)
    assert outcome.outcomes() == {"shop.example": AssetOutcome.ASSESSED}
    titles = {each.title for each in outcome.findings if each.rule == "open-port"}
    assert {re.sub(r" \(.*", "", each) for each in titles} == {
        f"Port {endpoints.http}/tcp is open",
        f"Port {endpoints.weak_tls}/tcp is open",
    }
    ciphers = outcome.by_rule("ssl-enum-ciphers")
    assert ciphers.severity is Severity.HIGH
    assert ciphers.identity == (
        "nmap", "shop.example", ADDRESS, "tcp", str(endpoints.weak_tls), "ssl-enum-ciphers"
    )  # fmt: skip
    assert "TLSv1.0" in ciphers.evidence
    page = [each for each in outcome.findings if each.rule == "http-title"]
    assert page
    assert all("\x1b" not in each.evidence for each in page)
    assert outcome.progress
    assert outcome.report is not None
    assert outcome.report.findings == len(outcome.findings)


@pytest.mark.usefixtures("real_nmap")
async def test_a_scan_that_was_stopped_keeps_the_hosts_that_were_done_and_goes_on() -> None:
    network = Endpoint("127.0.0.0/30", "127.0.0.0/30")
    policy = ScanPolicy(name="slow", timing=2, rate=20, parallelism=1, checks="quick", ports="1-5")
    with private_directory() as directory:
        report = directory / nmap.REPORT
        command = nmap.command(network, policy, directory)
        async with aclosing(caged("nmap", command, policy, directory)) as said:
            async for _ in said:  # it speaks every two seconds
                if b"</host>" in report.read_bytes():
                    break
        cut = sort(nmap.parse(report, network))
        assert cut.outcomes()["127.0.0.0/30"] is AssetOutcome.PARTIAL
        assert cut.outcomes()["127.0.0.0"] is AssetOutcome.ASSESSED
        assert len(cut.coverage) < 5
        with pytest.raises(ScopeInvalid, match="cannot be resumed"):
            nmap.resume(report, network, NORMAL, directory)
        again = nmap.resume(report, network, policy, directory)
        async with aclosing(caged("nmap", again, policy, directory)) as said:
            assert [each.exit_code async for each in said if isinstance(each, Ended)] == [0]
        whole = sort(nmap.parse(report, network))
    assert whole.outcomes() == {f"127.0.0.{number}": AssetOutcome.ASSESSED for number in range(4)}


@pytest.mark.usefixtures("real_nmap")
async def test_what_was_begun_is_gone_on_from_only_if_it_is_of_this_target_and_policy() -> None:
    network = Endpoint("127.0.0.0/30", "127.0.0.0/30")
    policy = ScanPolicy(name="slow", timing=2, rate=20, parallelism=1, checks="quick", ports="1-5")
    async with aclosing(assess(nmap.ADAPTER, network, policy)) as words:
        begun = await anext(word.report async for word in words if isinstance(word, Checkpoint))
    begun = begun.replace(b"<ports>", b"<ports>" + OPEN.encode(), 1)  # nobody would find that again
    every = {f"127.0.0.{number}": AssetOutcome.ASSESSED for number in range(4)}
    for ports, found in (("1-5", ["22"]), ("1-6", [])):
        limits = policy.model_copy(update={"ports": ports})
        outcome = sort([each async for each in assess(nmap.ADAPTER, network, limits, begun=begun)])
        assert outcome.outcomes() == every
        assert [each.identity[-1] for each in outcome.findings] == found


def test_a_checkpoint_ends_with_the_last_host_that_is_done(tmp_path: Path) -> None:
    report = tmp_path / nmap.REPORT
    assert nmap.checkpoint(report) is None
    whole = document(host(OPEN) + "\n" + host(OPEN))
    report.write_text(whole)
    assert nmap.checkpoint(report) == whole[: whole.index("</host>") + 8].encode()
    report.write_text(whole.replace("</host>", ""))
    assert nmap.checkpoint(report) is None


@pytest.mark.usefixtures("real_nmap")
async def test_a_scan_that_takes_too_long_is_stopped_and_claims_nothing() -> None:
    policy = ScanPolicy(name="slow", timing=2, rate=1, checks="quick", time_limit_seconds=5)
    outcome = await run(nmap.ADAPTER, HOST, policy)
    assert outcome.outcomes() == {"shop.example": AssetOutcome.FAILED}
    assert outcome.report is not None
    assert outcome.report.exit_code is None


def test_a_host_that_nobody_answers_for_is_unreachable_and_not_clean(tmp_path: Path) -> None:
    target = Endpoint("gone.example", "203.0.113.7")
    outcome = sort(nmap.parse(RECORDED / "nmap-unreachable.xml", target))
    assert outcome.findings == []
    assert outcome.outcomes() == {"gone.example": AssetOutcome.UNREACHABLE}
    assert outcome.coverage[0].reason == "No port answered: host-unreach."
    many = '<extraports state="filtered"><extrareasons reason="no-responses"/></extraports>'
    assert parsed(tmp_path, document(host(many))).outcomes() == {
        HOST.host: AssetOutcome.UNREACHABLE
    }


@pytest.mark.parametrize(
    ("xml", "outcome"),
    [
        (document(""), AssetOutcome.FAILED),
        (document(host(OPEN, 'timedout="true"')), AssetOutcome.PARTIAL),
        (document('<target specification="x" status="skipped" reason="invalid"/>'),
         AssetOutcome.FAILED),
        (document(host(OPEN)).partition("<runstats>")[0], AssetOutcome.PARTIAL),
        (document(host(OPEN)).replace('"success"', '"error" errormsg="No route"'),
         AssetOutcome.PARTIAL),
        (document(host("")), AssetOutcome.FAILED),
    ],
    ids=["no host", "host timed out", "skipped", "cut off", "error", "no ports"],
)  # fmt: skip
def test_exit_code_zero_is_no_success(xml: str, outcome: AssetOutcome, tmp_path: Path) -> None:
    assert parsed(tmp_path, xml).coverage[-1].outcome is outcome


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE n [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><nmaprun>&b;</nmaprun>',
        '<!DOCTYPE n [<!ENTITY a SYSTEM "file:///etc/passwd">]><nmaprun>&a;</nmaprun>',
        "<html></html>",
        "<nmaprun><host></nmaprun>",
        '<?xml version="1.0" encoding="klingon"?><nmaprun/>',
        "<nmaprun>" + "<a>" * 1_000,
        document("<host/>"),
    ],
    ids=["entities", "a file", "no report", "no XML", "encoding", "depth", "no address"],
)
def test_a_report_that_is_none_is_malformed(xml: str, tmp_path: Path) -> None:
    with pytest.raises(ReportMalformed):
        parsed(tmp_path, xml)


def test_a_weakness_in_the_form_of_its_library_has_its_cve_as_identity(tmp_path: Path) -> None:
    table = (
        '<script id="ssl-poodle" output="&#xa;VULNERABLE"><table key="CVE-2014-3566">'
        '<elem key="title">SSL POODLE</elem><elem key="state">VULNERABLE</elem>'
        '<table key="ids"><elem>CVE:CVE-2014-3566</elem></table>'
        '<table key="scores"><elem key="CVSSv2">4.3 (MEDIUM)</elem></table>'
        '<table key="refs"><elem>https://example.org/poodle</elem><elem>javascript:x</elem></table>'
        "</table></script></port>"
    )
    outcome = parsed(tmp_path, document(host(OPEN.replace("</port>", table))))
    found = outcome.by_rule("ssl-poodle")
    assert found.identity[-1] == "CVE-2014-3566"
    assert (found.title, found.severity) == ("SSL POODLE", Severity.MEDIUM)
    assert (found.cves, found.references) == (("CVE-2014-3566",), ("https://example.org/poodle",))


def test_a_recorded_report_has_the_same_identities_whatever_its_severities(tmp_path: Path) -> None:
    target = Endpoint("shop.example", "192.0.2.10")
    text = (RECORDED / "nmap-tls.xml").read_text()
    before = parsed(tmp_path, text, target)
    after = parsed(tmp_path, text.replace('strength">F<', 'strength">A<'), target)
    assert [each.identity for each in before.findings] == [x.identity for x in after.findings]
    assert before.findings != after.findings


def test_progress_is_of_a_phase_and_other_lines_are_none() -> None:
    told = nmap.progress("Service scan Timing: About 33.33% done; ETC: 07:22 (0:00:34 remaining)")
    assert told == ("Service scan", 33.33)
    assert nmap.progress("Nmap scan report for 127.0.0.1") is None
