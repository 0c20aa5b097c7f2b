"""Native scanners: what they are pointed at, how hard they may work, and what they bring back."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field

from contracts.base import Contract
from contracts.vocabulary import Severity

MAX_PORTS: Final = 10_000
"""Ports that one policy may name."""


class NativeTool(StrEnum):
    """A scanner that runs as a process on a worker and is given one target at a time."""

    NMAP = "nmap"
    TESTSSL = "testssl"
    SSLYZE = "sslyze"
    CHECKOV = "checkov"
    ZAP = "zap"
    TRIVY_IMAGE = "trivy_image"
    TRIVY_FS = "trivy_fs"
    TRIVY_K8S = "trivy_k8s"
    NUCLEI = "nuclei"
    KUBE_BENCH = "kube_bench"


class Endpoint(NamedTuple):
    """A checked network target: the name that people gave, and the one address to connect to.

    `address` may be a network (`192.0.2.0/28`) for a tool that takes one; then `host` is the same.
    """

    host: str
    address: str
    port: int | None = None
    scheme: Literal["http", "https"] = "https"
    path: str = "/"


class SourceTree(NamedTuple):
    """A checked directory with source text; `name` is what findings call it, wherever it lies."""

    name: str
    directory: Path


class Image(NamedTuple):
    """A checked reference of a container image: `registry.example/app@sha256:...`."""

    reference: str


class Cluster(NamedTuple):
    """A Kubernetes cluster, and the file on this worker that says how to reach it."""

    name: str
    kubeconfig: Path


class Node(NamedTuple):
    """The machine that the tool itself runs on."""

    name: str


def _port_list(text: str) -> str:
    """A list as `22,80,8000-8010`: ascending, without overlap, and of at most MAX_PORTS ports."""
    before = count = 0
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = _port(first), _port(last if dash else first)
        if low <= before or high < low:
            raise ValueError("ports ascend and no port is named twice")
        before, count = high, count + high - low + 1
    if count > MAX_PORTS:
        raise ValueError(f"at most {MAX_PORTS} ports")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and not text.startswith("0")):
        raise ValueError("a port is a number from 1 to 65535, as in `22,80,8000-8010`")
    if int(text) > 65_535:
        raise ValueError("a port is at most 65535")
    return int(text)


PortList = Annotated[str, Field(max_length=2_000), AfterValidator(_port_list)]

USUAL_PORTS: Final = (
    "21-23,25,53,80,110,111,135,139,143,389,443,445,465,587,636,993,995,1433,1521,2049,2375-2376,"
    "3000,3306,3389,5000,5432,5601,5672,5900,5985-5986,6379,6443,8000,8080-8081,8443,8888,9000,"
    "9090,9200,9443,10250,11211,15672,27017"
)


PolicyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class PolicyLimits(Contract):
    """How hard a scan may work, within bounds that hold for every team. No tool's flags."""

    model_config = ConfigDict(strict=True)

    timing: int = Field(3, ge=2, le=4, description="nmap's own pace: 2 polite to 4 aggressive.")
    rate: int = Field(300, ge=1, le=2_000, description="Packets or requests a second.")
    parallelism: int = Field(8, ge=1, le=50, description="Hosts or requests at a time.")
    ports: PortList = Field(USUAL_PORTS, description="Ports of a target that names none.")
    checks: Literal["quick", "standard", "thorough"] = "standard"
    time_limit_seconds: int = Field(1_800, ge=5, le=14_400)
    memory_limit_mb: int = Field(1_024, ge=128, le=8_192)
    output_limit_mb: int = Field(64, ge=1, le=256, description="Its report, and each other file.")
    process_limit: int = Field(200, ge=8, le=1_000)
    nice: int = Field(5, ge=0, le=19)


class ScanPolicy(PolicyLimits):
    """Limits by name: one of those that every team has, or a team's own."""

    name: PolicyName


