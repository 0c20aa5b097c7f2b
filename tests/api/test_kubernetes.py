"""Clusters over HTTP: their scans, and the job that reads their inventory alone."""

from __future__ import annotations

from typing import Any

import httpx
from temporalio.client import Client

CLUSTER = {
    "name": "cluster",
    "provider": "kubernetes",
    "credentials": {"kind": "kube_context", "context": "prod", "path": "/secrets/config"},
}
AWS = {"name": "production", "provider": "aws", "credentials": {"kind": "environment"}}


async def add(caller: httpx.AsyncClient, account: dict[str, Any]) -> str:
    answer = await caller.post("accounts", json=account)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_scan_of_a_cluster_starts_a_kubernetes_scan(
    operator: httpx.AsyncClient, namespace: Client
) -> None:
    account_id = await add(operator, CLUSTER)

    scan = (await operator.post("scans", json={"account_id": account_id})).json()

    assert scan["kind"] == "kubernetes"
    described = await namespace.get_workflow_handle(scan["workflow_id"]).describe()
    assert described.workflow_type == "KubernetesScan"
    assert (await operator.get("scans?kind=kubernetes")).json()["items"][0]["id"] == scan["id"]


async def test_the_inventory_of_a_cluster_recurs_and_that_of_another_account_does_not(
    operator: httpx.AsyncClient,
) -> None:
    cluster, aws = await add(operator, CLUSTER), await add(operator, AWS)
    schedule = {
        "name": "inventory",
        "target": {"kind": "job", "job": "kubernetes_discovery", "params": {"account_id": cluster}},
        "trigger": {"type": "interval", "every_seconds": 3600},
    }
    answer = await operator.post("schedules", json=schedule)
    assert answer.status_code == 201, answer.text

    refused = await operator.post(
        "jobs/kubernetes_discovery/runs", json={"params": {"account_id": aws}}
    )
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {
            "field": "params.account_id",
            "message": "The account production is one of aws.",
        }
    ]


async def test_tools_are_named_for_clusters_only_and_only_those_that_look_at_one(
    operator: httpx.AsyncClient,
) -> None:
    cluster, aws = await add(operator, CLUSTER), await add(operator, AWS)

    async def refused(account_id: str, *tools: str) -> list[dict[str, str]]:
        answer = await operator.post("scans", json={"account_id": account_id, "tools": tools})
        assert answer.status_code == 422, answer.text
        found: list[dict[str, str]] = answer.json()["errors"]
        return found

    assert await refused(cluster, "trivy_k8s", "nmap") == [
        {
            "field": "tools[1]",
            "message": "No tool `nmap` looks at a cluster. There are: trivy_k8s, kube_bench.",
        }
    ]
    assert await refused(aws, "trivy_k8s") == [
        {
            "field": "tools",
            "message": "Only scans of clusters name tools; this account is one of aws.",
        }
    ]
    answer = await operator.post("scans", json={"account_id": cluster, "tools": ["trivy_k8s"]})
    assert answer.json()["options"]["tools"] == ["trivy_k8s"]
