"""Where targets lead: looked up once, every address checked, pinned, and checked again later."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Final

from contracts.errors import CloudsweepError, TargetInvalid, TargetUnreachable
from contracts.targets import PinnedTarget, Target
from contracts.vocabulary import TargetKind, TargetRule
from runtime.own_servers import OwnServer
from scanners.targets.address_policy import OwnAddress
from scanners.targets.scope_judgement import Approval, Surroundings, judge_network, judge_value
from scanners.targets.target_values import TargetValue, parse_target

RESOLVE_SECONDS: Final = 5.0
ADDRESSES: Final = 64
"""More than this no name of one service has."""

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Every address of a name, none when it has none; OSError or TimeoutError when nobody says."""

_LOOKUPS: Final = ThreadPoolExecutor(8, thread_name_prefix="resolve")
"""Their own threads: one that waits for a slow name server cannot be interrupted, and must not
take the place of other work."""

_NO_SUCH_NAME: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


async def system_resolver(name: str) -> Sequence[str]:
    """What this machine's resolver says, just as a tool would ask it: the hosts file counts."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(
            _LOOKUPS, lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        )
    except socket.gaierror as error:
        if error.errno in _NO_SUCH_NAME:
            return []
        raise
    return [str(info[4][0]) for info in found]


async def no_lookups(name: str) -> Sequence[str]:
    """For judging by value alone: no name is looked up."""
    return ()


async def look_up(name: str, resolver: Resolver, *, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """Every address of a name, sorted; TargetInvalid when there is none, TargetUnreachable when
    nobody says within the time."""
    try:
        async with asyncio.timeout(seconds):
            answers = await resolver(name)
    except (OSError, UnicodeError) as error:  # a TimeoutError is one
        raise TargetUnreachable(
            f"The addresses of {name} cannot be looked up now.",
            fix="Check the name servers of this machine, then try again.",
        ) from error
    # A zone says by which card; the address is judged without it.
    found = {ip_address(answer.partition("%")[0]) for answer in answers}
    if not found:
        raise TargetInvalid(
            f"{name} has no address.",
            rule=TargetRule.UNRESOLVED,
            field="value",
            fix="Check how it is written, and that this machine's name servers know it.",
        )
    if len(found) > ADDRESSES:
        raise TargetInvalid(
            f"{name} has {len(found)} addresses, more than {ADDRESSES}.",
            rule=TargetRule.TOO_LARGE,
            field="value",
            fix="Add its addresses as targets.",
        )
    return [str(each) for each in sorted(found, key=lambda each: (each.version, int(each)))]


async def look_around(
    servers: Iterable[OwnServer],
    *,
    allow_loopback: bool,
    own_paths: Iterable[str] = (),
    resolver: Resolver = system_resolver,
) -> Surroundings:
    """Where our own servers are; one whose name is not known is refused by its name alone."""
    named, addresses = [], []
    for server in servers:
        try:
            literal = ip_address(server.host.partition("%")[0])
        except ValueError:
            named.append(server)
        else:
            addresses.append(OwnAddress(server.what, ip_network(literal), server.port))
    found = await asyncio.gather(
        *(look_up(server.host, resolver) for server in named), return_exceptions=True
    )
    for server, answer in zip(named, found, strict=True):
        if isinstance(answer, CloudsweepError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        addresses += [OwnAddress(server.what, ip_network(each), server.port) for each in answer]
    names = tuple((server.what, server.host) for server in named)
    paths = tuple(map(os.path.realpath, own_paths))
    return Surroundings(allow_loopback, names, tuple(addresses), paths)


@dataclass(frozen=True)
class Pinning:
    """What a target is judged by: the team's scopes, this installation, the time, a resolver."""

    approvals: Sequence[Approval]
    around: Surroundings
    at: datetime
    resolver: Resolver = system_resolver

    async def pin(self, target: Target) -> PinnedTarget:
        """Look a target up and check every address; TargetInvalid names the rule that refuses."""
        value = parse_target(target.kind, target.value)
        if not target.enabled:
            raise TargetInvalid(
                f"{value.text} is disabled.",
                rule=TargetRule.DISABLED,
                fix="Enable it: `cloudsweep target enable`.",
            )
        scope = judge_value(value, self.approvals, self.around, at=self.at)
        path = None
        if value.kind is TargetKind.REPOSITORY:
            path = await asyncio.to_thread(os.path.realpath, value.text)
            shown = value.text if path == value.text else f"{path} (where {value.text} leads)"
            real = TargetValue(value.kind, path)
            judge_value(real, self.approvals, self.around, at=self.at, shown=shown)
        addresses, closed = await self._addresses(value)
        return PinnedTarget(
            target_id=target.id,
            team_id=target.team_id,
            kind=value.kind,
            value=value.text,
            name=value.name,
            port=value.port,
            addresses=addresses,
            closed_ports=closed,
            path=path,
            scope=scope,
            pinned_at=self.at,
        )

    async def verify(self, pinned: PinnedTarget, target: Target) -> PinnedTarget:
        """Check again, right before it is scanned: scopes end, and names move.

        Every address that it has now must be allowed. Only those that were pinned and that it
        still has are left to connect to; TargetInvalid when there is none.
        """
        now = await self.pin(target)
        if pinned.value != now.value or pinned.path != now.path:
            raise _moved(pinned.value, [pinned.path or pinned.value], [now.path or now.value])
        still = [address for address in pinned.addresses if address in now.addresses]
        if pinned.addresses and not still:
            raise _moved(pinned.value, pinned.addresses, now.addresses)
        return now.model_copy(update={"addresses": still})

    async def _addresses(self, value: TargetValue) -> tuple[list[str], list[int]]:
        if value.network is not None:
            text = value.network if value.kind is TargetKind.CIDR else value.network[0]
            places = [str(text)]
        elif value.name is not None:
            places = await look_up(value.name, self.resolver)
        else:
            places = []
        closed: set[int] = set()
        for place in places:
            shown = place if value.name is None else f"{place} (of {value.name})"
            closed |= set(
                judge_network(
                    ip_network(place),
                    shown,
                    self.approvals,
                    self.around,
                    at=self.at,
                    port=value.port,
                )
            )
        return places, sorted(closed)


def _moved(value: str, before: Sequence[str], now: Sequence[str]) -> TargetInvalid:
    return TargetInvalid(
        f"{value} leads to {', '.join(now)} now; it was checked when it led to "
        f"{', '.join(before)}.",
        rule=TargetRule.MOVED,
        fix="If that is right, start a new scan, which checks it anew.",
    )
