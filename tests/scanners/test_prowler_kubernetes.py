"""The real Prowler against the stand-in for an API server, where it can scan clusters at all.

That takes `cloudsweep scanners install prowler --all-providers`; the environment that tests make by
themselves is the light one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.accounts import FileCredentials
from contracts.errors import CredentialsRejected
from contracts.observations import CoveredCheck
from contracts.vocabulary import ErrorClass, FindingStatus, Provider
from runtime.settings import Settings
from scanners.prowler import prowler
from scanners.prowler.prowler_catalogue import Catalogue, load_catalogue
from scanners.prowler.prowler_plan import plan_shards
from tests.support.certificates import Authority
from tests.support.fake_kubernetes import FakeKubernetes, node, pod, running_kubernetes, thing
from tests.support.prowler_scan import run, scans_clusters

PRIVILEGED = "core_minimize_privileged_containers"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
async def of_clusters(prowler_settings: Settings) -> Catalogue:
    """What Prowler knows of clusters; skips where its environment is the light one."""
    if not scans_clusters(prowler_settings):
        pytest.skip("`cloudsweep scanners install prowler --all-providers` was not run")
    return await load_catalogue(prowler_settings, Provider.KUBERNETES)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    """A cluster with a privileged pod, over TLS."""
    async with running_kubernetes(Authority(tmp_path)) as fake:
        bad = pod("bad-1")
        bad["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        fake.put("/api/v1/namespaces", [thing("shop", None, kind="namespace")])
        fake.put("/api/v1/nodes", [node("node-1")])
        fake.put("/api/v1/pods", [pod("web-1"), bad])
        yield fake


def job(server: FakeKubernetes, directory: Path, checks: list[str]) -> prowler.ProwlerJob:
    path = server.kubeconfig(directory / "kubeconfig")
    return prowler.ProwlerJob(
        provider=Provider.KUBERNETES,
        account_uid="production",
        credentials=FileCredentials(path=str(path)),
        checks=checks,
    )


async def test_one_shard_assesses_a_cluster_with_all_checks(
    of_clusters: Catalogue, prowler_settings: Settings, server: FakeKubernetes, tmp_path: Path
) -> None:
    [shard] = plan_shards(of_clusters, regions=[], home_region="", region_batch_size=5)

    outcome = await run(job(server, tmp_path, shard.checks), prowler_settings)

    coverage = outcome.last_word.coverage
    assert coverage.planned == coverage.run == len(shard.checks)
    assert (coverage.not_assessed, coverage.problems) == (0, [])
    verdicts = {
        f.resource_name: (f.status, f.region) for f in outcome.findings if f.check_id == PRIVILEGED
    }
    assert verdicts == {
        "web-1": (FindingStatus.PASS, "namespace: shop"),
        "bad-1": (FindingStatus.FAIL, "namespace: shop"),
    }
    uids = {f.resource_uid for f in outcome.findings if f.resource_name == "bad-1"}
    assert uids == {server.lists["/api/v1/pods"][1]["metadata"]["uid"]}  # as the inventory's


async def test_what_prowler_may_not_list_is_not_assessed(
    of_clusters: Catalogue, prowler_settings: Settings, server: FakeKubernetes, tmp_path: Path
) -> None:
    server.forbid(f"{RBAC}/clusterroles")
    checks = [PRIVILEGED, "rbac_minimize_wildcard_use_roles"]

    outcome = await run(job(server, tmp_path, checks), prowler_settings)

    [problem] = outcome.last_word.coverage.problems
    assert (problem.service, problem.error_class) == ("rbac", ErrorClass.DENIED)
    assert outcome.distrusted == {CoveredCheck("rbac_minimize_wildcard_use_roles", "")}


async def test_refused_credentials_are_told_as_such(
    of_clusters: Catalogue, prowler_settings: Settings, server: FakeKubernetes, tmp_path: Path
) -> None:
    made = job(server, tmp_path, [PRIVILEGED])
    server.token = "another-token-by-now"
    with pytest.raises(CredentialsRejected):
        await run(made, prowler_settings)
