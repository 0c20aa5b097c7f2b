"""Names, addresses, networks and ports as people write them, read strictly."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_NAME: Final = 253

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LABEL: Final = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_ADDRESS_4: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")


class Unreadable(Exception):
    """What is wrong with a text, and how to write it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class Host(NamedTuple):
    """What stands before a path: a name or an address, and a port."""

    name: str | None
    address: Address | None
    port: int | None

    def text(self, default_port: int | None = None) -> str:
        """The canonical form; the default port is left out."""
        host = self.name or str(self.address)
        if self.port is None or self.port == default_port:
            return f"[{host}]" if ":" in host and default_port else host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_host(text: str) -> Host:
    """A name or an address, with or without a port; an IPv6 address with one needs brackets."""
    if "%" in text:
        raise Unreadable(
            "It holds a %: zones of addresses and encoded names are refused.",
            "Write the name or the address itself.",
        )
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Unreadable("The brackets are not closed.", "Write it like [2001:db8::1]:443.")
        return Host(None, _address_6(inside), _port(rest[1:]) if rest else None)
    if text.count(":") > 1:
        return Host(None, _address_6(text), None)
    host, colon, port = text.partition(":")
    number = _port(port) if colon else None
    if ends_in_number(host):
        return Host(None, _address_4(host), number)
    return Host(parse_name(host), None, number)


def ends_in_number(host: str) -> bool:
    """True for what resolvers and browsers take for an IPv4 address in one of its odd forms."""
    return _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


def _address_4(text: str) -> IPv4Address:
    try:
        if _ADDRESS_4.fullmatch(text):
            return IPv4Address(text)
    except ValueError:
        pass
    raise Unreadable(
        "It is not an IPv4 address. Short, octal and hexadecimal forms are refused.",
        "Write four numbers from 0 to 255 without leading zeros, such as 192.0.2.10.",
    )


def _address_6(text: str) -> IPv6Address:
    try:
        if "%" not in text:
            return IPv6Address(text)
    except ValueError:
        pass
    raise Unreadable(
        "It is not an IPv6 address.", "Write it like 2001:db8::1, with a port [2001:db8::1]:443."
    )


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise Unreadable("This is not a port.", "Write a number from 1 to 65535.")
    return int(text)


def parse_name(text: str) -> str:
    """Lower case, as DNS has it (punycode), without the dot at the end."""
    labels = text.removesuffix(".").lower().split(".")
    name = ".".join(_label(label) for label in labels)
    if len(name) > LONGEST_NAME:
        raise Unreadable(f"A name has at most {LONGEST_NAME} characters.", "Shorten it.")
    if len(labels) < 2:
        raise Unreadable(
            "It is not a whole name: which host a single word means depends on who asks.",
            "Write it with its domain, such as host.example.com, or its address.",
        )
    if not _TOP_LABEL.fullmatch(name.rpartition(".")[2]):
        raise Unreadable(
            "It ends like no name does.", "Write a name such as www.example.com, or an address."
        )
    return name


def _label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        if _LABEL.fullmatch(label):
            return label
        raise Unreadable(
            "It is neither a name nor an address. Ranges, lists and wildcards are refused.",
            "A name has letters, digits, dashes and dots. Several hosts are several targets.",
        )
    try:
        encoded = idna.encode(label, strict=True).decode()
    except (UnicodeError, IndexError):
        raise Unreadable(
            "It has letters that no host name may have.",
            "Write it as it is registered, or as its xn-- form.",
        ) from None
    return encoded


def parse_network(text: str) -> Network:
    """An address and a prefix; bits of a host are refused, so that no range is wider than meant."""
    address, _, prefix = text.partition("/")
    if not _PREFIX.fullmatch(prefix):
        raise Unreadable(
            "It is not a network.", "Write an address and its prefix, such as 192.0.2.0/24."
        )
    network = IPv6Network if ":" in address else IPv4Network
    parsed = _address_6(address) if ":" in address else _address_4(address)
    if int(prefix) > parsed.max_prefixlen:
        raise Unreadable(
            f"No address has {prefix} bits.", f"The prefix is at most {parsed.max_prefixlen}."
        )
    covering = network((int(parsed), int(prefix)), strict=False)
    if covering.network_address != parsed:
        raise Unreadable(
            f"{address} is within the network {covering}.",
            "Name the network, or the one address as a host.",
        )
    return covering


def network_of(text: str) -> Network:
    """The same, or one address, which is a network of its own."""
    if "/" in text:
        return parse_network(text)
    address = _address_6(text) if ":" in text else _address_4(text)
    return parse_network(f"{address}/{address.max_prefixlen}")
