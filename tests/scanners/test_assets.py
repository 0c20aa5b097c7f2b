"""What resources claim, and how cloud, network and targets become one list of assets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.assets import AssetFacts, CloudClaim, HostSeen, RangeLooked, TargetClaim
from contracts.vocabulary import Exposure, Provider, Standing
from scanners.asset_claims import PLACES, claims_of
from scanners.asset_join import join, was_looked_at
from scanners.steampipe.steampipe_tables import CATALOGUE

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
PUBLIC = "198.51.100.7"
EXPOSED, INTERNAL = Exposure.INTERNET_EXPOSED, Exposure.INTERNAL
DONE = RangeLooked("198.51.100.0/24", True)


def test_every_place_is_a_column_that_discovery_reads() -> None:
    read = {
        (provider, table.type): set(table.attributes)
        for provider, groups in CATALOGUE.items()
        for tables in groups.values()
        for table in tables
    }
    asked = {
        (key, name)
        for key, places in PLACES.items()
        for place in places
        for name in (place.attribute, *(place.only_if or ())[:1])
    }
    assert asked
    assert [(key, name) for key, name in asked if name not in read.get(key, ())] == []


@pytest.mark.parametrize(
    ("provider", "type", "attributes", "expected"),
    [
        ("aws", "ec2_instance", {"public_ip_address": PUBLIC, "private_ip_address": "10.0.0.5"},
         [(PUBLIC, False, True), ("10.0.0.5", False, False)]),
        ("aws", "ec2_instance", {"public_ip_address": None}, []),
        ("aws", "ec2_network_interface", {"association_public_ip": f"{PUBLIC}/32"},
         [(PUBLIC, False, True)]),
        ("aws", "vpc_eip", {"public_ip": PUBLIC}, [(PUBLIC, False, True)]),
        ("aws", "vpc_eip", {"public_ip": "10.0.0.9"}, [("10.0.0.9", False, False)]),
        ("aws", "ec2_application_load_balancer",
         {"dns_name": "Web.ELB.example.com.", "scheme": "internet-facing"},
         [("web.elb.example.com", True, True)]),
        ("aws", "ec2_network_load_balancer", {"dns_name": "a.example.com", "scheme": "internal"},
         [("a.example.com", True, False)]),
        ("aws", "ec2_classic_load_balancer", {"dns_name": "a.example.com"},
         [("a.example.com", True, False)]),
        ("aws", "cloudfront_distribution", {"domain_name": "d.example.net", "enabled": True},
         [("d.example.net", True, True)]),
        ("aws", "api_gatewayv2_api", {"api_endpoint": "https://x.example.com/prod"},
         [("x.example.com", True, True)]),
        ("azure", "public_ip", {"ip_address": "2001:DB8:0::7"}, [("2001:db8::7", False, True)]),
        ("azure", "container_registry", {"login_server": "r.example.io"},
         [("r.example.io", True, True)]),
        ("gcp", "compute_address", {"address": PUBLIC, "address_type": "EXTERNAL"},
         [(PUBLIC, False, True)]),
        ("gcp", "compute_address", {"address": "10.1.0.2", "address_type": "INTERNAL"},
         [("10.1.0.2", False, False)]),
        ("kubernetes", "service", {"cluster_ip": "10.96.0.1"}, []),
        ("aws", "s3_bucket", {"public_ip": PUBLIC}, []),
    ],
)  # fmt: skip
def test_a_resource_claims_what_its_type_has_a_place_for(
    provider: str, type: str, attributes: dict[str, Any], expected: list[tuple[str, bool, bool]]
) -> None:
    found = claims_of(Provider(provider), type, ONE, attributes)
    assert [claim[1:] for claim in found.claims] == expected
    assert found.refused == ()


@pytest.mark.parametrize(
    "value",
    [
        "169.254.169.254", "127.0.0.1", "0.0.0.1", "::ffff:10.0.0.1", "224.0.0.1",
        "https://169.254.169.254/latest", "198.51.100.0/24", "0x7f.1", "2130706433", "a",
        "\x1b[31mred.example.com", "a.example.com\n", "-oX.example.com", "--script",
        "*.example.com", "a.example.com;id", "https://[", "https://u@a.example.com/", "fe80::1%e",
        "\u202ea.example.com", "a." * 200 + "com", "x" * 1_000_000, 7, ["198.51.100.7"],
    ],
)  # fmt: skip
def test_a_hostile_value_is_refused_alone_and_in_harmless_words(value: object) -> None:
    attributes = {"public_ip_address": value, "private_ip_address": "10.0.0.5"}
    found = claims_of(Provider.AWS, "ec2_instance", ONE, attributes)
    assert [claim.where for claim in found.claims] == ["10.0.0.5"]
    (refused,) = found.refused
    assert refused.startswith("public_ip_address: ")
    assert refused.isprintable()
    assert len(refused) < 400


def test_loopback_is_claimed_only_where_it_may_be_scanned_and_is_never_public() -> None:
    attributes = {"public_ip": "127.0.0.9"}
    assert not claims_of(Provider.AWS, "vpc_eip", ONE, attributes).claims
    found = claims_of(Provider.AWS, "vpc_eip", ONE, attributes, allow_loopback=True)
    assert found.claims == (CloudClaim(ONE, "127.0.0.9", False, False),)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300) | st.from_regex(r"(https://)?[0-9a-z.:/%\[\]-]{1,40}"))
def test_no_text_breaks_the_reading_and_none_gets_through_with_an_escape(value: str) -> None:
    found = claims_of(Provider.AWS, "vpc_eip", ONE, {"public_ip": value})
    assert len(found.claims) + len(found.refused) == (1 if value else 0)
    for claim in found.claims:
        assert claim.where.isascii()
        assert claim.where.isprintable()
        assert not claim.where.startswith("-")


def only(assets: list[AssetFacts]) -> AssetFacts:
    """The one asset there is."""
    (asset,) = assets
    return asset


def cloud(where: str, *, is_public: bool = True) -> CloudClaim:
    """A claim of the first resource."""
    return CloudClaim(ONE, where, is_name=where[-1].isalpha(), is_public=is_public)


@pytest.mark.parametrize(
    ("claims", "targets", "seen", "looked", "expected"),
    [
        ([cloud(PUBLIC)], [], [HostSeen(PUBLIC)], [DONE], (EXPOSED, Standing.MANAGED)),
        ([], [], [HostSeen(PUBLIC)], [DONE], (EXPOSED, Standing.UNMANAGED)),
        ([], [], [HostSeen("10.0.0.5")], [], (INTERNAL, Standing.UNMANAGED)),
        ([], [TargetClaim(TWO, PUBLIC, False)], [HostSeen(PUBLIC)], [DONE],
         (EXPOSED, Standing.MANAGED)),
        ([], [TargetClaim(TWO, PUBLIC, False)], [], [DONE], (INTERNAL, Standing.MANAGED)),
        ([cloud(PUBLIC)], [], [], [DONE], (EXPOSED, Standing.UNSEEN)),
        ([cloud(PUBLIC)], [], [], [], (EXPOSED, Standing.MANAGED)),
        ([cloud(PUBLIC)], [], [], [DONE._replace(is_complete=False)],
         (EXPOSED, Standing.MANAGED)),
        ([cloud("10.0.0.5", is_public=False)], [], [], [RangeLooked("10.0.0.0/24", True)],
         (INTERNAL, Standing.MANAGED)),
        ([cloud("a.example.com")], [], [], [DONE], (EXPOSED, Standing.MANAGED)),
    ],
)  # fmt: skip
def test_exposure_and_standing_follow_from_who_names_an_asset_and_what_answered(
    claims: list[CloudClaim],
    targets: list[TargetClaim],
    seen: list[HostSeen],
    looked: list[RangeLooked],
    expected: tuple[Exposure, Standing],
) -> None:
    asset = only(join(claims, targets, seen, looked, {}))
    assert (asset.exposure, asset.standing) == expected


def test_a_name_that_was_looked_up_counts_for_its_addresses() -> None:
    asset = only(
        join([cloud("a.example.com")], [], [HostSeen(PUBLIC, (443, 80))], [DONE],
             {"a.example.com": [PUBLIC]})
    )  # fmt: skip
    assert (asset.where, asset.names, asset.open_ports) == (PUBLIC, ("a.example.com",), (80, 443))
    assert (asset.resource_ids, asset.standing) == ((ONE,), Standing.MANAGED)


def test_a_public_name_of_a_private_address_exposes_nothing() -> None:
    asset = only(join([cloud("a.example.com")], [], [], [], {"a.example.com": ["10.0.0.5"]}))
    assert (asset.where, asset.exposure) == ("10.0.0.5", INTERNAL)


def test_silence_means_something_only_where_every_look_came_to_its_end() -> None:
    partial = RangeLooked("198.51.100.0/28", False)
    assert was_looked_at(PUBLIC, [DONE])
    assert not was_looked_at(PUBLIC, [DONE, partial])
    assert was_looked_at("198.51.100.200", [DONE, partial])
    assert not was_looked_at("2001:db8::1", [DONE])
    assert not was_looked_at(PUBLIC, [])


def test_the_order_of_what_is_known_changes_nothing() -> None:
    claims = [
        CloudClaim(each, where, False, True)
        for each in (ONE, TWO, THREE)
        for where in (PUBLIC, "198.51.100.8")
    ]
    seen = [HostSeen(PUBLIC, (80,)), HostSeen(PUBLIC, (22,)), HostSeen("198.51.100.9")]
    expected = join(claims, [], seen, [DONE], {})
    assert join(claims[::-1], [], seen[::-1], [DONE], {}) == expected
    assert join(claims[3:] + claims[:3], [], seen[1:] + seen[:1], [DONE], {}) == expected
