"""What an adapter of a native scanner is: a command, and how its report is read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from contracts.errors import ScopeInvalid
from contracts.native import (
    AssetCoverage,
    Endpoint,
    NativeFinding,
    NativeTool,
    ScanPolicy,
    ToolProgress,
)

TargetT = TypeVar("TargetT")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
Reported = NativeFinding | AssetCoverage


def _trusts_every_exit(code: int) -> str | None:
    return None


def _tells_no_progress(line: str) -> ToolProgress | None:
    return None


def _is_done_at_the_end(report: Path) -> bytes | None:
    return None


def _prepares_nothing(target: object, policy: ScanPolicy, workdir: Path) -> None:
    return None


@dataclass(frozen=True)
class Adapter(Generic[TargetT]):
    """One tool. Everything here is pure, except `prepare`, which writes into its directory.

    `command` takes a target that was checked already and begins with the program's name; paths in
    it are relative to the tool's own directory, where it runs. `parse` yields findings as they
    stand in the report, and how far each asset was assessed; nothing but ReportMalformed and
    ScannerCrashed (no report) comes out of it, whatever the report holds.
    """

    tool: NativeTool
    program: str
    report: str
    command: Callable[[TargetT, ScanPolicy, Path], list[str]]
    parse: Callable[[Path, TargetT], Iterator[Reported]]
    failure: Callable[[int], str | None] = _trusts_every_exit
    """Why this exit code is a failure; None when the report decides."""
    progress: Callable[[str], ToolProgress | None] = _tells_no_progress
    prepare: Callable[[TargetT, ScanPolicy, Path], None] = _prepares_nothing
    keeps_partial: bool = False
    """Whether what it had found is in the report when it is stopped."""
    checkpoint: Callable[[Path], bytes | None] = _is_done_at_the_end
    """What of a report that still grows another run can go on from."""
    resume: Callable[[Path, TargetT, ScanPolicy, Path], list[str]] | None = None
    """The command that goes on from such a report, which lies there; ScopeInvalid if it is not of
    this target and policy."""
    output: str | None = None
    """The file that its standard output goes to: the report, for some tools."""
    needs_network: bool = True


def plain(target: Endpoint) -> Endpoint:
    """The target, once more seen to hold nothing that a tool could take for syntax of its own.

    ScopeInvalid for what is no address, or no name or address as host; a network is no address.
    """
    if _is_address(target.address) and (_NAME.fullmatch(target.host) or _is_address(target.host)):
        return target
    raise ScopeInvalid(f"{target.host[:300]!a} is no name or address that can be scanned.")


def in_brackets(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _is_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text.lower()
    except ValueError:
        return False


def endpoint_name(target: Endpoint) -> str:
    """What findings call an endpoint: its name and port."""
    return f"{in_brackets(target.host)}:{port_of(target)}"


def port_of(target: Endpoint) -> int:
    """Its port, or the one that its scheme means."""
    return target.port or (443 if target.scheme == "https" else 80)


def pinned_url(target: Endpoint) -> str:
    """Its URL with the address in place of the name, so that nobody looks the name up again."""
    path = quote(target.path if target.path.startswith("/") else "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{target.scheme}://{in_brackets(target.address)}:{port_of(target)}{path}"
