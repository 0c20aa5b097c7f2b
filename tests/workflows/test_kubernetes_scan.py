"""Scans of a cluster: real workers, Temporal and PostgreSQL; the API server is a stand-in."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError

from contracts.accounts import NewAccount
from contracts.findings import FindingFilter
from contracts.runs import RunRequest, RunSummary
from contracts.vocabulary import (
    ErrorClass,
    FindingStatus,
    Provider,
    RunOutcome,
    ScanKind,
    ScanStatus,
    TaskStatus,
)
from runtime import task_queues
from runtime.settings import Settings
from scanners.kubernetes import kubernetes
from scanners.prowler.prowler_environment import environment_of
from scanners.prowler.prowler_install import install_prowler
from storage import accounts
from storage.findings import findings
from storage.inventory import resources
from storage.scans import scans
from storage.schedules import job_runs
from storage.watchdog import drift
from tests.support.cluster import (
    ENCODED,
    PODS,
    SECRET_VALUE,
    SECRETS,
    Cluster,
    cluster_with_workers,
)
from tests.support.fake_kubernetes import (
    TOKEN,
    Fault,
    pod,
    write_kubeconfig,
)
from tests.support.namespaces import new_namespace
from tests.support.prowler_scan import scans_clusters
from tests.support.waiting import until
from workflows.job_run import JobRun

QUEUES = (
    *(task_queues.SCANS, task_queues.DISCOVERY, task_queues.COMPLIANCE),
    *(task_queues.NATIVE, task_queues.SYNC),
)


@pytest.fixture(scope="module")
async def namespace(temporal: Client) -> Client:
    """A namespace whose queues only these workers poll."""
    return await new_namespace(temporal, "kubernetes")


@pytest.fixture
async def cluster(
    database_url: str, namespace: Client, settings: Settings, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """A cluster with a few things in it, as an account, and workers to scan it."""
    async with cluster_with_workers(database_url, namespace, settings, tmp_path, QUEUES) as made:
        yield made


async def test_a_discovery_fills_the_inventory_and_says_what_it_covered(cluster: Cluster) -> None:
    scan = await cluster.scan()

    assert (scan.kind, scan.status) == (ScanKind.KUBERNETES_DISCOVERY, ScanStatus.COMPLETED)
    assert scan.counts.resources == 6
    assert scan.counts.tasks.total == len(kubernetes.GROUPS)
    assert scan.notes == [
        f"The cluster production in the kubeconfig {cluster.directory / 'kubeconfig'} is reached "
        "without TLS."
    ]
    there = await cluster.there()
    assert set(there) == {"shop", "web-1", "web-2", "cart-1", "database", "settings"}
    web = there["web-1"]
    assert (web.type, web.provider, web.tags) == ("pod", Provider.KUBERNETES, {"app": "web"})
    assert (web.attributes["namespace"], web.attributes["phase"]) == ("shop", "Running")
    tasks = await cluster.tasks(scan)
    assert {key.partition("/")[2] for key in tasks} == set(kubernetes.GROUPS)
    for group, kinds in kubernetes.GROUPS.items():
        coverage = tasks[f"discovery/{group}"].coverage
        assert coverage is not None
        assert (coverage.planned, coverage.run, coverage.problems) == (len(kinds), len(kinds), [])
    async with cluster.database.transaction() as session:
        account = await accounts.get_account(session, cluster.team_id, cluster.account_id)
    assert account.uid == "production"


async def test_an_unchanged_cluster_writes_no_resource_and_a_deleted_pod_is_gone(
    cluster: Cluster,
) -> None:
    await cluster.scan()
    first = await cluster.written()
    again = await cluster.scan()
    assert await cluster.written() == first
    assert again.counts.resources == 6
    before = (await cluster.there())["web-2"]

    cluster.server.put(PODS, [pod("web-1"), pod("cart-1", phase="Failed")])
    await cluster.scan()

    there = await cluster.there()
    assert "web-2" not in there
    assert there["cart-1"].attributes["phase"] == "Failed"
    async with cluster.database.transaction() as session:
        gone = await resources.get_resource(session, cluster.team_id, before.id)
    assert gone.gone_at is not None
    changed = {row[0] for row in set(await cluster.written()) - set(first)}
    assert changed == {there["cart-1"].uid, before.uid}


async def test_what_a_scan_may_not_list_or_loses_half_way_stays_as_it_was(
    cluster: Cluster,
) -> None:
    await cluster.scan()
    cluster.server.put(SECRETS, [])
    cluster.server.put("/api/v1/configmaps", [])
    cluster.server.forbid(SECRETS)
    cluster.server.always["/api/v1/configmaps"] = Fault(410)

    scan = await cluster.scan()

    assert scan.status is ScanStatus.COMPLETED_WITH_ERRORS
    assert {"database", "settings"} <= set(await cluster.there())
    task = (await cluster.tasks(scan))["discovery/configuration"]
    assert task.status is TaskStatus.COMPLETED_WITH_ERRORS
    assert task.coverage is not None
    assert (task.coverage.run, task.coverage.not_assessed) == (1, 2)
    denied, expired = task.coverage.problems
    assert (denied.service, denied.error_class) == ("kubernetes_secret", ErrorClass.DENIED)
    assert "cannot list resource" in denied.message
    assert expired.checks == ["config_map"]

    cluster.server.always.clear()
    whole = await cluster.scan()

    assert whole.status is ScanStatus.COMPLETED
    assert not {"database", "settings"} & set(await cluster.there())


async def test_no_value_of_a_secret_and_no_token_is_in_a_row_a_payload_or_a_log(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cluster.server.ignores_accept = True  # and sends whole secrets though nobody asked for them
    scan_id, handle = await cluster.start()
    await handle.result()

    history = json.dumps(json.loads((await handle.fetch_history()).to_json()))
    payloads = [history, *_decoded(history)]
    shown = {
        "rows": await cluster.every_row(),
        "payloads": "\n".join(payloads),
        "log": caplog.text,
    }
    assert "database" in shown["rows"]
    assert str(scan_id) in shown["payloads"]
    for where, text_of in shown.items():
        for kept_away in (SECRET_VALUE, ENCODED, "hunter2-in-a-pod", TOKEN):
            assert kept_away not in text_of, where


async def test_a_kubeconfig_that_runs_a_command_is_refused_with_the_file_and_the_fix(
    cluster: Cluster,
) -> None:
    path = cluster.directory / "eks"
    user = {"exec": {"command": "aws", "args": ["eks", "get-token"]}}
    write_kubeconfig(path, {"server": cluster.server.url}, user)
    cluster.account_id = await cluster.add("eks", path)

    scan = await cluster.scan()

    assert scan.status is ScanStatus.FAILED
    assert scan.error is not None
    assert scan.error.code == "credentials_rejected"
    assert str(path) in scan.error.message and "`aws`" in scan.error.message
    assert scan.error.fix and "kubectl create token" in scan.error.fix
    assert cluster.server.requests == []


async def test_a_throttled_group_is_tried_again_and_what_stays_unreachable_fails_alone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = kubernetes.LIMITS._replace(tries=1)
    monkeypatch.setattr(kubernetes.read_kinds, "__kwdefaults__", {"limits": quick})
    cluster.server.faults[PODS].append(Fault(429, retry_after="0"))
    cluster.server.always["/api/v1/nodes"] = Fault(500)

    scan = await cluster.scan()

    tasks = await cluster.tasks(scan)
    assert scan.status is ScanStatus.COMPLETED_WITH_ERRORS
    assert (tasks["discovery/workloads"].status, tasks["discovery/workloads"].attempt) == (
        TaskStatus.COMPLETED,
        2,
    )
    assert tasks["discovery/cluster"].attempt == 3
    coverage = tasks["discovery/cluster"].coverage
    assert coverage is not None
    assert [problem.service for problem in coverage.problems] == ["kubernetes_node"]
    assert {"web-1", "shop"} <= set(await cluster.there())


async def test_a_scan_of_a_cluster_is_a_kubernetes_scan_whoever_starts_it(
    cluster: Cluster,
) -> None:
    scan = await cluster.scan(kind=None, compliance=False)
    handle = cluster.client.get_workflow_handle(f"scan/{scan.id}")

    assert (scan.kind, scan.status) == (ScanKind.KUBERNETES, ScanStatus.COMPLETED)
    assert (await handle.describe()).workflow_type == "KubernetesScan"
    assert "web-1" in await cluster.there()


async def test_what_steampipe_saw_before_goes_with_the_next_round_of_the_watchdog(
    cluster: Cluster,
) -> None:
    await cluster.scan()
    async with cluster.database.transaction() as session:
        for table in ("resource", "type_coverage"):
            await session.execute(text(f"UPDATE {table} SET source = 'steampipe'"))  # noqa: S608
    await cluster.scan()
    assert len(await cluster.written()) == 12

    async with cluster.database.transaction() as session:
        [fault] = await drift.resources_unseen(session, limit=10)
        gone = await drift.mark_gone(session, cluster.account_id, at=datetime.now(UTC), limit=100)

    assert fault.subject == f"account/{cluster.account_id}"
    assert gone == len(await cluster.there()) == 6


async def test_a_scan_is_cancelled_while_the_api_server_hangs(cluster: Cluster) -> None:
    cluster.server.always[PODS] = Fault(hangs=True)
    scan_id, handle = await cluster.start()
    await until(lambda: bool(cluster.server.asked(PODS)))

    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    async with cluster.database.transaction() as session:
        scan = await scans.get_scan(session, cluster.team_id, scan_id)
    assert scan.status is ScanStatus.CANCELLED
    assert len(cluster.server.asked(PODS)) == 1


async def test_the_checks_follow_the_inventory_or_say_what_to_install(
    cluster: Cluster, settings: Settings
) -> None:
    install_prowler(environment_of(settings.prowler_python))
    bad = pod("web-1")
    bad["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    cluster.server.put(PODS, [bad])

    scan = await cluster.scan(kind=None)

    tasks = await cluster.tasks(scan)
    *inventory, checks = tasks.values()
    assert {task.status for task in inventory} == {TaskStatus.COMPLETED}
    assert "web-1" in await cluster.there()
    if scans_clusters(settings):
        assert (scan.status, checks.status) == (ScanStatus.COMPLETED, TaskStatus.COMPLETED)
        query = FindingFilter(check_id=["core_minimize_privileged_containers"])
        async with cluster.database.transaction() as session:
            page = await findings.list_findings(session, cluster.team_id, query, limit=10)
        [finding] = page.items
        assert (finding.status, finding.resource.name) == (FindingStatus.FAIL, "web-1")
        assert finding.resource.uid == (await cluster.there())["web-1"].uid
    else:
        assert scan.status is ScanStatus.COMPLETED_WITH_ERRORS
        assert checks.error is not None and checks.error.code == "scanner_missing"
        assert checks.error.fix and "--all-providers" in checks.error.fix


async def _run(cluster: Cluster, job: str, **params: Any) -> tuple[RunSummary, UUID | None]:
    run_id = uuid4()
    request = RunRequest(
        team_id=cluster.team_id,
        job=job,
        params={"account_id": str(cluster.account_id), **params},
        run_id=run_id,
    )
    summary = await cluster.client.execute_workflow(
        JobRun.run, request, id=f"run/{run_id}", task_queue=task_queues.SCANS
    )
    async with cluster.database.transaction() as session:
        record = await job_runs.find_run(session, run_id)
    return summary, record.scan_id if record else None


async def test_jobs_scan_a_cluster_too_and_the_discovery_takes_no_other_account(
    cluster: Cluster,
) -> None:
    done = {}
    for job, params in (("kubernetes_discovery", {}), ("cloud_scan", {"compliance": False})):
        summary, scan_id = await _run(cluster, job, **params)
        assert summary.outcome is RunOutcome.COMPLETED
        assert scan_id is not None
        handle = cluster.client.get_workflow_handle(f"scan/{scan_id}")
        async with cluster.database.transaction() as session:
            scan = await scans.get_scan(session, cluster.team_id, scan_id)
        done[job] = ((await handle.describe()).workflow_type, scan.kind, scan.options.compliance)
    assert done == {
        "kubernetes_discovery": ("KubernetesDiscovery", ScanKind.KUBERNETES_DISCOVERY, False),
        "cloud_scan": ("KubernetesScan", ScanKind.KUBERNETES, False),
    }

    async with cluster.database.transaction() as session:
        aws = NewAccount.model_validate(
            {"name": "aws", "provider": "aws", "credentials": {"kind": "environment"}}
        )
        account = await accounts.create_account(session, cluster.team_id, aws, at=datetime.now(UTC))
    cluster.account_id = account.id
    summary, scan_id = await _run(cluster, "kubernetes_discovery")
    assert (summary.outcome, scan_id) == (RunOutcome.REFUSED, None)
    assert summary.words == "Its account aws is one of aws."


def _decoded(history: str) -> list[str]:
    """The payloads in a history, which holds them in base64."""
    found = []

    def visit(value: Any) -> None:
        match value:
            case {"data": str(data), "metadata": _}:
                found.append(base64.b64decode(data).decode("utf-8", "replace"))
            case dict():
                for inner in value.values():
                    visit(inner)
            case list():
                for inner in value:
                    visit(inner)

    visit(json.loads(history))
    return found
