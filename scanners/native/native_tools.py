"""Which native tools look at which targets: names alone, so that the API loads no adapter."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from contracts.native import NativeTool
from contracts.vocabulary import TargetKind

TLS: Final = (NativeTool.TESTSSL, NativeTool.SSLYZE)

SUITABLE: Final[dict[TargetKind, tuple[NativeTool, ...]]] = {
    TargetKind.HOST: (NativeTool.NMAP, *TLS, NativeTool.NUCLEI),
    TargetKind.CIDR: (NativeTool.NMAP,),
    TargetKind.URL: (NativeTool.ZAP, NativeTool.NUCLEI, *TLS),
    TargetKind.IMAGE: (NativeTool.TRIVY_IMAGE,),
    TargetKind.REPOSITORY: (NativeTool.CHECKOV, NativeTool.TRIVY_FS),
    TargetKind.CLUSTER: (),  # an account of its own: see scans of Kubernetes
}
"""The tools that can look at a target of each kind."""

CLUSTER_TOOLS: Final = (NativeTool.TRIVY_K8S, NativeTool.KUBE_BENCH)
"""The tools that a scan of a cluster may name."""

OF_ITS_OWN_MACHINE: Final = frozenset({NativeTool.KUBE_BENCH})
"""Tools that look at the machine they run on: used only when a scan names them."""

TOOLS: Final = tuple(dict.fromkeys(tool for tools in SUITABLE.values() for tool in tools))
"""Every tool that a scan of targets may name."""


def unsuitable(tools: Collection[str], kinds: Collection[TargetKind]) -> str | None:
    """What to use instead, in words, when none of these tools looks at any of these kinds."""
    if not tools or not kinds or any(tool in SUITABLE[kind] for kind in kinds for tool in tools):
        return None
    fitting = (f"{', '.join(SUITABLE[kind]) or 'no tool'} for {kind}" for kind in sorted(kinds))
    return f"Use {'; '.join(fitting)}."
