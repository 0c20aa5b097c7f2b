"""Trivy: vulnerable packages, mistakes and secrets in images, source trees and clusters.

Written from its documentation and source (report schema 2); never tried with the real one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from contracts.errors import ReportMalformed, ScopeInvalid
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    Cluster,
    Image,
    NativeFinding,
    NativeTool,
    ScanPolicy,
    SourceTree,
    Subject,
)
from contracts.vocabulary import Severity
from scanners.native.native import Adapter, Reported
from scanners.ocsf import NAMESPACE
from scanners.processes import hostile_text
from scanners.processes.report_files import EACH, json_values, objects, within
from scanners.severities import of_word

REPORT: Final = "trivy.json"
SCHEMA: Final = 2

CLUSTER_WIDE: Final = "cluster-wide"
"""The namespace of what has none, as Prowler has it."""

TargetT = TypeVar("TargetT")
_IN_IMAGES: Final = ("os-pkgs", "lang-pkgs", "secret", "license", "custom")
"""Classes of results that are about what is in an image, not about how it is run."""
_REFERENCE: Final = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,500}")


def _common(policy: ScanPolicy) -> list[str]:
    """Nothing is updated or asked for meanwhile; findings are no failure."""
    return [
        *("--format", "json", "--output", REPORT, "--no-progress", "--exit-code", "0"),
        *("--timeout", f"{policy.time_limit_seconds}s"),
        *("--skip-db-update", "--skip-java-db-update", "--skip-check-update", "--offline-scan"),
        *("--cache-dir", str(_cache()), "--cache-backend", "memory"),
    ]


def _cache() -> Path:
    """Where the database is that the operator keeps fresh: as Trivy itself looks for it."""
    if named := os.environ.get("TRIVY_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trivy"


def image_command(target: Image, policy: ScanPolicy, workdir: Path) -> list[str]:
    """From its registry alone; no container engine of this machine is asked."""
    if not _REFERENCE.fullmatch(target.reference):
        raise ScopeInvalid(f"{target.reference[:300]!a} is no reference of an image.")
    scanners = ["--scanners", "vuln" if policy.checks == "quick" else "vuln,secret"]
    return [
        *("trivy", "image", *_common(policy), *scanners, "--image-src", "remote"),
        *("--", target.reference),
    ]


def tree_command(target: SourceTree, policy: ScanPolicy, workdir: Path) -> list[str]:
    """The tree where it lies; links in it are not followed by Trivy."""
    scanners = "vuln" if policy.checks == "quick" else "vuln,misconfig,secret"
    path = str(target.directory.absolute())
    return ["trivy", "fs", *_common(policy), "--scanners", scanners, "--", path]


def cluster_command(target: Cluster, policy: ScanPolicy, workdir: Path) -> list[str]:
    """Through the API server alone: no job is started on the nodes."""
    return [
        *("trivy", "k8s", *_common(policy), "--report", "all", "--disable-node-collector"),
        f"--kubeconfig={target.kubeconfig.absolute()}",
        *("--parallel", str(min(policy.parallelism, 20))),
        *("--scanners", "vuln" if policy.checks == "quick" else "vuln,misconfig,secret,rbac"),
    ]


def failure(code: int) -> str | None:
    """With --exit-code 0 findings are no failure, so that every other code is one."""
    return None if code == 0 else f"ended with exit code {code}"


class _Place(NamedTuple):
    """What a result is about; part of its identity."""

    tool: NativeTool
    asset: str
    artifact: str = ""
    image: str = ""
    """What the image is called that it is about, whoever scanned it; empty: it is none."""
    region: str = ""


def _parse_report(
    tool: NativeTool, report: Path, asset: str, image: str = ""
) -> Iterator[Reported]:
    is_known = False
    tags, digests = ("Metadata", "RepoTags"), ("Metadata", "RepoDigests")
    named = dict[tuple[object, ...], str]()
    for path, value in json_values(report, ("SchemaVersion",), tags, digests, ("Results", EACH)):
        if path == ("SchemaVersion",):
            if value != SCHEMA:
                raise ReportMalformed(f"The report of Trivy is of schema {value!a}, not {SCHEMA}.")
            is_known = True
        elif path in (tags, digests):
            named[path] = _first(value)
        else:
            name = image and (named.get(tags) or named.get(digests) or image)
            yield from _result(value, _Place(tool, asset, image=name))
    if not is_known:
        raise ReportMalformed("The report of Trivy names no schema.")
    yield AssetCoverage(asset, AssetOutcome.ASSESSED)


def parse_image(report: Path, target: Image) -> Iterator[Reported]:
    """Findings of one image."""
    name = hostile_text.line(target.reference, 500)
    return _parse_report(NativeTool.TRIVY_IMAGE, report, name, image=name)


def parse_tree(report: Path, target: SourceTree) -> Iterator[Reported]:
    """Findings of one tree; paths in it are relative."""
    return _parse_report(NativeTool.TRIVY_FS, report, hostile_text.line(target.name))


def parse_cluster(report: Path, target: Cluster) -> Iterator[Reported]:
    """Findings of each resource; one that could not be scanned leaves the cluster partial."""
    asset = hostile_text.line(target.name)
    is_known, failed = False, 0
    for path, value in json_values(report, ("ClusterName",), ("Resources", EACH)):
        is_known = True
        if path == ("ClusterName",) or not isinstance(value, dict):
            continue
        failed += bool(value.get("Error"))
        names = [hostile_text.line(value.get(key)) for key in ("Namespace", "Kind", "Name")]
        place = _Place(
            *(NativeTool.TRIVY_K8S, asset, "/".join(names)),
            region=NAMESPACE + (names[0] or CLUSTER_WIDE),
        )
        for result in objects(value.get("Results")):
            yield from _result(result, place._replace(image=_image(value, result)))
    if not is_known:
        raise ReportMalformed("The report of Trivy names no cluster.")
    if failed:
        reason = f"Trivy could not scan {failed} of the resources."
        yield AssetCoverage(asset, AssetOutcome.PARTIAL, reason)
    else:
        yield AssetCoverage(asset, AssetOutcome.ASSESSED)


def _image(resource: dict[str, Any], result: dict[str, Any]) -> str:
    """The image that a result of a workload is about; empty for one about the workload itself."""
    if result.get("Class") not in _IN_IMAGES:
        return ""
    told = resource.get("Metadata")
    for each in told if isinstance(told, list) else [told]:  # an object before Trivy 0.53
        if name := _first(within(each, "RepoTags")) or _first(within(each, "RepoDigests")):
            return name
    return hostile_text.line(result.get("Target"), 500).partition(" (")[0]


def _first(names: object) -> str:
    """The first by name of several, so that it is the same one the next time."""
    known = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
    return hostile_text.line(min(known, default=""), 500)


def _subject(place: _Place, result: object, *parts: str) -> Subject | None:
    """The package or file of an image, else the workload; None for what is of a tree."""
    target = hostile_text.line(within(result, "Target"), 500)
    if place.image:
        inside = "" if within(result, "Class") == "os-pkgs" else target
        uid = "/".join(part for part in (place.image, inside, *parts) if part)
        return Subject(uid, place.image, "image", place.region)
    if place.artifact:
        _, kind, name = place.artifact.split("/", 2)
        rest = (part for part in parts if part and part not in (name, target))
        return Subject("/".join((place.artifact, *rest)), name, kind.lower(), place.region)
    return None


def _result(result: object, place: _Place) -> Iterator[NativeFinding]:
    target = hostile_text.line(within(result, "Target"), 500)
    for each in objects(within(result, "Vulnerabilities")):
        package = hostile_text.line(each.get("PkgName"))
        found = _vulnerability(each, target, place)
        yield found._replace(subject=_subject(place, result, package))
    for each in objects(within(result, "Misconfigurations")):
        if each.get("Status", "FAIL") == "FAIL":
            cause = hostile_text.line(within(each, "CauseMetadata", "Resource"))
            found = _mistake(each, target, place)
            yield found._replace(subject=_subject(place, result, cause))
    for each in objects(within(result, "Secrets")):
        yield _secret(each, target, place)._replace(subject=_subject(place, result))


def _identity(place: _Place, each: dict[str, Any], *parts: str) -> tuple[str, ...]:
    """Trivy's own fingerprint where it gives one, which workloads of one image may share."""
    fingerprint = hostile_text.line(each.get("Fingerprint"), 200)
    where = (place.artifact,) if place.artifact else ()
    rest = (*where, fingerprint) if fingerprint else (place.artifact, *parts)
    return (place.tool.value, place.asset, *rest)


