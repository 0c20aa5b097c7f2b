"""The adapters of the native scanners, by tool."""

from __future__ import annotations

from typing import Any, Final

from scanners.native import checkov, kube_bench, nmap, nuclei, sslyze, testssl, trivy, zap
from scanners.native.native import Adapter

ADAPTERS: Final[dict[str, Adapter[Any]]] = {
    each.tool: each
    for each in (
        nmap.ADAPTER,
        testssl.ADAPTER,
        sslyze.ADAPTER,
        checkov.ADAPTER,
        zap.ADAPTER,
        trivy.IMAGE_ADAPTER,
        trivy.TREE_ADAPTER,
        trivy.CLUSTER_ADAPTER,
        nuclei.ADAPTER,
        kube_bench.ADAPTER,
    )
}
