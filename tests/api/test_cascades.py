"""Rules of cascades over HTTP: who keeps them, what is refused, previews, and a real chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from api import examples
from contracts.observations import ObservedResource
from runtime.settings import Settings
from scanners.processes.python_tools import where_is
from storage.database import Database
from tests.api.conftest import Team
from tests.api.scheduled import NOBODY, errors_of, until
from tests.api.scripted import Script
from tests.api.stored import make_account, store_scan
from tests.support.endpoints import ADDRESS, serving
from tests.support.native import needs

Row = dict[str, Any]
TLS: Row = examples.CASCADES["tls"]["value"]  # type: ignore[assignment]
PUBLIC: Row = {
    "name": "public",
    "when": {
        "on": "resource",
        "types": ["ec2_*_load_balancer"],
        "attributes": {"scheme": "internet-facing"},
    },
    "then": {"tools": ["zap"], "target": "url"},
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where loopback may be scanned."""
    return settings.model_copy(update={"allow_loopback_targets": True})


def balancer(name: str) -> ObservedResource:
    """A load balancer that the internet reaches."""
    return ObservedResource(
        uid=f"arn:{name}", type="ec2_application_load_balancer", name=name, region="eu-west-1",
        tags={}, attributes={"dns_name": name, "scheme": "internet-facing"},
    )  # fmt: skip


async def test_rules_are_kept_by_admins_and_come_disabled(
    admin: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    viewer: httpx.AsyncClient,
    stranger: Team,
    call: Any,
) -> None:
    listed = (await viewer.get("cascades")).json()["items"]
    assert {"tls-port-testssl", "public-load-balancer-zap"} <= {each["name"] for each in listed}
    assert not any(each["enabled"] for each in listed)
    assert all(each["predefined"] for each in listed)
    assert (await operator.post("cascades", json=TLS)).status_code == 403
    for body in examples.CASCADES.values():
        answer = await admin.post("cascades", json=body["value"])
        assert answer.status_code == 201, answer.text
    made = answer.json()
    path = f"cascades/{made['id']}"
    assert answer.headers["Location"] == f"/api/v1/{path}"
    assert (made["enabled"], made["predefined"], made["max_targets"]) == (False, False, 20)
    assert (await viewer.get(path)).json() == made
    assert (await admin.post("cascades", json=TLS)).status_code == 409
    assert (await operator.patch(path, json={"enabled": True})).status_code == 403
    changed = await admin.patch(path, json={"enabled": True, "max_targets": 3})
    assert (changed.json()["enabled"], changed.json()["max_targets"]) == (True, 3)
    assert (await admin.patch(path, json={"name": listed[0]["name"]})).status_code == 409
    theirs = call(next(iter(stranger.keys.values())))
    assert (await theirs.get(path)).status_code == 404
    assert (await operator.delete(path)).status_code == 403
    assert (await admin.delete(path)).status_code == 204
    assert (await viewer.get(path)).status_code == 404
    kept = await admin.delete(f"cascades/{listed[0]['id']}")
    assert kept.status_code == 409
    assert kept.json()["fix"] == f"Disable it: `cloudsweep cascade disable {listed[0]['name']}`."
    again = (await viewer.get("cascades?limit=2")).json()
    assert [each["id"] for each in again["items"]] == [each["id"] for each in listed[:2]]
    assert again["next_cursor"]


async def test_what_a_rule_cannot_mean_is_refused_by_field(admin: httpx.AsyncClient) -> None:
    wrong: list[tuple[Row, str]] = [
        ({"then": {"tools": ["nmapp"]}}, "then.tools[0]"),
        ({"then": {"tools": ["nmap"], "policy": "brutal"}}, "then.policy"),
        ({"then": {"tools": ["nmap", "zap"]}}, "then.tools[1]"),
        ({"max_targets": 101}, "max_targets"),
        ({"name": "No Name"}, "name"),
    ]
    for change, field in wrong:
        assert field in errors_of(await admin.post("cascades", json=TLS | change)), change
    for when, field in (
        (TLS["when"] | {"source": ["prowler"]}, "when.source[0]"),
        (TLS["when"] | {"check_id": ["a[b]"]}, "when.check_id[0]"),
        (TLS["when"] | {"ports": "99999"}, "when.ports"),
        (PUBLIC["when"] | {"types": []}, "when.types"),
        ({"on": "moon"}, "when"),
    ):
        assert set(errors_of(await admin.post("cascades", json=TLS | {"when": when}))) == {field}
    rule = (await admin.get("cascades")).json()["items"][0]
    path = f"cascades/{rule['id']}"
    assert set(errors_of(await admin.patch(path, json={"when": None}))) == {"when"}
    assert "then.tools[0]" in errors_of(
        await admin.patch(path, json={"then": {"tools": ["checkov"]}})
    )


async def test_a_rule_may_name_a_policy_of_the_team_which_then_stays(
    admin: httpx.AsyncClient,
) -> None:
    await admin.put("scan-policies/night", json={"rate": 20})
    then = {"tools": ["sslyze"], "policy": "night"}
    made = await admin.post("cascades", json=TLS | {"then": then})
    assert made.status_code == 201, made.text
    refused = await admin.delete("scan-policies/night")
    assert refused.status_code == 409
    assert TLS["name"] in refused.json()["detail"]
    assert (await admin.delete(f"cascades/{made.json()['id']}")).status_code == 204
    assert (await admin.delete("scan-policies/night")).status_code == 204


