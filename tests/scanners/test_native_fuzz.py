"""Whatever a report holds: findings with harmless text come out, or ReportMalformed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ReportMalformed
from contracts.native import (
    AssetCoverage,
    Cluster,
    Endpoint,
    Image,
    NativeFinding,
    NativeTool,
    Node,
    SourceTree,
)
from contracts.vocabulary import Severity
from scanners.native.native_adapters import ADAPTERS
from tests.support.mutations import HOSTILE, mutated

RECORDED = Path(__file__).parent / "recorded"
SITE = Endpoint("shop.example", "192.0.2.10", 8443)
SEEDS: dict[NativeTool, tuple[Any, str]] = {
    NativeTool.NMAP: (SITE, "nmap-tls.xml"),
    NativeTool.TESTSSL: (SITE, "testssl-weak.json"),
    NativeTool.SSLYZE: (SITE, "sslyze-weak.json"),
    NativeTool.CHECKOV: (SourceTree("shop", Path("/srv/shop")), "checkov-tree.json"),
    NativeTool.ZAP: (SITE, "written-zap.json"),
    NativeTool.TRIVY_IMAGE: (Image("registry.example/shop:1"), "written-trivy-image.json"),
    NativeTool.TRIVY_FS: (SourceTree("shop", Path("/srv/shop")), "written-trivy-fs.json"),
    NativeTool.TRIVY_K8S: (Cluster("prod", Path("/etc/kube")), "written-trivy-k8s.json"),
    NativeTool.NUCLEI: (SITE, "written-nuclei.jsonl"),
    NativeTool.KUBE_BENCH: (Node("node-1"), "written-kube_bench.json"),
}
EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TAGS = ["host", "port", "script", "table", "elem", "status", "address", "finished", "x"]
EVERY_TOOL = pytest.mark.parametrize("tool", list(NativeTool), ids=lambda tool: tool.value)


def read(tool: NativeTool, directory: Path, content: bytes) -> None:
    """Parse it, and look at everything that comes out."""
    adapter, (target, _) = ADAPTERS[tool], SEEDS[tool]
    report = directory / adapter.report
    report.write_bytes(content)
    try:
        for item in adapter.parse(report, target):
            if isinstance(item, AssetCoverage):
                texts = [item.asset, item.reason, *item.not_assessed, *item.assessed]
            else:
                assert isinstance(item, NativeFinding)
                assert item.severity in Severity
                assert item.identity[:2] == (tool.value, item.asset)
                texts = [item.rule, item.title, item.asset, *item.identity, *item.cves]
                texts += [item.evidence, item.remediation, *item.references]
            assert all(len(text) <= 6_000 and _is_harmless(text) for text in texts)
    except ReportMalformed as error:
        assert _is_harmless(error.message)


def _is_harmless(text: str) -> bool:
    return text.replace("\n", "").replace("\t", "").isprintable()


@EVERY_TOOL
@EXAMPLES
@given(content=st.binary(max_size=200))
def test_any_bytes(tool: NativeTool, content: bytes, tmp_path: Path) -> None:
    read(tool, tmp_path, content)


@EVERY_TOOL
@EXAMPLES
@given(data=st.data())
def test_a_report_with_a_piece_cut_out_or_put_in(
    tool: NativeTool, data: st.DataObject, tmp_path: Path
) -> None:
    content = (RECORDED / SEEDS[tool][1]).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 200)))
    middle = data.draw(st.binary(max_size=20) | HOSTILE.map(lambda x: x.encode("utf-8", "replace")))
    rest = content[end:] if data.draw(st.booleans()) else b""
    read(tool, tmp_path, content[:start] + middle + rest)


@pytest.mark.parametrize("tool", sorted(set(NativeTool) - {NativeTool.NMAP}))
@EXAMPLES
@given(data=st.data())
def test_a_report_with_other_values(tool: NativeTool, data: st.DataObject, tmp_path: Path) -> None:
    text = (RECORDED / SEEDS[tool][1]).read_text()
    is_by_line = tool is NativeTool.NUCLEI
    content = [json.loads(line) for line in text.splitlines()] if is_by_line else json.loads(text)
    content = mutated(content, data)
    if is_by_line and isinstance(content, list):
        made = "\n".join(json.dumps(each) for each in content)
    else:
        made = json.dumps(content)
    read(tool, tmp_path, made.encode())


@EXAMPLES
@given(data=st.data())
def test_an_nmap_report_with_other_attributes(data: st.DataObject, tmp_path: Path) -> None:
    root = ElementTree.parse(RECORDED / "nmap-tls.xml").getroot()
    elements = list(root.iter())
    for _ in range(data.draw(st.integers(1, 5))):
        element = elements[data.draw(st.integers(0, len(elements) - 1))]
        if data.draw(st.booleans()) and element.attrib:
            key = data.draw(st.sampled_from(sorted(element.attrib)))
            element.set(key, data.draw(st.text(max_size=20) | HOSTILE))
        else:
            element.tag = data.draw(
                st.sampled_from(["host", "port", "script", "table", "elem", "x"])
            )
    read(NativeTool.NMAP, tmp_path, ElementTree.tostring(root, "utf-8"))
