"""The native tools by name: what each looks at, and which of them are installed here."""

from __future__ import annotations

import shutil
from typing import Any, Final

from contracts.native import NativeTool
from contracts.vocabulary import TargetKind
from scanners import checkov, nmap, nuclei, sslyze, testssl, trivy, zap
from scanners.native import Adapter
from scanners.python_tools import where_is

ADAPTERS: Final[dict[NativeTool, Adapter[Any]]] = {
    each.tool: each
    for each in (
        nmap.ADAPTER,
        testssl.ADAPTER,
        sslyze.ADAPTER,
        zap.ADAPTER,
        nuclei.ADAPTER,
        trivy.IMAGE_ADAPTER,
        trivy.TREE_ADAPTER,
        checkov.ADAPTER,
    )
}

TLS: Final = (NativeTool.TESTSSL, NativeTool.SSLYZE)

SUITABLE: Final[dict[TargetKind, tuple[NativeTool, ...]]] = {
    TargetKind.HOST: (NativeTool.NMAP, *TLS, NativeTool.NUCLEI),
    TargetKind.CIDR: (NativeTool.NMAP,),
    TargetKind.URL: (NativeTool.ZAP, NativeTool.NUCLEI, *TLS),
    TargetKind.IMAGE: (NativeTool.TRIVY_IMAGE,),
    TargetKind.REPOSITORY: (NativeTool.CHECKOV, NativeTool.TRIVY_FS),
    TargetKind.CLUSTER: (),
}
"""The tools that can look at a target of each kind."""


def is_installed(tool: NativeTool) -> bool:
    """Whether this machine can run the tool."""
    return shutil.which(where_is(ADAPTERS[tool].program)) is not None