def _vulnerability(each: dict[str, Any], target: str, place: _Place) -> NativeFinding:
    number = hostile_text.line(each.get("VulnerabilityID"), 100)
    package = hostile_text.line(each.get("PkgName"))
    if not number:
        raise ReportMalformed("A vulnerability in the report of Trivy has no number.")
    has, fixed = (hostile_text.line(each.get(x)) for x in ("InstalledVersion", "FixedVersion"))
    return NativeFinding(
        tool=place.tool,
        rule=number,
        title=hostile_text.line(each.get("Title")) or f"{number} in {package}",
        severity=of_word(each.get("Severity"), Severity.INFORMATIONAL),
        asset=place.asset,
        identity=_identity(place, each, target, package, number),
        evidence=hostile_text.lines(
            f"{package} {has} in {target} {place.artifact}\n"
            f"{hostile_text.lines(each.get('Description'), 2_000)}"
        ),
        cves=hostile_text.cves([number]),
        remediation=f"Update {package} to {fixed}." if fixed else "",
        references=hostile_text.links(
            [each.get("PrimaryURL"), *(each.get("References") or [])]
            if isinstance(each.get("References"), list)
            else each.get("PrimaryURL")
        ),
    )


def _mistake(each: dict[str, Any], target: str, place: _Place) -> NativeFinding:
    rule = hostile_text.line(each.get("ID"), 100)
    resource = hostile_text.line(within(each, "CauseMetadata", "Resource"))
    return NativeFinding(
        tool=place.tool,
        rule=rule,
        title=hostile_text.line(each.get("Title")) or rule,
        severity=of_word(each.get("Severity"), Severity.INFORMATIONAL),
        asset=place.asset,
        identity=_identity(place, each, target, resource, rule),
        evidence=hostile_text.lines(
            f"{target} {place.artifact}\n{hostile_text.lines(each.get('Message'), 2_000)}"
        ),
        remediation=hostile_text.lines(each.get("Resolution"), 1_000),
        references=hostile_text.links(each.get("PrimaryURL")),
    )


