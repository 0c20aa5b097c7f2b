"""Which addresses and names a resource of the inventory says it has. No I/O.

Left out on purpose: a Kubernetes service's `cluster_ip`, which is the same in many clusters, and
the names of certificates and DNS zones, which are no hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from contracts.assets import CloudClaim
from contracts.errors import TargetInvalid
from contracts.vocabulary import Provider
from scanners.processes import hostile_text
from scanners.targets.address_policy import private_of, refuse_forbidden
from scanners.targets.host_values import LONGEST_NAME, Unreadable, network_of, parse_host

_LONGEST: Final = LONGEST_NAME + len("https://") + len(":65535/")


class Place(NamedTuple):
    """An attribute that holds an address, a name or a URL, and when that is meant to be public."""

    attribute: str
    is_public: bool = True
    only_if: tuple[str, str] | None = None
    """Public only when another attribute has this value; it is read without case."""


class Claims(NamedTuple):
    """What a resource claims, and what was refused, in harmless words."""

    claims: tuple[CloudClaim, ...]
    refused: tuple[str, ...]


_BALANCER: Final = (Place("dns_name", only_if=("scheme", "internet-facing")),)

PLACES: Final[dict[tuple[Provider, str], tuple[Place, ...]]] = {
    (Provider.AWS, "ec2_instance"): (
        Place("public_ip_address"),
        Place("private_ip_address", is_public=False),
    ),
    (Provider.AWS, "ec2_network_interface"): (
        Place("association_public_ip"),
        Place("private_ip_address", is_public=False),
    ),
    (Provider.AWS, "vpc_eip"): (Place("public_ip"),),
    (Provider.AWS, "ec2_application_load_balancer"): _BALANCER,
    (Provider.AWS, "ec2_network_load_balancer"): _BALANCER,
    (Provider.AWS, "ec2_classic_load_balancer"): _BALANCER,
    (Provider.AWS, "cloudfront_distribution"): (Place("domain_name", only_if=("enabled", "true")),),
    (Provider.AWS, "api_gatewayv2_api"): (Place("api_endpoint"),),
    (Provider.AZURE, "public_ip"): (Place("ip_address"),),
    (Provider.AZURE, "container_registry"): (Place("login_server"),),
    (Provider.GCP, "compute_address"): (Place("address", only_if=("address_type", "external")),),
}
"""By provider and resource type, as `scanners.steampipe.steampipe_tables` reads them."""


def claims_of(
    provider: Provider,
    type: str,
    resource_id: UUID,
    attributes: Mapping[str, Any],
    *,
    allow_loopback: bool = False,
) -> Claims:
    """What this resource claims; a value that is no address or name, or that is never scanned, is
    refused alone."""
    claims: dict[CloudClaim, None] = {}
    refused: list[str] = []
    for place in PLACES.get((provider, type), ()):
        value = attributes.get(place.attribute)
        if value is None or value == "":
            continue
        try:
            where, is_name = _read(value, allow_loopback=allow_loopback)
        except (Unreadable, TargetInvalid) as error:
            refused.append(f"{place.attribute}: {hostile_text.line(str(error))}")
            continue
        is_public = _is_public(place, attributes) and (is_name or not is_private(where))
        claims[CloudClaim(resource_id, where, is_name, is_public)] = None
    return Claims(tuple(claims), tuple(refused))


def is_private(address: str) -> bool:
    """True for an address that the internet does not route, loopback too."""
    return private_of(network_of(address)) is not None


def _is_public(place: Place, attributes: Mapping[str, Any]) -> bool:
    if place.only_if is None:
        return place.is_public
    name, wanted = place.only_if
    return place.is_public and str(attributes.get(name)).lower() == wanted


def _read(value: object, *, allow_loopback: bool) -> tuple[str, bool]:
    """The canonical address or name, and whether it is a name."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise Unreadable("It is no text of the length of an address or a name.", "")
    text = value
    if "://" in text:
        try:
            text = urlsplit(text).netloc
        except ValueError:
            raise Unreadable("It is not a URL.", "") from None
    elif "/" in text:  # an `inet` column may write one address as a network of one
        network = network_of(text)
        if network.num_addresses != 1:
            raise Unreadable("It is a network, not one address.", "")
        text = str(network.network_address)
    host = parse_host(text)
    if host.address is None:
        return str(host.name), True
    where = str(host.address)
    refuse_forbidden(network_of(where), where, allow_loopback=allow_loopback)
    return where, False
