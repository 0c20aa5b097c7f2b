"""The description of the API: valid, complete, and readable without a network."""

from __future__ import annotations

import re
from threading import get_ident
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import openapi
from api.auth import OPEN_PATHS

STABLE = {
    *("import_findings", "export_findings", "export_vulnerabilities"),
    "create_account", "list_accounts", "get_account", "change_account", "delete_account",
    "check_account", "create_scan", "create_native_scan", "list_scans", "get_scan", "list_tasks",
    "cancel_scan",
    "pause_scan", "resume_scan", "follow_scan", "list_findings", "summarize_findings",
    "get_finding", "list_resources", "get_resource", "list_checks", "get_check", "create_key",
    "list_keys", "revoke_key", "healthz", "readyz", "show_metrics",
    "create_schedule", "preview_schedule", "list_schedules", "get_schedule", "change_schedule",
    "delete_schedule", "pause_schedule", "resume_schedule", "trigger_schedule",
    "backfill_schedule", "list_schedule_runs", "list_jobs", "get_job", "run_job", "list_job_runs",
    "list_runs", "get_run", "cancel_run", "create_tracked_item", "list_tracked_items",
    "get_tracked_item", "change_tracked_item", "delete_tracked_item",
    "list_vulnerabilities", "summarize_vulnerabilities", "get_vulnerability",
    "sync_vulnerabilities", "decide_vulnerability", "preview_mute_rule", "create_mute_rule",
    "list_mute_rules", "get_mute_rule", "delete_mute_rule", "get_sla", "replace_sla",
    "list_notices", "show_consistency", "list_scanners",
    "list_retention", "preview_retention", "change_retention",
    "list_holds", "create_hold", "get_hold", "lift_hold",
    "create_target", "list_targets", "get_target", "change_target", "delete_target", "check_target",
    "create_scope", "list_scopes", "get_scope", "change_scope", "delete_scope",
    "create_hybrid_discovery", "list_assets", "summarize_assets", "get_asset",
    "list_scan_policies", "get_scan_policy", "set_scan_policy", "delete_scan_policy",
    "create_cascade", "list_cascades", "get_cascade", "change_cascade", "delete_cascade",
    "preview_cascades",
}  # fmt: skip


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of every documented call."""
    return [
        (path, method, operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


async def test_the_document_is_valid(anonymous: httpx.AsyncClient) -> None:
    document = (await anonymous.get("http://api/openapi.json")).json()
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document == (await anonymous.get("http://api/api/v1/openapi.json")).json()


async def test_the_document_is_made_in_the_thread_that_reads_requests(
    app: FastAPI, viewer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made beside it, two first requests after a start could end as internal errors."""
    threads = set()

    def describe() -> dict[str, Any]:
        threads.add(get_ident())
        return openapi.describe(app)

    monkeypatch.setattr(app, "openapi", describe)
    assert (await viewer.get("accounts?limit=1")).status_code == 200
    assert (await viewer.get("http://api/openapi.json")).status_code == 200
    assert threads == {get_ident()}


async def test_every_reference_leads_somewhere_and_nothing_is_left_over(app: FastAPI) -> None:
    document = app.openapi()
    text = str(document)
    schemas = document["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/([\w.-]+)", text))
    assert used <= set(schemas)
    assert "HTTPValidationError" not in schemas
    assert {"FindingPage", "ScanPage", "AccountPage"} <= set(schemas)
    assert not [name for name in schemas if name.startswith("Page_")]


async def test_every_call_says_what_it_does_and_how_it_fails(app: FastAPI) -> None:
    for path, method, operation in operations(app):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert len(operation["description"]) > 20, where
        assert operation["tags"], where
        if path in OPEN_PATHS:
            assert "security" not in operation, where
            continue
        assert f"Role: **{operation['security'][0]['key'][0]}**" in operation["description"], where
        assert {"401", "403", "422", "503"} <= set(operation["responses"]), where
        if "{" in path and method != "put":  # which makes what is not there
            assert "404" in operation["responses"], where
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], where


async def test_the_names_of_the_calls_are_stable(app: FastAPI) -> None:
    names = [operation["operationId"] for _, _, operation in operations(app)]
    assert len(names) == len(set(names))
    assert set(names) == STABLE


async def test_lists_are_documented_with_commas(app: FastAPI) -> None:
    parameters = app.openapi()["paths"]["/api/v1/findings"]["get"]["parameters"]
    (severity,) = [each for each in parameters if each["name"] == "severity"]
    assert (severity["style"], severity["explode"]) == ("form", False)


@pytest.mark.parametrize("page", ["docs", "redoc"])
async def test_the_pages_load_nothing_from_elsewhere(
    anonymous: httpx.AsyncClient, page: str
) -> None:
    shown = await anonymous.get(f"http://api/{page}")
    assert shown.status_code == 200
    sources = re.findall(r"""(?:src|href)=["']([^"']+)["']""", shown.text)
    assert len(sources) >= 2
    for source in sources:
        assert source.startswith("/docs/assets/"), source
        asset = await anonymous.get(f"http://api{source}")
        assert asset.status_code == 200
        assert len(asset.content) > 1000
