"""Scans of targets through the API, with real tools on servers of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.settings import Settings
from scanners.processes.python_tools import where_is
from tests.api.scheduled import errors_of, until
from tests.api.scripted import Script
from tests.support.endpoints import ADDRESS, serving
from tests.support.native import needs

Row = dict[str, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where loopback may be scanned."""
    return settings.model_copy(update={"allow_loopback_targets": True})


@pytest.fixture
async def scope(admin: httpx.AsyncClient) -> Row:
    """What the team may scan: the address of the test's servers."""
    body = {"name": "lab", "allows": [{"kind": "cidr", "value": f"{ADDRESS}/32"}]}
    answer = await admin.post("scopes", json=body)
    assert answer.status_code == 201, answer.text
    found: Row = answer.json()
    return found


async def add_target(operator: httpx.AsyncClient, kind: str, value: str) -> Row:
    answer = await operator.post("targets", json={"kind": kind, "value": value})
    assert answer.status_code == 201, answer.text
    found: Row = answer.json()
    return found


async def scan(operator: httpx.AsyncClient, **options: Any) -> Row:
    """The scan, once it has ended."""
    answer = await operator.post("scans/native", json=options)
    assert answer.status_code == 202, answer.text
    return await until(operator, f"scans/{answer.json()['id']}", lambda row: row["finished_at"])


async def open_ports(operator: httpx.AsyncClient) -> set[str]:
    answer = await operator.get("findings?check_id=open-port&state=open")
    return {each["resource"]["uid"] for each in answer.json()["items"]}


async def test_what_nmap_finds_becomes_findings_and_a_closed_port_resolves(
    script: Script, operator: httpx.AsyncClient, scope: Row, tmp_path: Path
) -> None:
    needs("nmap", "nmap")
    with serving(tmp_path) as endpoints:
        target = await add_target(operator, "host", f"{ADDRESS}:{endpoints.http}")

        first = await scan(operator, targets=[target["id"]], tools=["nmap"], policy="fast")

        assert (first["status"], first["kind"]) == ("completed", "native"), first
        assert await open_ports(operator) == {f"{ADDRESS}/tcp/{endpoints.http}"}
        again = await scan(operator, targets=[target["id"]], tools=["nmap"], policy="fast")
        assert again["status"] == "completed", again
        found = again["counts"]["findings"]
        assert found == {"new": 0, "changed": 0, "resolved": 0, "unchanged": 1}
    last = await scan(operator, targets=[target["id"]], tools=["nmap"], policy="fast")
    assert last["counts"]["findings"]["resolved"] == 1
    assert await open_ports(operator) == set()


async def test_a_target_out_of_scope_is_not_scanned_and_says_why(
    script: Script, operator: httpx.AsyncClient, admin: httpx.AsyncClient, scope: Row
) -> None:
    target = await add_target(operator, "host", ADDRESS)
    ended = {"valid_until": "2020-01-01T00:00:00Z"}
    assert (await admin.patch(f"scopes/{scope['id']}", json=ended)).status_code == 200
    refused = await scan(operator, targets=[target["id"]], tools=["nmap"])
    assert refused["status"] == "failed"
    assert "which ended at 2020-01-01" in refused["error"]["message"]
    assert "cloudsweep scope change" in refused["error"]["fix"]


async def test_unknown_names_are_refused_by_field(
    script: Script, operator: httpx.AsyncClient, scope: Row
) -> None:
    target = await add_target(operator, "host", ADDRESS)
    body = {"targets": [target["id"], scope["id"]], "tools": ["nmapp"], "policy": "brutal"}
    answer = await operator.post("scans/native", json=body)
    assert answer.status_code == 422
    assert set(errors_of(answer)) == {"targets[1]", "tools[0]", "policy"}


async def test_tools_that_suit_no_target_are_refused_with_those_that_do(
    script: Script, operator: httpx.AsyncClient, scope: Row
) -> None:
    target = await add_target(operator, "host", ADDRESS)
    network = await add_target(operator, "cidr", f"{ADDRESS}/32")
    body = {"targets": [target["id"], network["id"]], "tools": ["trivy_image", "checkov"]}

    answer = await operator.post("scans/native", json=body)
    as_a_job = await operator.post("jobs/native_scan/runs", json={"params": body})

    assert (answer.status_code, as_a_job.status_code) == (422, 422)
    words = errors_of(answer)["tools"]
    assert "Use nmap for cidr; nmap, testssl, sslyze, nuclei for host." in words
    assert set(errors_of(as_a_job)) == {"params.tools"}
    some = await operator.post("scans/native", json={**body, "tools": ["checkov", "nmap"]})
    assert some.status_code == 202  # a note says of which target it is not


async def test_one_port_of_a_host_says_nothing_of_its_others(
    script: Script, operator: httpx.AsyncClient, scope: Row, tmp_path: Path
) -> None:
    needs("nmap", "nmap")
    with serving(tmp_path) as endpoints:
        ports = (endpoints.http, endpoints.tls)
        targets = [
            (await add_target(operator, "host", f"{ADDRESS}:{port}"))["id"] for port in ports
        ]
        await scan(operator, targets=targets, tools=["nmap"], policy="fast")
        assert len(await open_ports(operator)) == 2
        again = await scan(operator, targets=targets[:1], tools=["nmap"], policy="fast")
        assert again["status"] == "completed"
        assert len(await open_ports(operator)) == 2


async def test_weak_tls_is_found_by_what_speaks_tls(
    script: Script, operator: httpx.AsyncClient, scope: Row, tmp_path: Path
) -> None:
    needs("testssl", "testssl.sh")
    needs(where_is("sslyze"), "it: cloudsweep scanners install sslyze")
    with serving(tmp_path) as endpoints:
        weak = await add_target(operator, "host", f"{ADDRESS}:{endpoints.weak_tls}")
        done = await scan(
            operator, targets=[weak["id"]], tools=["testssl", "sslyze"], policy="fast"
        )
    assert done["status"] == "completed", done
    listed = (await operator.get("findings?limit=200")).json()["items"]
    found = {(each["source"], each["check_id"]): each["severity"] for each in listed}
    assert found["sslyze", "tls_1_0-offered"] == "medium"
    assert found["sslyze", "certificate-key-short"] == "high"
    assert found["testssl", "TLS1"] == "low"
    assert found["testssl", "cert_chain_of_trust"] == "critical"
    assert {each["region"] for each in listed} == {f"{ADDRESS}:{endpoints.weak_tls}"}
