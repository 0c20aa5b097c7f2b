"""Which targets are refused by their addresses, and which scope allows the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import TargetInvalid
from contracts.targets import Scope, ScopeEntry
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule
from scanners.targets.address_policy import FORBIDDEN, OwnAddress, refuse_forbidden
from scanners.targets.scope_judgement import (
    Surroundings,
    approvals_of,
    judge_value,
    read_entries,
    relying_on,
)
from scanners.targets.target_values import parse_target

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TEAM = UUID(int=1)
AROUND = Surroundings()
LOOPBACK_TOO = Surroundings(allow_loopback=True)


def scope(name: str, *allows: str, valid_until: datetime | None = None) -> Scope:
    """A scope with entries written `kind value`; `domain *.x` is x and all below it."""
    entries = []
    for text in allows:
        kind, _, value = text.partition(" ")
        below = value.startswith("*.")
        entries.append(
            ScopeEntry(kind=ScopeKind(kind), value=value.removeprefix("*."), subdomains=below)
        )
    return Scope(
        id=uuid4(), team_id=TEAM, name=name, allows=entries, approved_by="Ada", note="",
        valid_until=valid_until, created_by="admin", created_at=NOW, updated_at=NOW,
    )  # fmt: skip


WIDE = scope(
    "wide",
    *(f"cidr {first}.0.0.0/8" for first in range(256)),
    *(
        f"cidr {first}::/16"
        for first in ("0", "64", "2001", "2002", "fd00", "fd20", "fe80", "ff00")
    ),
    *("cidr fec0::/16", "cidr ff02::/16", "domain *.example.com"),
)
"""More than any admin may approve."""


def judged(kind: str, text: str, *scopes: Scope, around: Surroundings = AROUND) -> str:
    """The name of the scope that allows a target."""
    value = parse_target(TargetKind(kind), text)
    return judge_value(value, approvals_of(scopes), around, at=NOW).name


def refused(
    kind: str, text: str, *scopes: Scope, around: Surroundings = AROUND
) -> tuple[TargetRule, str, str]:
    """The rule that refuses a target, its words and the fix."""
    with pytest.raises(TargetInvalid) as caught:
        judged(kind, text, *scopes, around=around)
    assert caught.value.field == "value"
    return caught.value.rule, caught.value.message, str(caught.value.fix)


METADATA = [
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
]


@pytest.mark.parametrize("around", [AROUND, LOOPBACK_TOO])
@pytest.mark.parametrize("address", METADATA)
def test_attack_a_metadata_service_is_refused_always(address: str, around: Surroundings) -> None:
    for kind, text in (
        ("host", address),
        ("host", f"[{address}]:80" if ":" in address else f"{address}:80"),
        ("url", f"http://[{address}]/latest" if ":" in address else f"http://{address}/latest"),
        ("image", f"[{address}]/a" if ":" in address else f"{address}/a"),
    ):
        rule, words, fix = refused(kind, text, WIDE, around=around)
        assert rule is TargetRule.METADATA
        assert "metadata service" in words
        assert "No scope can allow it" in fix


def test_attack_a_network_around_a_metadata_service() -> None:
    for network, inside in (
        ("169.254.169.0/24", "169.254.169.254"), ("100.100.100.192/28", "100.100.100.200"),
        ("168.63.129.0/24", "168.63.129.16"), ("fd20:ce::200/120", "fd20:ce::254"),
    ):  # fmt: skip
        rule, words, _ = refused("cidr", network, WIDE)
        assert (rule, inside in words) == (TargetRule.METADATA, True), words


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("127.0.0.1", TargetRule.LOOPBACK),
        ("127.255.255.254", TargetRule.LOOPBACK),
        ("::1", TargetRule.LOOPBACK),
        ("0.0.0.0", TargetRule.RESERVED),  # noqa: S104 (never bound)
        ("0.1.2.3", TargetRule.RESERVED),
        ("169.254.1.1", TargetRule.RESERVED),
        ("224.0.0.1", TargetRule.RESERVED),
        ("240.0.0.1", TargetRule.RESERVED),
        ("255.255.255.255", TargetRule.RESERVED),
        ("fe80::1", TargetRule.RESERVED),
        ("fec0::1", TargetRule.RESERVED),
        ("ff02::1", TargetRule.RESERVED),
        ("::", TargetRule.RESERVED),
        ("::ffff:192.0.2.7", TargetRule.EMBEDDED_IPV4),
        ("::ffff:7f00:1", TargetRule.EMBEDDED_IPV4),
        ("::ffff:0:192.0.2.7", TargetRule.EMBEDDED_IPV4),
        ("::127.0.0.1", TargetRule.EMBEDDED_IPV4),
        ("2002:7f00:1::", TargetRule.EMBEDDED_IPV4),
        ("64:ff9b::a9fe:a9fe", TargetRule.EMBEDDED_IPV4),
        ("64:ff9b:1::a9fe:a9fe", TargetRule.EMBEDDED_IPV4),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", TargetRule.EMBEDDED_IPV4),
    ],
)
def test_addresses_that_no_scope_can_allow_are_refused_by_their_rule(
    address: str, rule: TargetRule
) -> None:
    assert refused("host", address, WIDE)[0] is rule


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    inside=st.sampled_from([network for row in FORBIDDEN for network in row.networks]),
    offset=st.integers(0, 2**128),
    shorter=st.integers(0, 8),
)
def test_a_network_that_touches_a_forbidden_one_is_refused(
    inside: object, offset: int, shorter: int
) -> None:
    forbidden = ip_network(str(inside))
    address = forbidden[offset % forbidden.num_addresses]
    prefix = max(0, forbidden.max_prefixlen - shorter)
    around = ip_network(f"{address}/{prefix}", strict=False)
    with pytest.raises(TargetInvalid):
        refuse_forbidden(around, str(around), allow_loopback=False)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(number=st.integers(0, 2**32 - 1))
def test_no_ipv4_address_that_python_calls_special_passes(number: int) -> None:
    address = ip_address(number)
    try:
        refuse_forbidden(ip_network(address), str(address), allow_loopback=False)
    except TargetInvalid:
        return
    assert not (
        address.is_loopback or address.is_multicast or address.is_link_local
        or address.is_unspecified or address.is_reserved
    )  # fmt: skip


def test_networks_of_at_most_256_addresses_are_targets() -> None:
    ours = scope("ours", "cidr 203.0.0.0/8", "cidr 2001:db8::/32")
    assert judged("cidr", "203.0.113.0/24", ours) == "ours"
    assert judged("cidr", "2001:db8::/120", ours) == "ours"
    for text in ("203.0.112.0/23", "203.0.0.0/8", "2001:db8::/119", "0.0.0.0/0", "::/0"):
        rule, _, fix = refused("cidr", text, ours)
        assert rule is TargetRule.TOO_LARGE
        assert "at most a /24" in fix or "at most a /120" in fix


def test_what_lies_in_no_scope_is_refused_with_the_command_that_adds_it() -> None:
    ours = scope("ours", "cidr 203.0.113.0/25", "domain example.com", "image ghcr.io/team",
                 "path /srv/repositories", "cluster prod")  # fmt: skip
    for kind, text, option in (
        ("host", "203.0.113.128", "--cidr 203.0.113.128/32"),
        ("cidr", "203.0.113.0/24", "--cidr 203.0.113.0/24"),
        ("host", "www.example.com", "--domain www.example.com"),
        ("host", "notexample.com", "--domain notexample.com"),
        ("url", "https://example.com.evil.net/", "--domain example.com.evil.net"),
        ("image", "ghcr.io/teams/app", "--image ghcr.io/teams"),
        ("image", "nginx", "--image docker.io/library"),
        ("repository", "/srv/repositories-old", "--path '/srv/repositories-old'"),
        ("repository", "/srv", "--path '/srv'"),
        ("cluster", "production", "--cluster production"),
    ):
        rule, words, fix = refused(kind, text, ours)
        assert rule is TargetRule.OUT_OF_SCOPE, text
        assert "lies in no scope" in words
        assert f"scope add NAME {option}`" in fix


def test_what_lies_in_a_scope_is_allowed_by_it() -> None:
    ours = scope("ours", "cidr 203.0.113.0/24", "domain example.com", "domain *.example.net",
                 "image ghcr.io/team", "image docker.io", "path /srv", "cluster prod")  # fmt: skip
    for kind, text in (
        ("host", "203.0.113.255:22"), ("cidr", "203.0.113.64/26"), ("url", "http://203.0.113.9/"),
        ("host", "EXAMPLE.com."), ("url", "https://a.b.example.net/x"), ("host", "example.net"),
        ("image", "ghcr.io/team/app:1"), ("image", "ghcr.io/team"), ("image", "nginx"),
        ("repository", "/srv/shop"), ("repository", "/srv"), ("cluster", "prod"),
    ):  # fmt: skip
        assert judged(kind, text, scope("other", "cluster other"), ours) == "ours", text


def test_private_networks_are_scanned_only_when_a_scope_names_them() -> None:
    for address, named, wider in (
        ("10.1.2.3", "10.0.0.0/8", "10.0.0.0/7"),
        ("172.16.0.1", "172.16.0.0/16", "172.0.0.0/8"),
        ("192.168.7.7", "192.168.7.7/32", "192.0.0.0/8"),
        ("100.64.0.1", "100.64.0.0/10", "100.0.0.0/8"),
        ("198.18.0.1", "198.18.0.0/24", "198.0.0.0/8"),
        ("fd12::1", "fd12::/64", "fc00::/6"),
    ):
        rule, words, fix = refused("host", address, scope("wider", f"cidr {wider}"))
        assert rule is TargetRule.PRIVATE
        assert "no scope names it" in words
        assert f"--cidr {address}/" in fix
        assert judged("host", address, scope("named", f"cidr {named}")) == "named"


def test_a_scope_that_has_ended_is_refused_in_words() -> None:
    over = scope("contract 17", "domain example.com", "cidr 10.0.0.0/24", valid_until=NOW)
    for kind, text in (("host", "example.com"), ("cidr", "10.0.0.0/28")):
        rule, words, fix = refused(kind, text, over)
        assert rule is TargetRule.SCOPE_EXPIRED
        assert "lies in the scope contract 17, which ended at 2030-01-01 00:00 UTC" in words
        assert "scope change 'contract 17' --valid-until" in fix
    still = over.model_copy(update={"valid_until": NOW + timedelta(seconds=1)})
    assert judged("host", "example.com", over, still) == "contract 17"


def test_the_setting_lets_loopback_be_named_by_a_scope_and_nothing_else() -> None:
    here = scope("here", "cidr 127.0.0.0/8", "cidr ::1")
    assert judged("host", "127.0.0.1:9000", here, around=LOOPBACK_TOO) == "here"
    assert judged("url", "http://[::1]:9000/", here, around=LOOPBACK_TOO) == "here"
    assert refused("host", "127.0.0.1:9000", around=LOOPBACK_TOO)[0] is TargetRule.PRIVATE
    assert refused("host", "127.0.0.1:9000", here)[0] is TargetRule.LOOPBACK
    assert refused("host", "::ffff:127.0.0.1", here, WIDE, around=LOOPBACK_TOO)[0] is (
        TargetRule.EMBEDDED_IPV4
    )


def own(what: str, address: str, port: int) -> OwnAddress:
    """One of our servers."""
    return OwnAddress(what, ip_network(address), port)


def test_our_own_servers_are_refused_even_when_loopback_is_allowed() -> None:
    here = scope("here", "cidr 127.0.0.0/8", "cidr ::1", "cidr 10.0.0.0/24", "domain db.corp.net")
    around = Surroundings(
        allow_loopback=True,
        own_names=(("PostgreSQL", "db.corp.net"),),
        own_addresses=(
            own("API", "127.0.0.1", 8080), own("Temporal", "10.0.0.6", 7233),
        ),
    )  # fmt: skip
    for kind, text in (
        ("host", "127.0.0.1:8080"), ("host", "127.9.9.9:8080"), ("url", "http://[::1]:8080/"),
        ("host", "10.0.0.6"), ("host", "10.0.0.6:22"), ("cidr", "10.0.0.0/28"),
        ("host", "db.corp.net"), ("url", "https://db.corp.net/"),
    ):  # fmt: skip
        rule, words, _ = refused(kind, text, here, around=around)
        assert rule is TargetRule.OWN_SERVER, text
        assert "our own" in words
    assert judged("host", "127.0.0.1:9000", here, around=around) == "here"
    assert judged("cidr", "10.0.0.16/28", here, around=around) == "here"


def test_our_own_files_and_those_of_the_system_are_no_repository() -> None:
    everything = scope("all", *(f"path /{top}" for top in ("srv", "proc", "dev", "sys")))
    around = Surroundings(own_paths=("/srv/cloudsweep/data",))
    for path in ("/srv/cloudsweep/data", "/srv/cloudsweep/data/x", "/srv", "/proc/1", "/dev"):
        assert refused("repository", path, everything, around=around)[0] is TargetRule.OWN_SERVER
    assert judged("repository", "/srv/shop", everything, around=around) == "all"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.0.0.0/0", TargetRule.TOO_LARGE),
        ("10.0.0.0/7", TargetRule.TOO_LARGE),
        ("::/0", TargetRule.TOO_LARGE),
        ("127.0.0.0/8", TargetRule.LOOPBACK),
        ("169.254.169.254", TargetRule.METADATA),
        ("169.254.0.0/16", TargetRule.RESERVED),
        ("::ffff:0:0/96", TargetRule.EMBEDDED_IPV4),
    ],
)
def test_a_scope_cannot_name_what_is_never_scanned_or_half_the_world(
    text: str, rule: TargetRule
) -> None:
    fine = ScopeEntry(kind=ScopeKind.CLUSTER, value="prod")
    with pytest.raises(TargetInvalid) as caught:
        read_entries([fine, ScopeEntry(kind=ScopeKind.CIDR, value=text)], allow_loopback=False)
    assert caught.value.rule is rule
    assert caught.value.field == "allows[1].value"


def test_entries_are_kept_once_in_canonical_form() -> None:
    entries = [
        ScopeEntry(kind=ScopeKind.DOMAIN, value="Example.com."),
        ScopeEntry(kind=ScopeKind.DOMAIN, value="example.com"),
        ScopeEntry(kind=ScopeKind.CIDR, value="127.0.0.0/8"),
    ]
    kept = read_entries(entries, allow_loopback=True)
    assert [entry.value for entry in kept] == ["example.com", "127.0.0.0/8"]


def test_a_scope_is_relied_on_by_what_no_other_valid_scope_allows() -> None:
    ours = scope("ours", "domain *.example.com", "cidr 203.0.113.0/24")
    other = scope("other", "domain www.example.com")
    over = scope("over", "cidr 203.0.113.0/24", valid_until=NOW)
    values = [
        parse_target(TargetKind(kind), text)
        for kind, text in (
            ("host", "www.example.com"), ("url", "https://shop.example.com/"),
            ("cidr", "203.0.113.0/28"), ("cluster", "prod"),
        )
    ]  # fmt: skip
    found = relying_on(ours, [ours, other, over], values, at=NOW)
    assert [value.text for value in found] == ["https://shop.example.com/", "203.0.113.0/28"]
