"""Which native tools look at a target, in which parts, and what their findings are called."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from contracts.native import Endpoint, Image, NativeFinding, NativeTool, ScanPolicy, SourceTree
from contracts.targets import PinnedTarget
from contracts.vocabulary import TargetKind
from scanners.native.native import Adapter
from scanners.native.native_adapters import ADAPTERS
from scanners.native.native_tools import SUITABLE, TLS
from scanners.processes import python_tools

HOSTS_IN_THE_TIME: Final = 16
"""Hosts of a network that one time limit is meant for; more have so many times as long."""
LONGEST: Final = 12_600
"""Seconds of a network's scan, unless the policy says more: a shard has four hours."""

TLS_PORTS: Final = frozenset({443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 8443, 9443})
"""Where a tool that speaks only TLS is used without being named."""

CHECK_TITLES: Final = {
    (NativeTool.NMAP, "open-port"): "A port is open",
    (NativeTool.NMAP, "http-title"): "The title of a web page",
    (NativeTool.NMAP, "ssl-cert"): "The certificate of a TLS server",
    (NativeTool.NMAP, "ssl-enum-ciphers"): "The protocols and ciphers of a TLS server",
    (NativeTool.NMAP, "ssl-dh-params"): "The key exchange of a TLS server",
}
"""What a check is called where its findings are each called otherwise."""


_PARTS: Final = re.compile(r"[:/]")
_PORT: Final = re.compile(r"/(?:tcp|udp|sctp)/(\d+)")


class Plan(NamedTuple):
    """The tools that look at a target, and what a reader should know."""

    tools: list[NativeTool]
    notes: list[str]


class Job(NamedTuple):
    """One run of a tool."""

    adapter: Adapter[Any]
    target: Any
    policy: ScanPolicy


def plan(pinned: PinnedTarget, wanted: Sequence[str] | None) -> Plan:
    """The tools that were asked for, or all that suit the target and are installed here."""
    suitable = SUITABLE[pinned.kind]
    if wanted is None:
        tools = [tool for tool in suitable if _fits(tool, pinned) and is_installed(tool)]
        missing = [] if tools else [tool for tool in suitable if _fits(tool, pinned)]
        words = f"Nothing here can look at {pinned.value}"
        notes = [] if tools else [f"{words}; install one of {', '.join(missing) or 'none'}."]
    else:
        tools = [tool for tool in suitable if tool in wanted]
        odd = [tool for tool in wanted if tool not in suitable]
        notes = [f"{tool} does not look at a {pinned.kind} such as {pinned.value}." for tool in odd]
    return Plan(tools, notes)


def is_installed(tool: NativeTool) -> bool:
    """Whether this machine can run the tool."""
    return python_tools.is_runnable(ADAPTERS[tool].program)


def _fits(tool: NativeTool, pinned: PinnedTarget) -> bool:
    if tool not in TLS:
        return True
    if pinned.kind is TargetKind.URL:
        return pinned.value.startswith("https:")
    return pinned.port in TLS_PORTS


def jobs(tool: NativeTool, pinned: PinnedTarget, policy: ScanPolicy) -> list[Job]:
    """One run of the tool for each address of the target, which was checked just now."""
    adapter = ADAPTERS[tool]
    if pinned.path is not None:
        return [Job(adapter, SourceTree(pinned.value, Path(pinned.path)), policy)]
    if pinned.kind is TargetKind.IMAGE:
        return [Job(adapter, Image(pinned.value), policy)]
    if pinned.closed_ports and pinned.port is None:
        open_ports = _without(policy.ports, frozenset(pinned.closed_ports))
        policy = policy.model_copy(update={"ports": open_ports})
    if pinned.kind is TargetKind.CIDR:
        policy = _with_time_for(ipaddress.ip_network(pinned.addresses[0]).num_addresses, policy)
    return [Job(adapter, _endpoint(tool, pinned, each), policy) for each in pinned.addresses]


def _with_time_for(hosts: int, policy: ScanPolicy) -> ScanPolicy:
    seconds = policy.time_limit_seconds
    longer = min(LONGEST, seconds * ceil(hosts / HOSTS_IN_THE_TIME))
    return policy.model_copy(update={"time_limit_seconds": max(seconds, longer)})


def _endpoint(tool: NativeTool, pinned: PinnedTarget, address: str) -> Endpoint:
    single = address.removesuffix("/32").removesuffix("/128")
    place = Endpoint(host=pinned.name or single, address=single, port=pinned.port)
    if pinned.kind is TargetKind.URL:
        url = urlsplit(pinned.value)
        path = url.path + (f"?{url.query}" if url.query else "")
        if url.scheme == "http":
            return place._replace(scheme="http", path=path or "/", port=pinned.port or 80)
        return place._replace(path=path or "/", port=pinned.port or 443)
    if tool in TLS and place.port is None:
        return place._replace(port=443)
    return place


def _without(ports: str, closed: frozenset[int]) -> str:
    """A list of ports without these."""
    found = []
    for part in ports.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        start = low
        for port in sorted(each for each in closed if low <= each <= high):
            found += _span(start, port - 1)
            start = port + 1
        found += _span(start, high)
    return ",".join(found)


def _span(low: int, high: int) -> list[str]:
    if low > high:
        return []
    return [str(low) if low == high else f"{low}-{high}"]


def resource_uid(finding: NativeFinding) -> str:
    """What a finding is about, as its tool tells it apart: `shop.example/tcp/8080`."""
    said = {finding.rule, *_PARTS.split(finding.asset)}
    rest = [part for part in dict.fromkeys(finding.identity[1:]) if part and part not in said]
    return "/".join([finding.asset, *(part for part in rest if part != finding.asset)])


def port_of(uid: str) -> int | None:
    """The port in such a name."""
    found = _PORT.search(uid)
    return int(found[1]) if found else None


def check_title(finding: NativeFinding) -> str:
    """What the check is called, whichever finding of it came first."""
    return CHECK_TITLES.get((finding.tool, finding.rule), finding.title)