async def test_a_preview_says_what_would_be_started_and_what_is_refused_and_starts_nothing(
    admin: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    viewer: httpx.AsyncClient,
    database: Database,
    team: Team,
) -> None:
    scope = {"name": "shops", "allows": [{"kind": "domain", "value": "shop.example.com"}]}
    scope_id = (await admin.post("scopes", json=scope)).json()["id"]
    found = [balancer("shop.example.com"), balancer("api.example.com"), balancer("127.0.0.1/x")]
    account_id = await make_account(database, team.id)
    scan_id = str(await store_scan(database, team.id, account_id, resources=found))

    answer = await operator.post("cascades/preview", json={"scan_id": scan_id, "rule": PUBLIC})

    assert answer.status_code == 200, answer.text
    (plan,) = answer.json()["rules"]
    assert answer.json()["root_scan_id"] == scan_id
    assert (plan["rule"], plan["rule_id"], plan["starts"]) == ("public", None, True)
    assert (plan["tools"], plan["policy"], plan["enabled"]) == (["zap"], "normal", False)
    (target,) = plan["targets"]
    assert (target["kind"], target["value"]) == ("url", "https://shop.example.com/")
    assert target["scope"] == {"id": scope_id, "name": "shops"}
    assert target["because"]["uid"] == "arn:shop.example.com"
    refused = {each["value"]: each["rule"] for each in plan["refused"]}
    assert refused == {
        "https://api.example.com/": "out_of_scope", "arn:127.0.0.1/x": "malformed",
    }  # fmt: skip
    assert all(each["fix"] for each in plan["refused"])
    every = (await operator.post("cascades/preview", json={"scan_id": scan_id})).json()["rules"]
    assert {each["rule"]: each["starts"] for each in every} == {
        "tls-port-testssl": False,
        "public-load-balancer-tls": True,
        "public-load-balancer-zap": True,
    }
    assert "nothing new" in every[0]["why_not"]
    stored = {"scan_id": scan_id, "rule_id": every[1]["rule_id"]}
    (one,) = (await operator.post("cascades/preview", json=stored)).json()["rules"]
    assert one == every[1]
    both = await operator.post("cascades/preview", json=stored | {"rule": PUBLIC})
    assert set(errors_of(both)) == {"rule"}
    wrong = PUBLIC | {"then": {"tools": ["nmap"], "target": "url"}}
    tools = await operator.post("cascades/preview", json={"scan_id": scan_id, "rule": wrong})
    assert set(errors_of(tools)) == {"rule.then.tools[0]"}
    assert (await operator.post("cascades/preview", json={"scan_id": NOBODY})).status_code == 404
    assert (await viewer.post("cascades/preview", json={"scan_id": scan_id})).status_code == 403
    assert len((await viewer.get("scans")).json()["items"]) == 1
    assert (await viewer.get("targets")).json()["items"] == []


async def test_a_tls_port_that_nmap_finds_is_looked_at_by_sslyze_once(
    script: Script,
    admin: httpx.AsyncClient,
    operator: httpx.AsyncClient,
    tmp_path: Path,
) -> None:
    needs("nmap", "nmap")
    needs(where_is("sslyze"), "it: cloudsweep scanners install sslyze")
    lab = {"name": "lab", "allows": [{"kind": "cidr", "value": f"{ADDRESS}/32"}]}
    assert (await admin.post("scopes", json=lab)).status_code == 201
    with serving(tmp_path) as endpoints:
        rule = {
            "name": "tls",
            "enabled": True,
            "when": {"on": "finding", "source": ["nmap", "sslyze"], "check_id": ["*"],
                     "ports": str(endpoints.weak_tls)},
            "then": {"tools": ["sslyze"], "policy": "fast"},
        }  # fmt: skip
        assert (await admin.post("cascades", json=rule)).status_code == 201
        ids = []
        for port in (endpoints.weak_tls, endpoints.http):
            target = {"kind": "host", "value": f"{ADDRESS}:{port}"}
            ids.append((await operator.post("targets", json=target)).json()["id"])
        asked = {"targets": ids, "tools": ["nmap"], "policy": "fast"}
        root = (await operator.post("scans/native", json=asked)).json()["id"]
        listed = await until(
            operator,
            "scans?trigger=cascade",
            lambda page: bool(page["items"]) and page["items"][0]["finished_at"] is not None,
        )
        (followed,) = listed["items"]
        # Its own findings match the rule, too: its chain has had its scan of this rule.
        asked = {"scan_id": followed["id"]}
        after = (await operator.post("cascades/preview", json=asked)).json()
    assert followed["status"] == "completed", followed
    trigger = followed["trigger"]
    assert (trigger["rule"], trigger["root_scan_id"], trigger["parent_scan_id"]) == (
        "tls", root, root,
    )  # fmt: skip
    assert after["root_scan_id"] == root
    tls = next(plan for plan in after["rules"] if plan["rule"] == "tls")
    assert (tls["starts"], tls["scan_id"]) == (False, followed["id"])
    found = (await operator.get("findings?source=sslyze")).json()["items"]
    assert {each["region"] for each in found} == {f"{ADDRESS}:{endpoints.weak_tls}"}
    assert len((await operator.get("scans")).json()["items"]) == 2
    notes = (await operator.get(f"scans/{root}")).json()["notes"]
    assert f"Cascade tls started scan {followed['id']} of 1 target." in notes
