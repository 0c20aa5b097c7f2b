"""Tools that look at a cluster: a real scan, with a stand-in for Trivy that writes its reports."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from temporalio.client import Client

from activities import engine_starts
from contracts.findings import Finding, FindingFilter
from contracts.scans import NativeOptions, ScanTrigger
from contracts.targets import NewScope, NewTarget, ScopeEntry
from contracts.vocabulary import FindingState, Provider, ScanStatus, ScopeKind, TargetKind
from contracts.vulnerabilities import AccountSync, SyncPlanning, VulnerabilityFilter
from runtime import task_queues
from runtime.settings import Settings
from storage import accounts
from storage.findings import findings
from storage.scans import scans
from storage.targets import target_scopes, targets
from storage.vulnerabilities import vulnerabilities, vulnerability_sync
from storage.watchdog import vulnerability_drift
from tests.support.cluster import Cluster, cluster_with_workers
from tests.support.fake_kubernetes import TOKEN, thing
from tests.support.namespaces import new_namespace
from tests.support.stand_in_tools import put

QUEUES: Final = (
    *(task_queues.SCANS, task_queues.DISCOVERY, task_queues.COMPLIANCE),
    *(task_queues.NATIVE, task_queues.SYNC),
)
RECORDED: Final = Path(__file__).parents[1] / "scanners" / "recorded"
CVE: Final = "CVE-2023-0286"

# Takes the arguments of `trivy image` and `trivy k8s`, notes what it was given, and writes the
# report that lies ready for that command.
_TRIVY: Final = """#!{python} -S
import json, os, shutil, sys
files = {files!r}
arguments = sys.argv[1:]
seen = {{"arguments": arguments, "environment": dict(os.environ)}}
for each in arguments:
    if each.startswith("--kubeconfig="):
        path = each.partition("=")[2]
        seen |= {{"path": path, "mode": os.stat(path).st_mode, "config": open(path).read()}}
json.dump(seen, open(os.path.join(files, "seen.json"), "w"))
report = os.path.join(files, arguments[0] + ".json")
shutil.copyfile(report, arguments[arguments.index("--output") + 1])
"""


class Trivy:
    """A stand-in on the PATH, and the reports that it will write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        program = directory / "trivy"
        program.write_text(_TRIVY.format(python=sys.executable, files=str(directory)))
        program.chmod(0o755)

    def finds(self, command: str, content: Any) -> None:
        """What `trivy COMMAND` reports from now on."""
        (self._directory / f"{command}.json").write_text(json.dumps(content))

    def seen(self) -> dict[str, Any]:
        """What the last run was given."""
        found: dict[str, Any] = json.loads((self._directory / "seen.json").read_text())
        return found


def result_of(image: str, *packages: str, number: str = CVE) -> dict[str, Any]:
    """The result of an image whose packages have a vulnerability."""
    return {
        "Target": f"{image} (debian 12.1)",
        "Class": "os-pkgs",
        "Type": "debian",
        "Vulnerabilities": [
            {
                "VulnerabilityID": number,
                "PkgName": each,
                "InstalledVersion": "1",
                "Severity": "HIGH",
                "Title": "A type confusion",
                "Fingerprint": f"sha256:{number}-{each}",
            }
            for each in packages
        ],
    }


def metadata_of(image: str) -> dict[str, Any]:
    return {"ImageID": "sha256:1f", "RepoTags": [image], "RepoDigests": [f"{image}@sha256:2e"]}


def workload(
    name: str, image: str, *packages: str, namespace: str = "shop", number: str = CVE
) -> dict[str, Any]:
    """A deployment with one image."""
    return {
        "Namespace": namespace,
        "Kind": "Deployment",
        "Name": name,
        "Metadata": [metadata_of(image)],
        "Results": [result_of(image, *packages, number=number)],
    }


