"""What a rule makes of a finding or a resource: by what tells them apart, never by free text."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from contracts.cascades import PREDEFINED, Then, WhenFinding, WhenResource
from contracts.errors import TargetInvalid
from contracts.native import NativeTool
from contracts.vocabulary import MadeTarget, NetworkTool, Severity
from scanners import cascade_matching as matching
from scanners.native.native_tools import SUITABLE
from storage.cascades.cascade_news import NewFinding, NewResource

HOST_PORT = Then(tools=["testssl"])
URL = Then(tools=["zap"], target=MadeTarget.URL)
HOST = Then(tools=["nmap"], target=MadeTarget.HOST)


def finding(uid: str = "192.0.2.7/tcp/443/ssl-cert", **fields: Any) -> NewFinding:
    """One of nmap's."""
    said = {"source": "nmap", "check_id": "ssl-cert", "severity": Severity.LOW} | fields
    return NewFinding(id=uuid4(), uid=uid, **said)


def resource(**fields: Any) -> NewResource:
    """A load balancer that the internet reaches."""
    attributes = {"scheme": "internet-facing", "dns_name": "Shop-1.elb.example.com"}
    said = {"type": "ec2_application_load_balancer", "tags": {"env": "prod"}, "uid": "arn:lb"}
    return NewResource(id=uuid4(), **{**said, "attributes": attributes, **fields})


def when(**fields: Any) -> WhenFinding:
    """A rule that waits for findings of nmap."""
    return WhenFinding.model_validate(
        {"on": "finding", "source": ["nmap"], "check_id": ["ssl-*"]} | fields
    )


def when_resource(**fields: Any) -> WhenResource:
    """A rule that waits for load balancers."""
    return WhenResource.model_validate(
        {"on": "resource", "types": ["ec2_*_load_balancer"]} | fields
    )


def test_a_finding_is_met_by_source_check_severity_and_port() -> None:
    assert matching.matches_finding(when(), finding())
    assert matching.matches_finding(when(check_id=["x", "ssl-cert"]), finding())
    assert not matching.matches_finding(when(check_id=["ssl"]), finding())
    assert not matching.matches_finding(when(source=["sslyze"]), finding())
    assert not matching.matches_finding(when(severity=["high"]), finding())
    assert matching.matches_finding(when(severity=["high", "low"]), finding())
    assert matching.matches_finding(when(ports="80,440-450"), finding())
    assert not matching.matches_finding(when(ports="80"), finding())
    assert not matching.matches_finding(when(ports="1-9000"), finding("192.0.2.7/host"))


def test_a_resource_is_met_by_type_attributes_and_tags() -> None:
    assert matching.matches_resource(when_resource(), resource())
    public = when_resource(attributes={"scheme": "internet-facing"})
    assert matching.matches_resource(public, resource())
    assert not matching.matches_resource(public, resource(attributes={"scheme": "internal"}))
    assert not matching.matches_resource(when_resource(types=["s3_*"]), resource())
    assert not matching.matches_resource(when_resource(tags={"env": "test"}), resource())
    shared = when_resource(attributes={"is_public": "true"})
    assert matching.matches_resource(shared, resource(attributes={"is_public": True}))
    assert not matching.matches_resource(shared, resource(attributes={"is_public": ["true"]}))


@pytest.mark.parametrize(
    ("uid", "then", "text"),
    [
        ("192.0.2.7/tcp/8443/ssl-cert", HOST_PORT, "192.0.2.7:8443"),
        ("www.example.com/192.0.2.7/tcp/8443", HOST_PORT, "www.example.com:8443"),
        ("2001:db8::1/tcp/8443/ssl-cert", HOST_PORT, "[2001:db8::1]:8443"),
        ("[2001:db8::1]:8443/x", URL, "https://[2001:db8::1]:8443/"),
        ("192.0.2.7:8443/TLS1", HOST_PORT, "192.0.2.7:8443"),
        ("192.0.2.7/host", HOST_PORT, "192.0.2.7:443"),
        ("192.0.2.7/tcp/8443/ssl-cert", HOST, "192.0.2.7"),
        ("192.0.2.7/tcp/443/open", URL, "https://192.0.2.7/"),
        # What a scanned system may choose, such as a path, changes nothing.
        ("shop.example.com:443/40012/GET//tcp/22/q", URL, "https://shop.example.com/"),
        ("192.0.2.7/tcp/443/evil/tcp/22", HOST_PORT, "192.0.2.7:443"),
        ("192.0.2.7/x/tcp/22", HOST_PORT, "192.0.2.7:443"),
    ],
)
def test_a_target_is_made_of_the_asset_and_its_port(uid: str, then: Then, text: str) -> None:
    value = matching.target_of(then, matching.place_of_finding(uid))
    assert (value.text, value.kind) == (text, then.target.kind)


def test_a_target_is_made_of_the_attribute_that_names_the_host() -> None:
    place = matching.place_of_resource(when_resource(), resource())
    assert place is not None
    assert matching.target_of(URL, place).text == "https://shop-1.elb.example.com/"
    with_port = Then(tools=["zap"], target=MadeTarget.URL, scheme="http", port=8080)
    assert matching.target_of(with_port, place).text == "http://shop-1.elb.example.com:8080/"
    assert matching.place_of_resource(when_resource(host="endpoint"), resource()) is None
    odd = resource(attributes={"dns_name": ["shop.example.com"]})
    assert matching.place_of_resource(when_resource(), odd) is None


@pytest.mark.parametrize(
    "text",
    ["shop.example.com/path", "user@shop.example.com", "shop", "-oX.example.com", "127.1",
     "shop.example.com:0", "shop.example.com ", "a\nb.example.com", "*.example.com", "0x7f000001",
     "shop.example.com#x", "fe80::1%eth0", "192.0.2.0/24", "$(id).example.com"],
)  # fmt: skip
def test_what_is_no_host_and_nothing_but_a_host_makes_no_target(text: str) -> None:
    with pytest.raises(TargetInvalid):
        matching.place_of_resource(when_resource(), resource(attributes={"dns_name": text}))
    if "/" not in text:
        with pytest.raises(TargetInvalid):
            matching.place_of_finding(f"{text}/tcp/443")


def test_the_rules_that_come_along_are_off_and_name_tools_that_suit_their_targets() -> None:
    for rule in PREDEFINED:
        assert not rule.enabled
        assert set(rule.then.tools) <= set(SUITABLE[rule.then.target.kind])
    assert {each.value for each in NetworkTool} <= {each.value for each in NativeTool}
