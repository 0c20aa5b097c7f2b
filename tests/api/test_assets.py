"""Hybrid discovery: a real nmap, the inventory and targets joined into `/assets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.observations import ObservedResource
from contracts.vocabulary import Role
from runtime.settings import Settings
from storage.database import Database
from tests.api.conftest import Caller, Team
from tests.api.scheduled import errors_of, until
from tests.api.scripted import Script
from tests.api.stored import make_account, store_scan
from tests.support.endpoints import ADDRESS, serving
from tests.support.native import needs

Row = dict[str, Any]
NETWORK = "127.0.0.0/30"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where loopback may be scanned."""
    return settings.model_copy(update={"allow_loopback_targets": True})


async def discover(operator: httpx.AsyncClient, **options: Any) -> Row:
    """The discovery, once it has ended."""
    answer = await operator.post("scans/hybrid", json=options)
    assert answer.status_code == 202, answer.text
    return await until(operator, f"scans/{answer.json()['id']}", lambda row: row["finished_at"])


async def listed(viewer: httpx.AsyncClient, query: str = "") -> dict[str, Row]:
    answer = await viewer.get(f"assets?{query}")
    assert answer.status_code == 200, answer.text
    return {each["value"]: each for each in answer.json()["items"]}


async def test_inventory_network_and_targets_become_one_list(
    script: Script, admin: httpx.AsyncClient, viewer: httpx.AsyncClient,
    operator: httpx.AsyncClient, database: Database, team: Team, call: Caller, stranger: Team,
    tmp_path: Path,
) -> None:  # fmt: skip
    needs("nmap", "nmap")
    address, released = (
        ObservedResource(f"arn:{name}", "vpc_eip", name, "eu-west-1", {}, attributes)
        for name, attributes in (("eip", {"public_ip": "127.0.0.2"}), ("other", {}))
    )
    outside = ObservedResource(
        "arn:lb", "ec2_application_load_balancer", "web", "eu-west-1", {},
        {"dns_name": "Web.elb.example.com", "scheme": "internet-facing"},
    )  # fmt: skip
    account = await make_account(database, team.id)
    await store_scan(database, team.id, account, resources=[address, outside])
    allows = [{"kind": "cidr", "value": NETWORK}]
    scope = (await admin.post("scopes", json={"name": "lab", "allows": allows})).json()
    with serving(tmp_path) as endpoints:
        limits = {"ports": str(endpoints.http), "rate": 2_000}
        assert (await admin.put("scan-policies/lab", json=limits)).status_code == 201
        target = {"kind": "host", "value": f"{ADDRESS}:{endpoints.http}"}
        assert (await operator.post("targets", json=target)).status_code == 201

        first = await discover(operator, policy="lab", scopes=[scope["id"]])

        assert (first["status"], first["kind"]) == ("completed", "hybrid"), first
        assert first["options"] == {"policy": "lab", "scopes": [scope["id"]]}
        found = await listed(viewer)
        assert {
            value: (each["standing"], each["exposure"], each["sources"], each["open_ports"])
            for value, each in found.items()
        } == {
            "127.0.0.0": ("unmanaged", "internal", ["network"], []),
            ADDRESS: ("managed", "internal", ["network", "target"], [endpoints.http]),
            "127.0.0.2": ("managed", "internal", ["cloud", "network"], []),
            "127.0.0.3": ("unmanaged", "internal", ["network"], []),
            "web.elb.example.com": ("managed", "internet_exposed", ["cloud"], []),
        }  # fmt: skip
        again = await discover(operator, policy="lab")
        assert (again["status"], again["notes"]) == (
            "completed", ["Assets: 0 new, 0 changed, 0 gone, 5 unchanged."],
        )  # fmt: skip
        assert await listed(viewer) == found  # not even a time: nothing is written

    await store_scan(database, team.id, account, resources=[released, outside])
    await discover(operator, policy="lab")
    later = await listed(viewer)
    assert later[ADDRESS]["open_ports"] == []
    assert later[ADDRESS]["changed_at"] > found[ADDRESS]["changed_at"]
    assert later["127.0.0.2"]["standing"] == "unmanaged"
    assert later["127.0.0.3"] == found["127.0.0.3"]

    assert set(await listed(viewer, "standing=unmanaged&source=network&q=.0.2")) == {"127.0.0.2"}
    assert set(await listed(viewer, "exposure=internet_exposed")) == {"web.elb.example.com"}
    assert await listed(viewer, "q=%25") == {}
    summary = (await viewer.get("assets/summary")).json()
    assert (summary["total"], summary["unmanaged_and_exposed"]) == (5, 0)
    assert summary["by_standing"] == {"managed": 2, "unmanaged": 3, "unseen": 0}
    assert summary["by_source"] == {"cloud": 1, "network": 4, "target": 1}
    pages = (await viewer.get("assets?limit=3")).json()
    rest = (await viewer.get(f"assets?limit=3&cursor={pages['next_cursor']}")).json()
    assert {each["value"] for each in pages["items"] + rest["items"]} == set(later)
    one = f"assets/{later[ADDRESS]['id']}"
    assert (await viewer.get(one)).json() == later[ADDRESS]
    others = call(stranger.keys[Role.VIEWER])
    assert (await others.get(one)).status_code == 404
    assert await listed(others) == {}

    # A network that is approved no more is not looked at: what answered there stays as it was.
    assert await admin.patch(f"scopes/{scope['id']}", json={"valid_until": "2020-01-01T00:00:00Z"})
    last = await discover(operator, policy="lab")
    assert "No valid scope names a network" in last["notes"][0]
    assert await listed(viewer) == later


async def test_what_cannot_be_looked_at_is_refused_with_the_fix(
    script: Script, admin: httpx.AsyncClient, operator: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    wide = [{"kind": "cidr", "value": "198.18.0.0/15"}]
    scope = (await admin.post("scopes", json={"name": "wide", "allows": wide})).json()
    answer = await operator.post("scans/hybrid", json={"scopes": [scope["team_id"]], "policy": "x"})
    assert (answer.status_code, set(errors_of(answer))) == (422, {"scopes[0]", "policy"})
    assert (await viewer.post("scans/hybrid", json={})).status_code == 403
    failed = await discover(operator, scopes=[scope["id"]])
    assert failed["status"] == "failed"
    assert "198.18.0.0/15 of the scope wide" in failed["error"]["message"]
    assert "smaller networks" in failed["error"]["fix"]
    as_a_job = await operator.post(
        "jobs/hybrid_asset_discovery/runs", json={"params": {"policy": "x"}}
    )
    assert set(errors_of(as_a_job)) == {"params.policy"}