class ShownScanPolicy(ScanPolicy):
    """A policy as the API shows it; nobody changed what is built in."""

    builtin: bool
    changed_by: str | None = Field(None, description="The key that set it last.")
    created_at: datetime | None = None
    updated_at: datetime | None = None


GENTLE: Final = ScanPolicy(
    name="gentle", timing=2, rate=50, parallelism=2, nice=10, time_limit_seconds=7_200
)
NORMAL: Final = ScanPolicy(name="normal")
FAST: Final = ScanPolicy(
    name="fast",
    timing=4,
    rate=2_000,
    parallelism=25,
    checks="quick",
    nice=0,
    time_limit_seconds=900,
)
POLICIES: Final = {policy.name: policy for policy in (GENTLE, NORMAL, FAST)}


class Subject(NamedTuple):
    """What a finding is about, as other tools call the same; `region` if not the asset's own."""

    uid: str
    name: str
    type: str
    region: str = ""


class NativeFinding(NamedTuple):
    """One thing that a tool found on one asset; all text in it is harmless and capped.

    `identity` begins with the tool and the asset and never holds a severity or free text.
    """

    tool: NativeTool
    rule: str
    title: str
    severity: Severity
    asset: str
    identity: tuple[str, ...]
    evidence: str = ""
    cves: tuple[str, ...] = ()
    remediation: str = ""
    references: tuple[str, ...] = ()
    subject: Subject | None = None


class AssetOutcome(StrEnum):
    """What a tool did with an asset. Only `assessed` may resolve what it did not find again."""

    ASSESSED = "assessed"
    PARTIAL = "partial"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class AssetCoverage(NamedTuple):
    """How far one asset was assessed; `assessed` and `not_assessed` are rules, `*` at will.

    `ports` is what a port scanner looked at, as in a policy; empty for tools that do not care.
    """

    asset: str
    outcome: AssetOutcome
    reason: str = ""
    not_assessed: tuple[str, ...] = ()
    assessed: tuple[str, ...] = ("*",)
    ports: str = ""

    def may_resolve(self, rule: str, port: int | None = None) -> bool:
        """Whether a finding of this rule, and on this port, is gone if it was not found again."""
        if self.outcome is not AssetOutcome.ASSESSED or _matches(rule, self.not_assessed):
            return False
        return _matches(rule, self.assessed) and (not self.ports or lists_port(self.ports, port))


def _matches(rule: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(rule, each) for each in patterns)


def lists_port(ports: str, port: int | None) -> bool:
    """Whether a list of ports has this one; nothing has an unknown one."""
    ranges = (each.partition("-") for each in ports.split(","))
    return port is not None and any(
        int(first) <= port <= int(last or first) for first, _, last in ranges
    )


class ToolProgress(NamedTuple):
    """What a tool says of its own progress: of a phase, so that it may begin anew."""

    phase: str
    percent: float


class ToolReport(NamedTuple):
    """The last word on one run: how the tool ended, and what it reached."""

    tool: NativeTool
    exit_code: int | None
    findings: int
    coverage: tuple[AssetCoverage, ...]


class ScannerState(StrEnum):
    """Whether a scanner can be used from this machine."""

    INSTALLED = "installed"
    MISSING = "missing"
    CONFIGURED = "configured"  # a service of its own, whose address is known
    NOT_CONFIGURED = "not_configured"


class Checkpoint(NamedTuple):
    """What is done of a run that goes on: another run can go on from there."""

    report: bytes


class ScannerInfo(Contract):
    """A scanner that Cloudsweep knows, and whether this machine has it."""

    name: str = Field(examples=["nmap"])
    state: ScannerState
    version: str | None = Field(description="Of the one that is here, if it says.")
    written_for: str | None = Field(description="The version that the adapter was written for.")
    licence: str
    scans: str = Field(description="What it looks at.")
    source: str = Field(description="Where it comes from.")
    fix: str | None = Field(description="What to do to have it, when it is not here.")
    is_tried: bool = Field(
        description="Whether Cloudsweep's own tests run the real one; else they read reports in "
        "its documented form, and run a stand-in."
    )