def _secret(each: dict[str, Any], target: str, place: _Place) -> NativeFinding:
    """Where it is, and never the text that matched."""
    rule = hostile_text.line(each.get("RuleID"), 100)
    return NativeFinding(
        tool=place.tool,
        rule=rule,
        title=hostile_text.line(each.get("Title")) or rule,
        severity=of_word(each.get("Severity"), Severity.INFORMATIONAL),
        asset=place.asset,
        identity=_identity(place, each, target, "", rule),
        evidence=f"{target} {place.artifact}, line {hostile_text.line(each.get('StartLine'), 20)}",
    )


def _adapter(
    tool: NativeTool,
    command: Callable[[TargetT, ScanPolicy, Path], list[str]],
    parse: Callable[[Path, TargetT], Iterator[Reported]],
    *,
    needs_network: bool = True,
) -> Adapter[TargetT]:
    return Adapter(
        tool=tool,
        program="trivy",
        report=REPORT,
        command=command,
        parse=parse,
        failure=failure,
        needs_network=needs_network,
    )


IMAGE_ADAPTER: Final = _adapter(NativeTool.TRIVY_IMAGE, image_command, parse_image)
TREE_ADAPTER: Final = _adapter(NativeTool.TRIVY_FS, tree_command, parse_tree, needs_network=False)
CLUSTER_ADAPTER: Final = _adapter(NativeTool.TRIVY_K8S, cluster_command, parse_cluster)
