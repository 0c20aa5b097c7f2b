"""Targets and scopes are read in one way only; every bypass that worked on a scanner is refused."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest
import urllib3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.errors import TargetInvalid
from contracts.targets import ScopeEntry
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule
from scanners.targets.target_values import parse_scope_entry, parse_target

HOST, CIDR, URL = TargetKind.HOST, TargetKind.CIDR, TargetKind.URL
IMAGE, REPOSITORY, CLUSTER = TargetKind.IMAGE, TargetKind.REPOSITORY, TargetKind.CLUSTER
DIGEST = f"sha256:{'0' * 64}"


def refused(kind: TargetKind, text: str) -> TargetInvalid:
    """How this text is refused."""
    with pytest.raises(TargetInvalid) as caught:
        parse_target(kind, text)
    assert caught.value.field == "value"
    assert caught.value.rule is TargetRule.MALFORMED
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        (HOST, "WWW.Example.com", "www.example.com"),
        (HOST, "www.example.com.", "www.example.com"),
        (HOST, "www.example.com.:443", "www.example.com:443"),
        (HOST, "bücher.example", "xn--bcher-kva.example"),
        (HOST, "BÜCHER.example", "xn--bcher-kva.example"),
        (HOST, "straße.de", "xn--strae-oqa.de"),
        (HOST, "r3---sn.example.com", "r3---sn.example.com"),
        (HOST, "192.0.2.7", "192.0.2.7"),
        (HOST, "192.0.2.7:22", "192.0.2.7:22"),
        (HOST, "2001:DB8:0:0::1", "2001:db8::1"),
        (HOST, "[2001:db8::1]", "2001:db8::1"),
        (HOST, "[2001:db8::1]:443", "[2001:db8::1]:443"),
        (CIDR, "192.0.2.0/24", "192.0.2.0/24"),
        (CIDR, "2001:DB8::/120", "2001:db8::/120"),
        (URL, "HTTPS://Shop.Example.com", "https://shop.example.com/"),
        (URL, "https://shop.example.com:443/a?", "https://shop.example.com/a"),
        (URL, "http://shop.example.com:443/a%2fb?q=%c3%a9", "http://shop.example.com:443/a%2Fb?q=%C3%A9"),
        (URL, "http://[2001:db8::1]:8080/@me", "http://[2001:db8::1]:8080/@me"),
        (URL, "https://bücher.example./", "https://xn--bcher-kva.example/"),
        (IMAGE, "nginx", "docker.io/library/nginx:latest"),
        (IMAGE, "index.docker.io/team/app:1", "docker.io/team/app:1"),
        (IMAGE, f"ghcr.io:443/team/app@{DIGEST}", f"ghcr.io/team/app@{DIGEST}"),
        (IMAGE, f"192.0.2.7:5000/app:1@{DIGEST}", f"192.0.2.7:5000/app:1@{DIGEST}"),
        (REPOSITORY, "/srv/my shop/", "/srv/my shop"),
        (CLUSTER, "arn:aws:eks:eu-west-1:123456789012:cluster/prod",
         "arn:aws:eks:eu-west-1:123456789012:cluster/prod"),
    ],
)  # fmt: skip
def test_a_target_has_one_canonical_form(kind: TargetKind, text: str, canonical: str) -> None:
    assert parse_target(kind, text).text == canonical
    assert parse_target(kind, canonical).text == canonical


def test_an_url_knows_its_port_and_an_image_the_host_it_is_pulled_from() -> None:
    assert parse_target(URL, "http://x.example/").port == 80
    assert parse_target(URL, "https://x.example/").port == 443
    assert parse_target(HOST, "x.example").port is None
    hub = parse_target(IMAGE, "nginx")
    assert (hub.name, hub.port, hub.image) == (
        *("registry-1.docker.io", 443), "docker.io/library/nginx",
    )  # fmt: skip
    assert str(parse_target(IMAGE, "192.0.2.7:5000/app").network) == "192.0.2.7/32"


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize(
    "text",
    ["--script=/path.nse", "-oN=/path", "-iL=FILE", "--openssl=/path", "-", "--", "-x.example.com"],
)
def test_attack_a_target_that_begins_with_a_dash(kind: TargetKind, text: str) -> None:
    assert "begins with a dash" in refused(kind, text).message


def test_attack_the_range_127_0_0_1_3() -> None:
    refused(HOST, "127.0.0.1-3")
    refused(CIDR, "127.0.0.1-3")


def test_attack_the_wildcard_127_0_0_star() -> None:
    refused(HOST, "127.0.0.*")
    refused(CIDR, "127.0.0.*")


def test_attack_a_name_with_a_prefix_localhost_30() -> None:
    refused(HOST, "localhost/30")
    refused(CIDR, "localhost/30")


def test_attack_the_decimal_2130706433() -> None:
    refused(HOST, "2130706433")
    refused(URL, "http://2130706433/")
    refused(IMAGE, "2130706433:80/x")


def test_attack_the_hexadecimal_0x7f000001() -> None:
    refused(HOST, "0x7f000001")
    refused(HOST, "0X7F.1")
    refused(URL, "http://127.0.0.0x1/")


def test_attack_the_short_127_1() -> None:
    refused(HOST, "127.1")
    refused(URL, "http://127.1/")
    refused(CIDR, "127.1/24")


def test_attack_the_octal_0177_0_0_1() -> None:
    refused(HOST, "0177.0.0.1")
    refused(HOST, "192.0.2.010")


def test_attack_the_prefix_99_that_becomes_32() -> None:
    assert "No address has 99 bits" in refused(CIDR, "127.0.0.1/99").message


def test_attack_the_prefix_0_of_127_0_0_1() -> None:
    assert "0.0.0.0/0" in refused(CIDR, "127.0.0.1/0").message


def test_attack_an_address_in_braces_behind_the_port() -> None:
    refused(HOST, "www.example.com:443{127.0.0.1}")
    refused(URL, "https://www.example.com:443{127.0.0.1}/")


@pytest.mark.parametrize(
    "text",
    [
        *("192.0.2.0/255.255.255.0", "192.0.2.0/0.0.0.255", "192.0.2.0/+24", "192.0.2.0/024"),
        *("192.0.2.0/24/24", "192.0.2.0/", "/24", "192.0.2.7/24", "2001:db8::1/120"),
        *("192.0.2.0/-1", "192.0.2.0/٢٤", "2001:db8::/129", "www.example.com/24"),
        "[2001:db8::]/120",
    ],
)  # fmt: skip
def test_other_ways_to_write_a_network_are_refused(text: str) -> None:
    refused(CIDR, text)


@pytest.mark.parametrize(
    "text",
    [
        *("localhost", "LOCALHOST.", "intranet", "a..b.com", ".example.com", "example.com.."),
        *("a_b.example.com", "-a.example.com", "a-.example.com", "x" * 64 + ".com"),
        *(".".join(["abcdefgh"] * 40), "www.example.com:0", "www.example.com:65536"),
        *("www.example.com:", "www.example.com:+1", "www.example.com:1:2", "www.example.com:٣"),
        *("192.0.2.7.", "192.0.2", "192.0.2.256", "192.0.2.7,8", "192.0.2.7 192.0.2.8"),
        *("a@www.example.com", "www.example.com/x", "www.example.com#x", "http://www.example.com"),
        *("[2001:db8::1", "2001:db8::1]", "[192.0.2.7]", "[2001:db8::1]x", "2001:db8:::1"),
        *("1.example.1", "www.example.c0m", "www.example.0x1f", "xn--localhost-.com", "xn--.com"),
        *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "ex\u200dample.com"),
        *("www.\u2102.com", "www\x00.example.com"),
    ],
)  # fmt: skip
def test_what_is_no_name_or_address_is_refused(text: str) -> None:
    refused(HOST, text)


def test_zones_of_ipv6_addresses_are_refused() -> None:
    for text in ("fe80::1%eth0", "[fe80::1%eth0]:80", "2001:db8::1%1"):
        assert "zones" in refused(HOST, text).message
    for url in ("http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"):
        assert "zones" in refused(URL, url).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://user:password@www.example.com/", "user name or password"),
        ("http://www.example.com@127.0.0.1/", "user name or password"),
        ("http://www.example.com\\@127.0.0.1/", "backslash"),
        ("http://127.0.0.1\\.example.com/", "backslash"),
        ("http://www.example.com#@127.0.0.1/", "fragment"),
        ("http://www.example.com/#x", "fragment"),
        ("http://%6cocalhost/", "encoded names"),
        ("http://127%2e0%2e0%2e1/", "encoded names"),
        ("file:///etc/passwd", "Only http"),
        ("gopher://www.example.com/", "Only http"),
        ("http:www.example.com", "not a URL"),
        ("//www.example.com/", "not a URL"),
        ("http:///x", "neither"),
        ("http://2001:db8::1/", "brackets"),
        ("http://www.example.com/../x", "goes up"),
        ("http://www.example.com/%2E%2e/x", "goes up"),
        ("http://www.example.com/%0d%0aHost:x", "control character"),
        ("http://www.example.com/?q=%00", "control character"),
        ("http://www.example.com/%zz", "characters that a URL"),
        ("http://www.example.com/é", "characters that a URL"),
        ("http://www.example.com/<script>", "characters that a URL"),
        ("http://www.example.com/a b", "spaces"),
        ("http://www.example.com/\r\nHost: x", "cannot be printed"),
    ],
)
def test_urls_that_two_readers_read_in_two_ways_are_refused(text: str, words: str) -> None:
    assert words in refused(URL, text).message


@pytest.mark.parametrize(
    "text",
    [
        *("Nginx", "a//b", "/a", "a/", "a:b:c", "a:", "a@sha256:0", "a@md5:0", "ghcr.io/"),
        *("ghcr.io/Team/app", "localhost:5000/app", "localhost/app", "ghcr.io/a/../b", "a/-b"),
        *("http://ghcr.io/a", "user@ghcr.io/a", "ghcr.io:0/a", "ghcr.io/a?x", "."),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(text: str) -> None:
    refused(IMAGE, text)


@pytest.mark.parametrize(
    "text",
    ["/", "srv", "./srv", "/srv/../etc", "/srv/.", "//srv", "/srv//x", "/srv/ ", "/a\nb", "~/x"],
)
def test_what_is_no_absolute_path_is_refused(text: str) -> None:
    refused(REPOSITORY, text)


def test_what_is_longer_than_an_index_holds_is_refused() -> None:
    assert len(parse_target(REPOSITORY, f"/{'x' * 1999}").text) == 2000
    for kind, text in (
        (REPOSITORY, f"/{'漢' * 700}"),
        (URL, f"https://bücher.example/{'x' * 1976}"),
        (HOST, "x" * 2001),
        (IMAGE, f"ghcr.io/{'x' * 256}"),
        (CLUSTER, "x" * 254),
    ):
        refused(kind, text)


ALPHABET = st.sampled_from(
    [*"aAzZ019.:/-_@%[]{}*, \\#?=&+~", "xn--", "127", "0x", "::", "localhost", "http://", "ü",
     "\u3002", "\uff11", "ß", "İ", "\u200d", "\ud800", "\x00", "%2e",
     "ffff", "example.com", "/24", "sha256:"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), st.lists(ALPHABET, max_size=12).map("".join))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(kind=st.sampled_from(TargetKind), text=TEXTS)
@example(HOST, "[::]")
@example(IMAGE, "[::1]/a")
@example(URL, "http://[::]:80")
def test_any_text_is_a_target_that_parses_to_itself_or_is_refused_in_words(
    kind: TargetKind, text: str
) -> None:
    try:
        value = parse_target(kind, text)
    except TargetInvalid as error:
        assert error.field == "value"
        assert error.fix
        return
    assert parse_target(kind, value.text) == value
    assert not value.text.startswith("-")
    assert value.text.isprintable()
    assert kind is REPOSITORY or value.text.isascii()


HOSTS = st.lists(ALPHABET, min_size=1, max_size=5).map("".join) | st.sampled_from(
    ["www.example.com", "192.0.2.7", "[2001:db8::1]", "0300.0.2.7", "3221225991", "192.0.519"]
)
URLS = st.builds(
    "{}://{}{}{}".format, st.sampled_from(["http", "HTTPS", "ftp"]), HOSTS,
    st.sampled_from(["", ":80", ":443", ":8080", ":", ":0x50"]),
    st.sampled_from(["", "/", "/a", "?q", "/%2e", "//x", "#f", "\\x", "@192.0.2.9/"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=URLS)
def test_other_readers_of_a_url_see_the_same_host_and_port(text: str) -> None:
    try:
        value = parse_target(URL, text)
    except TargetInvalid:
        return
    ours = value.name or str(value.network[0] if value.network else None)
    for theirs in (urlsplit(value.text), urllib3.util.parse_url(value.text)):
        assert str(theirs.hostname).strip("[]") == ours
        assert (theirs.port or {"http": 80, "https": 443}[str(theirs.scheme)]) == value.port
    seen = httpx.URL(value.text)
    assert (seen.raw_host.decode(), seen.port or {"http": 80, "https": 443}[seen.scheme]) == (
        ours,
        value.port,
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(text=HOSTS)
def test_no_name_is_an_address_to_the_system(text: str) -> None:
    """`inet_aton` reads every odd form of an IPv4 address, as resolvers and many tools do."""
    try:
        value = parse_target(HOST, text)
    except TargetInvalid:
        return
    if value.name is not None:
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(value.name)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(kind=st.sampled_from(ScopeKind), text=TEXTS, subdomains=st.booleans())
def test_any_text_is_an_entry_that_parses_to_itself_or_is_refused_in_words(
    kind: ScopeKind, text: str, subdomains: bool
) -> None:
    entry = ScopeEntry.model_construct(kind=kind, value=text, subdomains=subdomains)
    try:
        rule = parse_scope_entry(entry)
    except TargetInvalid as error:
        assert error.field == "value"
        return
    assert parse_scope_entry(rule.entry()) == rule


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        (ScopeKind.CIDR, "10.0.0.0/8", "10.0.0.0/8"),
        (ScopeKind.CIDR, "192.0.2.7", "192.0.2.7/32"),
        (ScopeKind.CIDR, "2001:DB8::1", "2001:db8::1/128"),
        (ScopeKind.DOMAIN, "Example.com.", "example.com"),
        (ScopeKind.IMAGE, "ghcr.io", "ghcr.io"),
        (ScopeKind.IMAGE, "ghcr.io/team/", "ghcr.io/team"),
        (ScopeKind.IMAGE, "index.docker.io/library", "docker.io/library"),
        (ScopeKind.PATH, "/srv/", "/srv"),
        (ScopeKind.CLUSTER, "prod", "prod"),
    ],
)
def test_an_entry_of_a_scope_has_one_canonical_form(
    kind: ScopeKind, text: str, canonical: str
) -> None:
    assert parse_scope_entry(ScopeEntry(kind=kind, value=text)).text == canonical


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (ScopeKind.DOMAIN, "*.example.com", "`subdomains` to true"),
        (ScopeKind.DOMAIN, "com", "with its domain"),
        (ScopeKind.DOMAIN, "192.0.2.7", "kind cidr"),
        (ScopeKind.DOMAIN, "2130706433", "kind cidr"),
        (ScopeKind.IMAGE, "nginx", "docker.io/library"),
        (ScopeKind.IMAGE, "ghcr.io/team:tag", "without a tag"),
        (ScopeKind.PATH, "/", "/srv/repositories"),
        (ScopeKind.CIDR, "example.com", "four numbers"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_the_fix(
    kind: ScopeKind, text: str, words: str
) -> None:
    with pytest.raises(TargetInvalid) as caught:
        parse_scope_entry(ScopeEntry(kind=kind, value=text), field="allows[3].value")
    assert words in str(caught.value.fix)
    assert caught.value.field == "allows[3].value"


def test_only_domains_have_subdomains() -> None:
    with pytest.raises(TargetInvalid, match="Only a domain"):
        parse_scope_entry(ScopeEntry(kind=ScopeKind.CLUSTER, value="prod", subdomains=True))
