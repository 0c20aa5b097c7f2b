"""What people write as a target or a scope, read strictly: one canonical form, or a refusal.

No I/O. Whatever tools, resolvers and browsers read in two ways is refused, never repaired: short,
octal and hexadecimal addresses, ranges, wildcards, user names, backslashes, encoded hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from contracts.errors import TargetInvalid
from contracts.targets import ScopeEntry
from contracts.vocabulary import ScopeKind, TargetKind
from scanners.targets.host_values import (
    Host,
    Network,
    Unreadable,
    ends_in_number,
    network_of,
    parse_host,
    parse_name,
    parse_network,
)

LONGEST: Final = 2000
"""Characters of what is written, and bytes of its canonical form, which an index holds."""

DOCKER_HUB: Final = "docker.io"
REGISTRY_HOSTS: Final = {DOCKER_HUB: "registry-1.docker.io"}
"""Registries whose names in references are not the hosts that images are pulled from."""
ALSO_DOCKER_HUB: Final = frozenset({"index.docker.io", "registry-1.docker.io"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_URL_TEXT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CLUSTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}")


@dataclass(frozen=True)
class TargetValue:
    """A target that could be read: its canonical text, and what of it decides where it leads."""

    kind: TargetKind
    text: str
    name: str | None = None
    """The host name, to be looked up."""
    network: Network | None = None
    """The address as a network of one, or the network of a cidr."""
    port: int | None = None
    image: str | None = None
    """Registry and repository, without tag and digest."""


@dataclass(frozen=True)
class ScopeRule:
    """An entry of a scope that could be read."""

    kind: ScopeKind
    text: str
    network: Network | None = None
    subdomains: bool = False

    def entry(self) -> ScopeEntry:
        """Its canonical form, as it is stored."""
        return ScopeEntry(kind=self.kind, value=self.text, subdomains=self.subdomains)


def parse_target(kind: TargetKind, text: str, *, field: str = "value") -> TargetValue:
    """The target that this text means, and none other; TargetInvalid names the field.

    The canonical text parses to itself.
    """
    try:
        _refuse_odd(text, spaces=kind is TargetKind.REPOSITORY)
        value = _parse_target(kind, text)
        _refuse_long(value.text)
    except Unreadable as error:
        raise TargetInvalid(error.message, field=field, fix=error.fix) from None
    return value


def parse_scope_entry(entry: ScopeEntry, *, field: str = "value") -> ScopeRule:
    """What this entry allows; TargetInvalid names the field."""
    try:
        _refuse_odd(entry.value, spaces=entry.kind is ScopeKind.PATH)
        if entry.subdomains and entry.kind is not ScopeKind.DOMAIN:
            raise Unreadable("Only a domain has subdomains.", "Leave `subdomains` out.")
        rule = _parse_rule(entry)
        _refuse_long(rule.text)
    except Unreadable as error:
        raise TargetInvalid(error.message, field=field, fix=error.fix) from None
    return rule


def _refuse_long(canonical: str) -> None:
    if len(canonical.encode()) > LONGEST:
        raise Unreadable(f"It is longer than {LONGEST} bytes.", "Shorten it.")


def _refuse_odd(text: str, *, spaces: bool) -> None:
    if not text or len(text) > LONGEST:
        raise Unreadable(f"It must have 1 to {LONGEST} characters.", "Shorten it.")
    if not text.isprintable() or text != text.strip() or (" " in text and not spaces):
        raise Unreadable(
            "It has spaces or characters that cannot be printed.", "Write it without them."
        )
    if text.startswith("-"):  # some tool would take it for an option
        raise Unreadable("It begins with a dash.", "Write it without the dash.")


def _parse_target(kind: TargetKind, text: str) -> TargetValue:
    match kind:
        case TargetKind.HOST:
            host = parse_host(text)
            return _at(kind, host.text(), host, host.port)
        case TargetKind.CIDR:
            network = parse_network(text)
            return TargetValue(kind, str(network), network=network)
        case TargetKind.URL:
            return _url(text)
        case TargetKind.IMAGE:
            return _image(text)
        case TargetKind.REPOSITORY:
            return TargetValue(kind, _path(text))
        case TargetKind.CLUSTER:
            return TargetValue(kind, _cluster(text))


def _parse_rule(entry: ScopeEntry) -> ScopeRule:
    match entry.kind:
        case ScopeKind.CIDR:
            network = network_of(entry.value)
            return ScopeRule(entry.kind, str(network), network=network)
        case ScopeKind.DOMAIN:
            if entry.value.startswith("*."):
                raise Unreadable(
                    "A wildcard is not a name.",
                    "Write example.com and set `subdomains` to true.",
                )
            if ends_in_number(entry.value):
                raise Unreadable("It is not a name.", "Use an entry of the kind cidr.")
            return ScopeRule(entry.kind, parse_name(entry.value), subdomains=entry.subdomains)
        case ScopeKind.IMAGE:
            return ScopeRule(entry.kind, _image_prefix(entry.value))
        case ScopeKind.PATH:
            return ScopeRule(entry.kind, _path(entry.value))
        case ScopeKind.CLUSTER:
            return ScopeRule(entry.kind, _cluster(entry.value))


def _at(
    kind: TargetKind, text: str, host: Host, port: int | None, image: str | None = None
) -> TargetValue:
    network = None if host.address is None else network_of(str(host.address))
    return TargetValue(kind, text, host.name, network, port, image)


def _url(text: str) -> TargetValue:
    found = _URL.fullmatch(text)
    if found is None or "\\" in text:
        raise Unreadable(
            "It is not a URL, or it has a fragment or a backslash.",
            "Write it like https://www.example.com/path, without # and what follows.",
        )
    scheme = found["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise Unreadable("Only http and https are scanned.", "Begin with https:// or http://.")
    if "@" in found["host"]:
        raise Unreadable(
            "It holds a user name or password, or what looks like one.",
            "Leave out what stands before the @; a target holds no secret.",
        )
    host = parse_host(found["host"])
    if host.address is not None and host.address.version == 6 and found["host"][0] != "[":
        raise Unreadable("The address needs brackets.", "Write it like https://[2001:db8::1]/.")
    path = found["path"] or "/"
    query = found["query"]
    for part in (path, query or ""):
        if not _URL_TEXT.fullmatch(part):
            raise Unreadable(
                "Its path or query has characters that a URL does not have.",
                "Encode them, such as %20 for a space.",
            )
    path, query = _encoding(path), _encoding(query or "")
    steps = path.replace("%2E", ".").split("/")
    if "." in steps or ".." in steps:
        raise Unreadable("Its path goes up or nowhere.", "Write it without . and .. steps.")
    canonical = f"{scheme}://{host.text(DEFAULT_PORTS[scheme])}{path}"
    canonical += f"?{query}" if query else ""
    return _at(TargetKind.URL, canonical, host, host.port or DEFAULT_PORTS[scheme])


def _encoding(text: str) -> str:
    """The same with its percent-encodings in upper case."""
    for encoded in set(_ENCODED.findall(text)):
        if int(encoded[1:], 16) < 0x20 or encoded.lower() == "%7f":
            raise Unreadable("It encodes a control character.", "Write it without.")
        text = text.replace(encoded, encoded.upper())
    return text


def _image(text: str) -> TargetValue:
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise Unreadable("The digest is wrong.", "Write it like name@sha256: and 64 hex digits.")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise Unreadable("The tag is wrong.", "Write it like name:1.2.3.")
    registry, path = _registry(f"{head}{slash}{last}")
    if registry.name == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not path or len(path) > 255 or not all(map(_REPOSITORY.fullmatch, path.split("/"))):
        raise Unreadable(
            "It is not the name of an image.",
            "Write it like registry.example.com/team/name:tag, in lower case.",
        )
    where = f"{registry.text()}/{path}" if registry.port else f"{_bare(registry)}/{path}"
    wanted = f":{tag}" if tag else ("" if digest else ":latest")
    canonical = f"{where}{wanted}" + (f"@{digest}" if digest else "")
    host = registry
    if registry.name is not None:
        host = registry._replace(name=REGISTRY_HOSTS.get(registry.name, registry.name))
    return _at(TargetKind.IMAGE, canonical, host, registry.port or 443, where)


def _registry(text: str) -> tuple[Host, str]:
    """The registry, Docker Hub unless the first part looks like a host, and the rest."""
    first, slash, rest = text.partition("/")
    if not slash or not (set(".:[]") & set(first)):
        if first == "localhost" and slash:
            parse_name(first)  # says that it is not a whole name
        return Host(DOCKER_HUB, None, None), text
    host = parse_host(first)
    if host.name in ALSO_DOCKER_HUB:
        host = host._replace(name=DOCKER_HUB)
    if host.port == 443:
        host = host._replace(port=None)
    return host, rest


def _bare(host: Host) -> str:
    return f"[{host.address}]" if isinstance(host.address, IPv6Address) else host.text()


def _image_prefix(text: str) -> str:
    registry, path = _registry(text if "/" in text else f"{text}/")
    if not (set(".:[]") & set(text.partition("/")[0])):
        raise Unreadable(
            "It does not begin with a registry.", "Write it like docker.io/library or ghcr.io/team."
        )
    path = path.removesuffix("/")
    if path and not all(map(_REPOSITORY.fullmatch, path.split("/"))):
        raise Unreadable(
            "It is not the beginning of image names.",
            "Write a registry and whole parts of a name, such as ghcr.io/team, without a tag.",
        )
    where = registry.text() if registry.port else _bare(registry)
    return f"{where}/{path}" if path else where


def _path(text: str) -> str:
    steps = text.removesuffix("/").split("/")
    if steps[0] or len(steps) < 2 or {"", ".", ".."} & set(steps[1:]):
        raise Unreadable(
            "It is not the absolute path of a directory below the root.",
            "Write it like /srv/repositories/shop, without . and .. and doubled slashes.",
        )
    if any(step != step.strip() for step in steps):
        raise Unreadable("A name in it begins or ends with a space.", "Rename the directory.")
    return "/".join(steps)


def _cluster(text: str) -> str:
    if not _CLUSTER.fullmatch(text):
        raise Unreadable(
            "It is not the name of a cluster.",
            "A name has letters, digits and . _ : / @ - and begins with a letter or digit.",
        )
    return text
