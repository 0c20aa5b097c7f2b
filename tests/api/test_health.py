"""Probes and metrics: what is up by name, and numbers for Prometheus."""

from __future__ import annotations

from uuid import uuid4

import httpx
from prometheus_client.parser import text_string_to_metric_families
from temporalio.client import Client

from activities import engine_state
from runtime import task_queues
from runtime.settings import Settings
from tests.api.scripted import Script
from tests.support.waiting import until


async def test_the_process_is_alive(anonymous: httpx.AsyncClient) -> None:
    for path in ("http://api/healthz", "healthz"):
        answer = await anonymous.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_every_dependency_is_named_with_its_state(
    script: Script, worked_namespace: Client, anonymous: httpx.AsyncClient
) -> None:
    # The workers have started; Temporal may be about to see them.
    await until(lambda: engine_state.is_polled(worked_namespace, task_queues.SCANS))
    answer = await anonymous.get("http://api/readyz")
    assert answer.status_code == 200
    states = {each["name"]: each["state"] for each in answer.json()["dependencies"]}
    assert states == {
        "postgresql": "up",
        "temporal": "up",
        "workers": "up",
        "steampipe": "not_configured",
    }
    assert answer.json()["status"] == "ready"


async def test_without_workers_the_api_is_degraded_and_says_what_to_start(
    anonymous: httpx.AsyncClient,
) -> None:
    answer = await anonymous.get("readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    (workers,) = [each for each in answer.json()["dependencies"] if each["name"] == "workers"]
    assert workers["state"] == "down"
    assert "worker.py" in workers["detail"]


async def test_the_probes_tell_strangers_no_addresses(
    anonymous: httpx.AsyncClient, settings: Settings
) -> None:
    text = (await anonymous.get("readyz")).text
    assert settings.require_database_url() not in text
    assert "127.0.0.1" not in text


async def test_metrics_count_requests_by_route_and_the_store(
    viewer: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    assert (await anonymous.get("http://api/metrics")).status_code == 401
    for _ in range(3):
        await viewer.get(f"accounts/{uuid4()}")
    await viewer.get("nothing/at/all")
    answer = await viewer.get("http://api/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    requests = "cloudsweep_http_requests_total"
    assert samples[requests, "/api/v1/accounts/{account_id}", "404", "GET"] == 3
    assert samples[requests, "404", "GET", "unmatched"] == 1
    assert any(name.startswith("cloudsweep_store_") for name, *_ in samples)
    assert "team" not in answer.text
