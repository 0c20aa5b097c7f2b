"""What a rule of cascades makes of a finding or a resource: nothing, or a target.

Plain functions over what tells findings and resources apart: never over details, titles or banners,
which whoever runs the scanned system may write. Hosts and targets are read as strictly as those
that people write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, Protocol

from contracts.cascades import Then, WhenFinding, WhenResource
from contracts.errors import TargetInvalid
from contracts.native import lists_port
from contracts.vocabulary import MadeTarget, Severity, TargetKind
from scanners.targets.host_values import Host, Unreadable, parse_host
from scanners.targets.target_values import DEFAULT_PORTS, TargetValue, parse_target

_AT_PORT: Final = re.compile(r"[^/]+(?:/[0-9A-Fa-f.:]+)?/tcp/(?P<port>[0-9]{1,5})(?:/.*)?", re.S)
"""How a port scanner tells its findings apart: `shop.example/192.0.2.7/tcp/8443/ssl-cert`."""


class MetFinding(Protocol):
    """A finding, by what tells it apart."""

    @property
    def source(self) -> str: ...
    @property
    def check_id(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def uid(self) -> str: ...


class MetResource(Protocol):
    """A resource of the inventory."""

    @property
    def type(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def attributes(self) -> Mapping[str, object]: ...


class Place(NamedTuple):
    """A host that could be read, and a port where one is known."""

    host: Host
    port: int | None


def place_of_finding(uid: str) -> Place:
    """Where a network tool made a finding, by its name: its asset, and the port in either.

    TargetInvalid when the asset is no host.
    """
    host = _read(uid.partition("/")[0])
    if host.port is not None:
        return Place(host, host.port)
    at = _AT_PORT.fullmatch(uid)
    return Place(host, int(at["port"]) if at else None)


def place_of_resource(when: WhenResource, resource: MetResource) -> Place | None:
    """The host in the attribute that the rule names; None where there is none.

    TargetInvalid when it is no host and nothing but a host.
    """
    text = resource.attributes.get(when.host)
    if not isinstance(text, str) or not text:
        return None
    host = _read(text)
    return Place(host, host.port)


def target_of(then: Then, place: Place) -> TargetValue:
    """The target that the rule makes there, read as one that a person wrote."""
    bare = place.host._replace(port=None).text()
    port = place.port or then.port
    if then.target is MadeTarget.HOST:
        return parse_target(TargetKind.HOST, bare)
    host = f"[{bare}]" if ":" in bare else bare
    if then.target is MadeTarget.URL:
        where = f"{host}:{port}" if port else host
        return parse_target(TargetKind.URL, f"{then.scheme}://{where}/")
    return parse_target(TargetKind.HOST, f"{host}:{port or DEFAULT_PORTS[then.scheme]}")


def _read(text: str) -> Host:
    try:
        return parse_host(text)
    except Unreadable as error:
        raise TargetInvalid(error.message, fix=error.fix) from None


def matches_finding(when: WhenFinding, finding: MetFinding) -> bool:
    """Whether the rule waits for such a finding."""
    return (
        finding.source in when.source
        and _any(when.check_id, finding.check_id)
        and (when.severity is None or finding.severity in when.severity)
        and (when.ports is None or lists_port(when.ports, _port(finding.uid)))
    )


def matches_resource(when: WhenResource, resource: MetResource) -> bool:
    """Whether the rule waits for such a resource."""
    return (
        _any(when.types, resource.type)
        and all(resource.tags.get(name) == value for name, value in when.tags.items())
        and all(
            _text(resource.attributes.get(name)) == value for name, value in when.attributes.items()
        )
    )


def _port(uid: str) -> int | None:
    try:
        return place_of_finding(uid).port
    except TargetInvalid:
        return None


def _any(patterns: Iterable[str], text: str) -> bool:
    # Of what a pattern may hold, only `*` means more than itself.
    return any(fnmatchcase(text, each) for each in patterns)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None
