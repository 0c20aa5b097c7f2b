"""Which addresses are never scanned, which only when a scope names them, and how many at once.

No I/O. The order of the table decides which rule is told; a network is judged by all it touches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, NamedTuple

from contracts.errors import TargetInvalid
from contracts.vocabulary import TargetRule
from scanners.targets.host_values import Network

WIDEST_TARGET: Final = {4: 24, 6: 120}
"""The shortest prefix of a target: 256 addresses."""

WIDEST_SCOPE: Final = {4: 8, 6: 16}
"""The shortest prefix that a scope may name: what is wider is nobody's own network."""


class Forbidden(NamedTuple):
    """Networks that are refused, and why."""

    networks: tuple[Network, ...]
    rule: TargetRule
    words: str


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")

FORBIDDEN: Final = (
    Forbidden(LOOPBACK, TargetRule.LOOPBACK, "loopback, which is the worker itself"),
    Forbidden(
        _networks(
            # Names in comments are whose metadata service, or the like, answers there.
            "169.254.169.254/32",  # AWS, Azure, Google, Oracle, OpenStack and others
            "169.254.170.2/32",  # AWS ECS: credentials of a task
            "169.254.170.23/32",  # AWS EKS: credentials of a pod
            "fd00:ec2::/32",  # AWS, all of its services over IPv6
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure: the host of the machine
            "192.0.0.192/32",  # Oracle, older
            "fd20:ce::254/128",  # Google over IPv6
            "fd00:42::42/128",  # Scaleway over IPv6
        ),
        TargetRule.METADATA,
        "a metadata service, which hands out credentials",
    ),
    Forbidden(
        _networks("169.254.0.0/16", "fe80::/10", "fec0::/10"),
        TargetRule.RESERVED,
        "link-local, where metadata services are",
    ),
    Forbidden(
        _networks("0.0.0.0/8", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8"),
        TargetRule.RESERVED,
        "reserved: this host, multicast, or not in use",
    ),
    Forbidden(
        _networks(
            "::ffff:0:0/96",  # mapped
            "::ffff:0:0:0/96",  # translated
            "::/96",  # compatible
            "2002::/16",  # 6to4
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 of a local network
            "2001::/32",  # Teredo
        ),
        TargetRule.EMBEDDED_IPV4,
        "an IPv6 address that stands for an IPv4 one",
    ),
)

PRIVATE: Final = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "100.64.0.0/10",  # of carriers, and of some clouds and VPNs
    "198.18.0.0/15",  # benchmarks of networks
)


@dataclass(frozen=True)
class OwnAddress:
    """Where one of our own servers listens."""

    what: str
    network: Network
    port: int


def within(inner: Network, outer: Network) -> bool:
    """True when all of it lies in the other."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def touches(one: Network, other: Network) -> bool:
    """True when they share an address."""
    return one.version == other.version and one.overlaps(other)


def is_loopback(network: Network) -> bool:
    """True for what stays on this machine."""
    return any(within(network, loopback) for loopback in LOOPBACK)


def refuse_forbidden(network: Network, shown: str, *, allow_loopback: bool) -> None:
    """TargetInvalid when an address of it is never scanned, whatever a scope says."""
    if allow_loopback and is_loopback(network):
        return
    for row in FORBIDDEN:
        for forbidden in row.networks:
            if touches(network, forbidden):
                raise TargetInvalid(
                    f"{_which(shown, network, forbidden)} is {row.words}.",
                    rule=row.rule,
                    field="value",
                    fix="No scope can allow it. Name another address"
                    + (
                        "; in tests and demos set CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS."
                        if row.rule is TargetRule.LOOPBACK
                        else "."
                    ),
                )


def refuse_too_large(network: Network, shown: str) -> None:
    """TargetInvalid when it has more addresses than one target may."""
    widest = WIDEST_TARGET[network.version]
    if network.prefixlen < widest:
        raise TargetInvalid(
            f"{shown} has {network.num_addresses} addresses.",
            rule=TargetRule.TOO_LARGE,
            field="value",
            fix=f"A target is at most a /{widest}: add several.",
        )


def refuse_own(
    network: Network, shown: str, own: Iterable[OwnAddress], *, port: int | None
) -> list[int]:
    """TargetInvalid when one of our own servers is there; the ports to leave out on loopback.

    Loopback addresses are one machine: with its setting they may be scanned, but no port of ours.
    """
    closed = set()
    for server in own:
        if is_loopback(network) and is_loopback(server.network):
            closed.add(server.port)
            if port == server.port:
                raise _own(shown, server)
        elif touches(network, server.network):
            raise _own(shown, server)
    return sorted(closed) if port is None else []


def private_of(network: Network) -> Network | None:
    """The private network, or loopback, that it touches."""
    for private in (*PRIVATE, *LOOPBACK):
        if touches(network, private):
            return private
    return None


def refuse_unscopable(network: Network, field: str, *, allow_loopback: bool) -> None:
    """TargetInvalid for what no scope may name: what is never scanned, or half the world."""
    widest = WIDEST_SCOPE[network.version]
    if network.prefixlen < widest:
        raise TargetInvalid(
            f"{network} is nobody's own network.",
            rule=TargetRule.TOO_LARGE,
            field=field,
            fix=f"Name networks of at most a /{widest}.",
        )
    if allow_loopback and is_loopback(network):
        return
    for row in FORBIDDEN:
        if any(within(network, forbidden) for forbidden in row.networks):
            raise TargetInvalid(
                f"{network} is {row.words}.",
                rule=row.rule,
                field=field,
                fix="No scope can allow it. Leave it out.",
            )


def _which(shown: str, network: Network, forbidden: Network) -> str:
    part = forbidden if within(forbidden, network) and forbidden != network else None
    if part is None or network.num_addresses == 1:
        return shown
    where = str(part.network_address) if part.num_addresses == 1 else str(part)
    return f"{where}, which {shown} contains,"


def _own(shown: str, server: OwnAddress) -> TargetInvalid:
    where = server.network.network_address
    return TargetInvalid(
        f"{shown} is where our own {server.what} is ({where}, port {server.port}).",
        rule=TargetRule.OWN_SERVER,
        field="value",
        fix="Cloudsweep does not scan itself. Name an address without it.",
    )
