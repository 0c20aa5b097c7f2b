"""The demo cloud's own rows hold the addresses and names that assets are made of."""

from __future__ import annotations

import json
from uuid import UUID

import asyncpg

from contracts.vocabulary import Provider
from scanners.asset_claims import PLACES, claims_of
from scanners.steampipe.steampipe_rows import observe
from scanners.steampipe.steampipe_tables import CATALOGUE
from tests.demo.conftest import Demo


async def test_rows_of_the_demo_cloud_claim_addresses_and_names(demo: Demo) -> None:
    specs = [
        spec
        for group in CATALOGUE[Provider.AWS].values()
        for spec in group
        if (Provider.AWS, spec.type) in PLACES
    ]
    session = await asyncpg.connect(demo.steampipe.url)
    await session.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )
    claimed: set[tuple[str, bool, bool]] = set()
    refused = []
    for spec in specs:
        for row in await session.fetch(f"select * from acme_production.{spec.table}"):  # noqa: S608
            resource = observe(spec, row)
            assert resource is not None
            found = claims_of(
                Provider.AWS, spec.type, UUID(int=1), resource.attributes, allow_loopback=True
            )
            claimed.update((spec.type, each.is_name, each.is_public) for each in found.claims)
            refused += found.refused
    await session.close()
    assert refused == []
    assert claimed == {
        ("ec2_instance", False, True),
        ("ec2_instance", False, False),
        ("ec2_network_interface", False, True),
        ("ec2_network_interface", False, False),
        ("vpc_eip", False, False),  # moto gives elastic addresses out of 127.0.0.0/8
        ("ec2_application_load_balancer", True, True),
        ("ec2_network_load_balancer", True, False),
        ("ec2_classic_load_balancer", True, True),
        ("cloudfront_distribution", True, True),
        ("api_gatewayv2_api", True, True),
    }
