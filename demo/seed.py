"""Fills a demo cloud: which parts an account consists of, each with identifiers of its own."""

from __future__ import annotations

from demo import (
    seed_apps,
    seed_compute,
    seed_data,
    seed_identity,
    seed_network,
    seed_sandbox,
    seed_storage,
)
from demo.cloud import ACCESS_KEY_ID, PRODUCTION, SANDBOX
from demo.moto_cloud import MotoCloud
from demo.seeding import Account

# Each part begins at a seed of its own, so that a change in one leaves the others' ids alone.
# The order matters: machines and databases stand in networks.
_PARTS = {
    "identity": (PRODUCTION, 11, seed_identity.seed),
    "storage": (PRODUCTION, 12, seed_storage.seed),
    "network": (PRODUCTION, 13, seed_network.seed),
    "compute": (PRODUCTION, 14, seed_compute.seed),
    "data": (PRODUCTION, 15, seed_data.seed),
    "apps": (PRODUCTION, 16, seed_apps.seed),
    "sandbox": (SANDBOX, 17, seed_sandbox.seed),
}

SMALL = ("identity", "storage", "sandbox")
"""What most tests need: it seeds in a quarter of the time."""


def seed(cloud: MotoCloud, *, small: bool = False) -> None:
    """Fill an empty demo cloud; the same content, ids and times at every start."""
    for name, (account_uid, number, fill) in _PARTS.items():
        if not small or name in SMALL:
            cloud.reseed(number)
            fill(Account(cloud, account_uid))
    cloud.fix_access_key(PRODUCTION, "cloudsweep-auditor", ACCESS_KEY_ID)
    cloud.reseed(1)
    cloud.clock.release()