def mistake(namespace: str, kind: str, name: str) -> dict[str, Any]:
    """A resource that is configured badly."""
    each = {"ID": "KSV012", "Title": "Runs as root", "Severity": "MEDIUM", "Status": "FAIL"}
    result = {"Target": f"{kind}/{name}", "Class": "config", "Misconfigurations": [each]}
    return {"Namespace": namespace, "Kind": kind, "Name": name, "Results": [result]}


def report(*resources: dict[str, Any]) -> dict[str, Any]:
    """A report of `trivy k8s`."""
    return {"ClusterName": "production", "Resources": list(resources)}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where a registry may be on loopback."""
    return settings.model_copy(update={"allow_loopback_targets": True})


@pytest.fixture(scope="module")
async def namespace(temporal: Client) -> Client:
    """A namespace whose queues only these workers poll."""
    return await new_namespace(temporal, "cluster-tools")


@pytest.fixture
async def cluster(
    database_url: str, namespace: Client, settings: Settings, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """A cluster as an account, and workers to scan it."""
    async with cluster_with_workers(database_url, namespace, settings, tmp_path, QUEUES) as made:
        yield made


@pytest.fixture
def trivy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trivy:
    """The stand-in, first on the PATH."""
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-a-scanner")
    return Trivy(tmp_path / "programs")


async def found(cluster: Cluster, source: str = "trivy_k8s") -> list[Finding]:
    """What a tool found in the cluster."""
    async with cluster.database.transaction() as session:
        query = FindingFilter(source=[source])
        page = await findings.list_findings(session, cluster.team_id, query, limit=50)
    return sorted(page.items, key=lambda each: (each.region, each.resource.uid))


async def test_trivy_looks_at_the_cluster_with_a_kubeconfig_of_its_own(
    cluster: Cluster, trivy: Trivy
) -> None:
    image = "registry.example/shop:1"
    trivy.finds(
        "k8s",
        report(
            workload("web", image, "openssl", "zlib1g"),
            workload("api", image, "openssl"),  # the same image
            mistake("shop", "Deployment", "web"),
            mistake("", "ClusterRole", "root"),
        ),
    )

    scan = await cluster.scan(kind=None, compliance=False)

    assert scan.status is ScanStatus.COMPLETED, scan
    assert list(await cluster.tasks(scan))[-1] == "tools/trivy_k8s"
    shown = {(each.region, each.check_id, each.resource.type, each.resource.uid)
             for each in await found(cluster)}  # fmt: skip
    assert shown == {
        ("namespace: cluster-wide", "KSV012", "clusterrole", "/ClusterRole/root"),
        ("namespace: shop", "KSV012", "deployment", "shop/Deployment/web"),
        ("namespace: shop", CVE, "image", f"{image}/openssl"),
        ("namespace: shop", CVE, "image", f"{image}/zlib1g"),
    }
    one = (await found(cluster))[0]
    assert (one.account_id, one.provider, one.title) == (
        cluster.account_id, Provider.KUBERNETES, "Runs as root",
    )  # fmt: skip
    seen = trivy.seen()
    assert seen["arguments"][0] == "k8s"
    assert set(seen["environment"]) <= {"PATH", "LANG", "LC_CTYPE", "TZ", "HOME", "TMPDIR"}
    config = json.loads(seen["config"])
    assert stat.S_IMODE(seen["mode"]) == 0o600
    assert [len(config[each]) for each in ("contexts", "clusters", "users")] == [1, 1, 1]
    assert config["users"][0]["user"] == {"token": TOKEN}
    assert not Path(seen["path"]).parent.exists()

    trivy.finds("k8s", report(workload("web", image, "zlib1g")))  # nothing is left without one
    again = await cluster.scan(kind=None, compliance=False)

    assert again.counts.findings.resolved == 3
    left = [each.resource.uid for each in await found(cluster) if each.state is FindingState.OPEN]
    assert left == [f"{image}/zlib1g"]


async def test_what_trivy_could_not_look_at_resolves_nothing(
    cluster: Cluster, trivy: Trivy
) -> None:
    whole = report(mistake("shop", "Deployment", "web"))
    trivy.finds("k8s", whole)
    await cluster.scan(kind=None, compliance=False)
    trivy.finds("k8s", report({"Namespace": "shop", "Kind": "Deployment", "Error": "no image"}))

    scan = await cluster.scan(kind=None, compliance=False)

    assert scan.status is ScanStatus.COMPLETED_WITH_ERRORS
    task = (await cluster.tasks(scan))["tools/trivy_k8s"]
    assert task.coverage is not None
    assert "could not scan 1 of the resources" in task.coverage.problems[0].message
    assert [each.state for each in await found(cluster)] == [FindingState.OPEN]


async def test_a_scan_says_which_tools_it_takes_and_which_it_had_to_leave_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cluster.directory))

    without = await cluster.scan(kind=None, compliance=False, discovery=False)
    none = await cluster.scan(kind=None, compliance=False, discovery=False, tools=[])
    named = await cluster.scan(kind=None, compliance=False, discovery=False, tools=["trivy_k8s"])

    assert (without.status, await cluster.tasks(without)) == (ScanStatus.COMPLETED, {})
    assert any("trivy_k8s did not look at the cluster" in note for note in without.notes)
    assert (none.status, none.notes) == (ScanStatus.COMPLETED, [])
    assert named.status is ScanStatus.FAILED
    task = (await cluster.tasks(named))["tools/trivy_k8s"]
    assert task.error is not None and task.error.code == "scanner_missing"


async def test_kube_bench_looks_at_the_node_that_the_worker_runs_on_and_at_no_other_machine(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    put(tmp_path, "kube-bench", "works", RECORDED / "written-kube_bench.json")
    cluster.server.put("/api/v1/nodes", [thing("node-1", None, kind="node")])
    how: dict[str, Any] = {"kind": None, "compliance": False, "tools": ["kube_bench"]}

    elsewhere = await cluster.scan(**how)
    monkeypatch.setenv("NODE_NAME", "node-1")
    on_a_node = await cluster.scan(**how)

    task = (await cluster.tasks(elsewhere))["tools/kube_bench"]
    assert task.error is not None and task.error.code == "scope_invalid"
    assert "is no node of the cluster production" in task.error.message
    assert on_a_node.status is ScanStatus.COMPLETED
    coverage = (await cluster.tasks(on_a_node))["tools/kube_bench"].coverage
    assert coverage is not None
    assert coverage.problems[0].checks == ["4.1.3"]  # a person must do that
    [finding] = await found(cluster, "kube_bench")
    assert (finding.check_id, finding.region, finding.resource.uid, finding.resource.type) == (
        "4.1.1", "node-1", "node-1", "node",
    )  # fmt: skip
    assert finding.account_id == cluster.account_id


class Images:
    """Scans of one image as a target, and the vulnerabilities of the team."""

    def __init__(self, cluster: Cluster, target_id: UUID) -> None:
        self._cluster, self._target_id = cluster, target_id

    @classmethod
    async def make(cls, cluster: Cluster, image: str) -> Images:
        """With a scope that allows it."""
        registry = image.partition("/")[0]
        scope = NewScope(
            name="lab",
            allows=[
                ScopeEntry(kind=ScopeKind.IMAGE, value=registry),
                ScopeEntry(kind=ScopeKind.CIDR, value="127.0.0.1/32"),
            ],
        )
        target = NewTarget(kind=TargetKind.IMAGE, value=image)
        async with cluster.database.transaction() as session:
            await target_scopes.create_scope(
                session, cluster.team_id, scope, who="test", at=datetime.now(UTC)
            )
            made = await targets.create_target(
                session, cluster.team_id, target, at=datetime.now(UTC)
            )
        return cls(cluster, made.id)

    async def scan(self) -> None:
        """Scan the image to the end."""
        options = NativeOptions(targets=[self._target_id])
        made = self._cluster
        async with made.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session, made.team_id, options,
                trigger=ScanTrigger(), idempotency_key=None, at=datetime.now(UTC),
            )  # fmt: skip
        await engine_starts.start_scan(
            made.client, scan.id, kind=scan.kind, team_id=made.team_id,
            account_id=scan.account_id, account_name="native",
        )  # fmt: skip
        await made.client.get_workflow_handle(f"scan/{scan.id}").result()

    async def vulnerabilities(self) -> dict[str, tuple[str, int, set[str]]]:
        """By weakness and resource: the status, open occurrences, and who reported it.

        After a sync; the one that each scan starts may have come first.
        """
        found = {}
        now = datetime.now(UTC)
        team_id = self._cluster.team_id
        async with self._cluster.database.transaction() as session:
            planning = SyncPlanning(team_id=team_id, full=False, after=None, limit=10)
            for account_id in await vulnerability_sync.accounts_to_sync(session, planning):
                asked = AccountSync(team_id=team_id, account_id=account_id, full=False)
                await vulnerability_sync.sync_account(session, asked, at=now)
        async with self._cluster.database.transaction() as session:
            for account in (await accounts.list_accounts(session, team_id, limit=10)).items:
                assert await vulnerability_drift.disagreement(session, account.id, at=now) is None
            page = await vulnerabilities.list_vulnerabilities(
                session, team_id, VulnerabilityFilter(), at=now, limit=50
            )
            for each in page.items:
                full = await vulnerabilities.get_vulnerability(session, team_id, each.id, at=now)
                sources = {one.source for one in full.occurrences}
                key = f"{each.weakness} {each.resource_uid}"
                assert key not in found
                found[key] = (each.status.value, each.open_occurrences, sources)
        return found


async def test_an_image_has_one_vulnerability_whether_the_cluster_or_the_image_was_scanned(
    cluster: Cluster, trivy: Trivy
) -> None:
    image, other = "127.0.0.1:5000/shop:1", "127.0.0.1:5000/cart:1"  # its address is looked up
    how: dict[str, Any] = {"kind": None, "compliance": False, "discovery": False}
    trivy.finds(
        "k8s",
        report(
            workload("web", image, "openssl", "zlib1g"),
            workload("web", image, "openssl", namespace="staging"),
            workload("cart", other, "openssl"),  # another image
            mistake("shop", "Deployment", "web"),
        ),
    )
    whole = {"SchemaVersion": 2, "ArtifactName": image, "Metadata": metadata_of(image)}
    trivy.finds("image", {**whole, "Results": [result_of(image, "openssl")]})
    images = await Images.make(cluster, image)

    await cluster.scan(**how)
    await images.scan()

    both = {"trivy_k8s", "trivy_image"}
    assert await images.vulnerabilities() == {
        f"{CVE} {image}/openssl": ("open", 3, both),  # two namespaces, and the image itself
        f"{CVE} {image}/zlib1g": ("open", 1, {"trivy_k8s"}),
        f"{CVE} {other}/openssl": ("open", 1, {"trivy_k8s"}),
        "KSV012 shop/Deployment/web": ("open", 1, {"trivy_k8s"}),
    }

    trivy.finds("k8s", report(workload("cart", other, "openssl")))
    await cluster.scan(**how)
    after = await images.vulnerabilities()
    assert after[f"{CVE} {image}/openssl"] == ("open", 1, both)
    assert after[f"{CVE} {image}/zlib1g"] == ("closed", 0, {"trivy_k8s"})

    trivy.finds("image", {**whole, "Results": [result_of(image)]})
    await images.scan()
    after = await images.vulnerabilities()
    assert after[f"{CVE} {image}/openssl"] == ("closed", 0, both)
    assert after[f"{CVE} {other}/openssl"] == ("open", 1, {"trivy_k8s"})

    async with cluster.database.transaction() as session:
        await accounts.delete_account(session, cluster.team_id, cluster.account_id)
    after = await images.vulnerabilities()
    assert after[f"{CVE} {other}/openssl"] == ("closed", 0, {"trivy_k8s"})
