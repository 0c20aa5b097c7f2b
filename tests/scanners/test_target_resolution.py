"""Names are looked up once, every address is checked, pinned, and checked again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from contracts.errors import CloudsweepError, TargetInvalid, TargetUnreachable
from contracts.targets import PinnedTarget, Scope, ScopeEntry, Target
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule
from runtime.own_servers import OwnServer
from scanners.targets.scope_judgement import Surroundings, approvals_of
from scanners.targets.target_resolution import (
    ADDRESSES,
    Pinning,
    look_around,
    look_up,
    no_lookups,
    system_resolver,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TEAM = UUID(int=1)


class Names:
    """A resolver that answers what the test says, and remembers what it was asked."""

    def __init__(self, **answers: Sequence[str] | BaseException) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        answer = self.answers[name.partition(".")[0]]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def scope(*entries: tuple[ScopeKind, str], valid_until: datetime | None = None) -> Scope:
    """A scope of these entries; domains with all below them."""
    return Scope(
        id=UUID(int=7), team_id=TEAM, name="perimeter", approved_by="Ada", note="",
        allows=[
            ScopeEntry(kind=kind, value=value, subdomains=kind is ScopeKind.DOMAIN)
            for kind, value in entries
        ],
        valid_until=valid_until, created_by="admin", created_at=NOW, updated_at=NOW,
    )  # fmt: skip


PERIMETER = scope((ScopeKind.DOMAIN, "example.com"), (ScopeKind.CIDR, "203.0.113.0/24"))


def target(kind: str, value: str, *, enabled: bool = True) -> Target:
    """A stored target."""
    return Target(
        id=UUID(int=9), team_id=TEAM, kind=TargetKind(kind), value=value, tags={},
        enabled=enabled, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def pinning(
    *scopes: Scope, around: Surroundings | None = None, **answers: Sequence[str] | BaseException
) -> Pinning:
    """What the targets of a test are judged by."""
    return Pinning(
        approvals_of(scopes or [PERIMETER]), around or Surroundings(), NOW, Names(**answers)
    )


async def refused(
    judged: Pinning, wanted: Target, pinned: PinnedTarget | None = None
) -> tuple[TargetRule, str]:
    """The rule that refuses a target, now or after it was pinned, and its words."""
    with pytest.raises(TargetInvalid) as caught:
        await (judged.verify(pinned, wanted) if pinned else judged.pin(wanted))
    assert caught.value.fix
    return caught.value.rule, caught.value.message


async def test_a_name_is_pinned_with_every_address_and_the_scope_that_allows_it() -> None:
    judged = pinning(www=["203.0.113.9", "2001:db8::1", "203.0.113.9", "198.51.100.1"])
    pinned = await judged.pin(target("url", "https://www.example.com:8443/x"))
    assert pinned.addresses == ["198.51.100.1", "203.0.113.9", "2001:db8::1"]
    assert (pinned.name, pinned.port) == ("www.example.com", 8443)
    assert (pinned.scope.name, pinned.pinned_at) == ("perimeter", NOW)
    assert isinstance(judged.resolver, Names)
    assert judged.resolver.asked == ["www.example.com"]


async def test_addresses_and_networks_are_pinned_without_a_lookup() -> None:
    judged = pinning()
    assert (await judged.pin(target("host", "203.0.113.7:22"))).addresses == ["203.0.113.7"]
    network = await judged.pin(target("cidr", "203.0.113.0/28"))
    assert network.addresses == ["203.0.113.0/28"]
    assert isinstance(judged.resolver, Names)
    assert judged.resolver.asked == []


async def test_attack_a_name_with_one_address_of_many_that_is_refused() -> None:
    for bad, rule in (
        ("169.254.169.254", TargetRule.METADATA),
        ("fd00:ec2::254", TargetRule.METADATA),
        ("127.0.0.1", TargetRule.LOOPBACK),
        ("::1", TargetRule.LOOPBACK),
        ("::ffff:169.254.169.254", TargetRule.EMBEDDED_IPV4),
        ("64:ff9b::a9fe:a9fe", TargetRule.EMBEDDED_IPV4),
        ("fe80::1%eth0", TargetRule.RESERVED),
        ("0.0.0.0", TargetRule.RESERVED),  # noqa: S104 (never bound)
        ("10.0.0.5", TargetRule.PRIVATE),
    ):
        judged = pinning(www=["203.0.113.9", bad, "203.0.113.10"])
        found, words = await refused(judged, target("host", "www.example.com"))
        assert found is rule, bad
        assert "(of www.example.com)" in words


async def test_a_private_address_of_a_name_needs_a_scope_that_names_its_network() -> None:
    named = scope((ScopeKind.CIDR, "10.0.0.0/24"))
    judged = pinning(PERIMETER, named, db=["10.0.0.5"])
    assert (await judged.pin(target("host", "db.example.com"))).addresses == ["10.0.0.5"]


async def test_a_name_outside_of_every_scope_is_not_even_looked_up() -> None:
    judged = pinning()
    rule, _ = await refused(judged, target("host", "www.example.net"))
    assert rule is TargetRule.OUT_OF_SCOPE
    assert isinstance(judged.resolver, Names)
    assert judged.resolver.asked == []


async def test_attack_a_name_that_is_rebound_between_check_and_scan() -> None:
    wanted = target("host", "www.example.com")
    first = pinning(www=["203.0.113.9", "203.0.113.10"])
    pinned = await first.pin(wanted)

    metadata = replace(first, resolver=Names(www=["203.0.113.9", "169.254.169.254"]))
    assert (await refused(metadata, wanted, pinned))[0] is TargetRule.METADATA

    elsewhere = replace(first, resolver=Names(www=["198.51.100.1"]))
    rule, words = await refused(elsewhere, wanted, pinned)
    assert rule is TargetRule.MOVED
    assert "leads to 198.51.100.1 now" in words
    assert "203.0.113.9, 203.0.113.10" in words

    rotated = replace(first, resolver=Names(www=["203.0.113.10", "203.0.113.11"]))
    again = await rotated.verify(pinned, wanted)
    assert again.addresses == ["203.0.113.10"]  # the new one was never pinned
    assert (await rotated.verify(again, wanted)).addresses == ["203.0.113.10"]


async def test_a_pinned_target_is_refused_once_its_scope_ends_or_it_is_disabled() -> None:
    judged = pinning(www=["203.0.113.9"])
    wanted = target("host", "www.example.com")
    pinned = await judged.pin(wanted)
    over = scope((ScopeKind.DOMAIN, "example.com"), valid_until=NOW)
    later = replace(judged, approvals=approvals_of([over]))
    assert (await refused(later, wanted, pinned))[0] is TargetRule.SCOPE_EXPIRED
    gone = replace(judged, approvals=[])
    assert (await refused(gone, wanted, pinned))[0] is TargetRule.OUT_OF_SCOPE
    disabled = wanted.model_copy(update={"enabled": False})
    assert (await refused(judged, disabled, pinned))[0] is TargetRule.DISABLED
    other = target("host", "shop.example.com")
    shop = replace(judged, resolver=Names(shop=["203.0.113.9"]))
    assert (await refused(shop, other, pinned))[0] is TargetRule.MOVED


async def test_a_name_without_addresses_is_refused_and_a_silent_server_is_worth_a_retry() -> None:
    for answer, error, words in (
        ([], TargetInvalid, "has no address"),
        ([f"198.51.100.{n}" for n in range(ADDRESSES + 1)], TargetInvalid, "more than 64"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), TargetUnreachable, "cannot be looked up"),
        (OSError("down"), TargetUnreachable, "cannot be looked up"),
        (UnicodeError("label too long"), TargetUnreachable, "cannot be looked up"),
    ):
        with pytest.raises(error, match=words) as caught:
            await look_up("www.example.com", Names(www=answer))
        assert isinstance(caught.value, CloudsweepError)
        assert caught.value.fix


async def test_a_lookup_ends_within_its_time() -> None:
    async def never(name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TargetUnreachable, match="cannot be looked up"):
        await look_up("www.example.com", never, seconds=0.01)


async def test_this_machines_resolver_knows_itself() -> None:
    assert set(await system_resolver("localhost")) <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in await system_resolver("127.0.0.1")


async def test_attack_a_directory_that_leads_out_of_its_scope(tmp_path: Path) -> None:
    inside, outside = tmp_path / "repositories", tmp_path / "secrets"
    for each in (inside / "shop", outside):
        each.mkdir(parents=True)
    link = inside / "link"
    link.symlink_to(inside / "shop")
    judged = pinning(scope((ScopeKind.PATH, str(inside))))
    wanted = target("repository", str(link))
    pinned = await judged.pin(wanted)
    assert (pinned.value, pinned.path) == (str(link), str(inside / "shop"))
    assert await judged.verify(pinned, wanted) == pinned
    link.unlink()
    link.symlink_to(outside)
    rule, words = await refused(judged, wanted)
    assert rule is TargetRule.OUT_OF_SCOPE
    assert f"{outside} (where {link} leads)" in words
    assert (await refused(judged, wanted, pinned))[0] is TargetRule.OUT_OF_SCOPE
    link.unlink()
    link.symlink_to(inside)
    assert (await refused(judged, wanted, pinned))[0] is TargetRule.MOVED


async def test_the_registry_of_an_image_is_checked_like_a_host() -> None:
    hub = scope((ScopeKind.IMAGE, "docker.io/library"), (ScopeKind.IMAGE, "registry.corp.net"))
    judged = pinning(hub, **{"registry-1": ["198.51.100.1"], "registry": ["169.254.169.254"]})
    pinned = await judged.pin(target("image", "docker.io/library/nginx:latest"))
    assert (pinned.name, pinned.port) == ("registry-1.docker.io", 443)
    assert pinned.addresses == ["198.51.100.1"]
    rule, _ = await refused(judged, target("image", "registry.corp.net/app:1"))
    assert rule is TargetRule.METADATA


async def test_ports_of_our_own_servers_are_left_out_of_loopback() -> None:
    around = await look_around(
        [OwnServer("API", "127.0.0.1", 8080), OwnServer("PostgreSQL", "db", 5432)],
        allow_loopback=True,
        resolver=Names(db=["127.0.0.1", "::1"]),
    )
    here = scope((ScopeKind.CIDR, "127.0.0.0/8"), (ScopeKind.DOMAIN, "here.net"))
    judged = pinning(here, around=around, www=["127.0.0.1"])
    whole = await judged.pin(target("host", "127.0.0.1"))
    assert whole.closed_ports == [5432, 8080]
    assert (await judged.pin(target("cidr", "127.0.0.0/30"))).closed_ports == [5432, 8080]
    assert (await judged.pin(target("host", "127.0.0.1:9000"))).closed_ports == []
    for kind, value in (("host", "127.0.0.2:5432"), ("url", "http://www.here.net:8080/")):
        assert (await refused(judged, target(kind, value)))[0] is TargetRule.OWN_SERVER


async def test_our_own_servers_are_known_by_name_and_by_address() -> None:
    servers = [
        OwnServer("PostgreSQL", "db.corp.net", 5432),
        OwnServer("Temporal", "gone.corp.net", 7233),
        OwnServer("API", "fe80::1%eth0", 8080),
    ]
    names = Names(db=["10.0.0.6"], gone=OSError("down"))
    around = await look_around(servers, allow_loopback=False, resolver=names)
    assert {name for _, name in around.own_names} == {"db.corp.net", "gone.corp.net"}
    assert {str(each.network) for each in around.own_addresses} == {"10.0.0.6/32", "fe80::1/128"}
    corp = scope((ScopeKind.CIDR, "10.0.0.0/24"), (ScopeKind.DOMAIN, "corp.net"))
    judged = pinning(corp, around=around, alias=["10.0.0.6"])
    for value in ("10.0.0.6", "alias.corp.net", "gone.corp.net"):
        assert (await refused(judged, target("host", value)))[0] is TargetRule.OWN_SERVER, value
    by_value = await look_around(servers, allow_loopback=False, resolver=no_lookups)
    assert len(by_value.own_addresses) == 1
