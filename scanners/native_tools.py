"""The native tools by name, and which of them are installed here."""

from __future__ import annotations

import shutil
from typing import Any, Final

from contracts.native import NativeTool
from scanners import checkov, nmap, sslyze, testssl
from scanners.native import Adapter
from scanners.python_tools import where_is

ADAPTERS: Final[dict[NativeTool, Adapter[Any]]] = {
    each.tool: each for each in (nmap.ADAPTER, testssl.ADAPTER, sslyze.ADAPTER, checkov.ADAPTER)
}


def is_installed(tool: NativeTool) -> bool:
    """Whether this machine can run the tool."""
    adapter = ADAPTERS.get(tool)
    return adapter is not None and shutil.which(where_is(adapter.program)) is not None
