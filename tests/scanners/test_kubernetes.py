"""The Kubernetes adapter against a stand-in for an API server, over real sockets and TLS."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from contracts.accounts import FileCredentials
from contracts.errors import CredentialsRejected, TargetUnreachable
from contracts.observations import ObservedResource
from contracts.vocabulary import ErrorClass, Provider
from scanners.kubernetes import kubernetes
from scanners.kubernetes.kubernetes import KindRead, Limits
from scanners.kubernetes.kubernetes_api import METADATA, PAGE
from scanners.steampipe import steampipe_tables
from tests.support.certificates import Authority
from tests.support.fake_kubernetes import (
    TOKEN,
    FakeKubernetes,
    Fault,
    Many,
    pod,
    running_kubernetes,
    thing,
)
from tests.support.ports import free_ports

PODS = "/api/v1/pods"
QUICK = Limits(request_seconds=30, tries=3, wait_seconds=0.01)
KINDS = {kind.type: kind for kinds in kubernetes.GROUPS.values() for kind in kinds}


class Listed(NamedTuple):
    """What came of listing some kinds."""

    resources: list[ObservedResource]
    reads: dict[str, KindRead]

    @property
    def names(self) -> list[str]:
        return sorted(resource.name for resource in self.resources)


@pytest.fixture
async def server() -> AsyncIterator[FakeKubernetes]:
    async with running_kubernetes() as fake:
        yield fake


def access_to(server: FakeKubernetes, path: Path, **user: Any) -> kubernetes.ClusterAccess:
    return kubernetes.read_access(FileCredentials(path=str(server.kubeconfig(path, **user))))


async def listed(access: kubernetes.ClusterAccess, *types: str, limits: Limits = QUICK) -> Listed:
    kinds = [KINDS[name] for name in types] or list(KINDS.values())
    found = Listed([], {})
    async with aclosing(kubernetes.read_kinds(access, kinds, limits=limits)) as messages:
        async for message in messages:
            if isinstance(message, KindRead):
                found.reads[message.kind.type] = message
            else:
                assert len(message) <= PAGE
                found.resources.extend(message)
    return found


def test_kinds_groups_and_attributes_are_named_as_steampipes_tables_are() -> None:
    tables = steampipe_tables.CATALOGUE[Provider.KUBERNETES]
    assert {group: [kind.type for kind in kinds] for group, kinds in kubernetes.GROUPS.items()} == {
        group: [spec.type for spec in specs] for group, specs in tables.items()
    }
    for spec in (spec for specs in tables.values() for spec in specs):
        if spec.type != "secret":  # its type is not in its metadata
            own = [*KINDS[spec.type].attributes, "namespace", "context_name", "creation_timestamp"]
            assert own == list(spec.attributes)


async def test_each_kind_is_read_with_its_attributes_and_labels(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    for number, kind in enumerate(KINDS.values()):
        server.put(kind.path, [thing(f"it-{number}", kind=kind.type)])
    server.put(PODS, [pod("web-1")])
    binding = {"roleRef": {"kind": "ClusterRole", "name": "view"}, "kind": "binding"}
    server.put(KINDS["cluster_role_binding"].path, [thing("viewers", None, **binding)])

    found = await listed(access_to(server, tmp_path / "config"))

    assert {read.kind.type for read in found.reads.values() if read.problem is None} == set(KINDS)
    assert len(found.resources) == len(KINDS)
    [web] = [resource for resource in found.resources if resource.type == "pod"]
    assert web == ObservedResource(
        uid=pod("web-1")["metadata"]["uid"],
        type="pod",
        name="web-1",
        region="global",
        tags={"app": "web"},
        attributes={
            "phase": "Running",
            "node_name": "node-1",
            "service_account_name": "default",
            "namespace": "shop",
            "context_name": "prod",
            "creation_timestamp": "2026-01-02T03:04:05Z",
        },
    )
    [viewers] = [r for r in found.resources if r.type == "cluster_role_binding"]
    assert (viewers.attributes["role_name"], viewers.attributes["role_kind"]) == (
        "view",
        "ClusterRole",
    )
    assert "namespace" not in viewers.attributes


async def test_a_long_list_is_read_in_pages(server: FakeKubernetes, tmp_path: Path) -> None:
    server.put(PODS, Many(2 * PAGE + 1))

    found = await listed(access_to(server, tmp_path / "config"), "pod")

    assert found.reads["pod"] == KindRead(KINDS["pod"], 2 * PAGE + 1, None)
    assert len({resource.uid for resource in found.resources}) == 2 * PAGE + 1
    first, second, third = server.asked(PODS)
    assert first.query == {"limit": str(PAGE)}
    assert second.query["limit"] == str(PAGE) and second.query["continue"]
    assert third.query["continue"] != second.query["continue"]


async def test_twenty_thousand_pods_take_little_memory(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.put(PODS, Many(20_000))
    access = access_to(server, tmp_path / "config")
    process = psutil.Process()
    rows = after_some = most = 0
    async with aclosing(kubernetes.read_kinds(access, [KINDS["pod"]])) as messages:
        async for message in messages:
            rows += 0 if isinstance(message, KindRead) else len(message)
            most = max(most, process.memory_info().rss)
            if rows == 2_000:
                after_some = most
    assert rows == 20_000
    # Kept of each is its uid; all of 20,000 pods at once would take twice this.
    assert most - after_some < 40_000_000


async def test_a_kind_that_is_forbidden_fails_alone_and_says_who_may_not(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.put(PODS, [pod("web-1")])
    server.forbid("/api/v1/secrets")

    found = await listed(access_to(server, tmp_path / "config"), "secret", "pod")

    assert found.names == ["web-1"]
    problem = found.reads["secret"].problem
    assert problem is not None
    assert (problem.service, problem.checks) == ("kubernetes_secret", ["secret"])
    assert problem.error_class is ErrorClass.DENIED
    assert 'User "system:serviceaccount:audit:cloudsweep" cannot list' in problem.message
    assert found.reads["pod"].problem is None


async def test_a_kind_that_this_cluster_does_not_serve_is_said(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    del server.lists[KINDS["cronjob"].path]

    found = await listed(access_to(server, tmp_path / "config"), "cronjob")

    problem = found.reads["cronjob"].problem
    assert problem is not None and problem.error_class is ErrorClass.NOT_IMPLEMENTED


async def test_a_list_that_expires_in_the_middle_begins_again_and_nothing_comes_twice(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.put(PODS, Many(2 * PAGE + 5))
    server.faults[PODS].extend([Fault(), Fault(410)])

    found = await listed(access_to(server, tmp_path / "config"), "pod")

    assert found.reads["pod"] == KindRead(KINDS["pod"], 2 * PAGE + 5, None)
    uids = [resource.uid for resource in found.resources]
    assert len(uids) == len(set(uids)) == 2 * PAGE + 5
    assert [bool(asked.query.get("continue")) for asked in server.asked(PODS)] == [
        *(False, True),
        *(False, True, True),
    ]


async def test_a_list_that_always_expires_is_given_up(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.always[PODS] = Fault(410)

    found = await listed(access_to(server, tmp_path / "config"), "pod", "service")

    problem = found.reads["pod"].problem
    assert problem is not None and "expired" in problem.message
    assert len(server.asked(PODS)) == 1 + kubernetes.RESTARTS
    assert found.reads["service"].problem is None


async def test_a_list_that_does_not_end_is_given_up(server: FakeKubernetes, tmp_path: Path) -> None:
    server.put(PODS, [pod("web-1")])
    server.repeats_itself = True

    found = await listed(access_to(server, tmp_path / "config"), "pod")

    problem = found.reads["pod"].problem
    assert problem is not None and problem.message == "The list does not end."
    assert found.names == ["web-1"]


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        (Fault(429, retry_after="0"), ErrorClass.THROTTLED),
        (Fault(500), ErrorClass.UNREACHABLE),
        (Fault(503, retry_after="Fri, 27 Nov 2026 00:00:00 GMT"), ErrorClass.UNREACHABLE),
        (Fault(truncated=True), ErrorClass.UNREACHABLE),
        (Fault(not_json=True), ErrorClass.UNREACHABLE),
    ],
    ids=["429", "500", "503", "truncated", "not JSON"],
)
async def test_what_fails_at_the_server_is_asked_again_and_given_up_in_the_end(
    server: FakeKubernetes, tmp_path: Path, fault: Fault, error_class: ErrorClass
) -> None:
    server.put(PODS, Many(PAGE + 1))
    server.faults[PODS].extend([fault, Fault(), fault, fault])
    access = access_to(server, tmp_path / "config")

    assert (await listed(access, "pod")).reads["pod"] == KindRead(KINDS["pod"], PAGE + 1, None)

    server.always[PODS] = fault
    before = len(server.asked(PODS))
    problem = (await listed(access, "pod")).reads["pod"].problem
    assert problem is not None and problem.error_class is error_class
    assert len(server.asked(PODS)) - before == QUICK.tries


async def test_a_server_that_hangs_on_one_kind_costs_that_kind_only(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.always[PODS] = Fault(hangs=True)
    hasty = Limits(request_seconds=0.5, tries=2, wait_seconds=0.01)

    found = await listed(access_to(server, tmp_path / "config"), "pod", "node", limits=hasty)

    problem = found.reads["pod"].problem
    assert problem is not None and problem.error_class is ErrorClass.UNREACHABLE
    assert "no answer within 0.5 s" in problem.message
    assert found.reads["node"].problem is None


async def test_refused_credentials_end_it_and_are_not_shown(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    access = access_to(server, tmp_path / "config", token="a-token-that-was-revoked")

    for asking in (kubernetes.identity(access, limits=QUICK), listed(access, "pod")):
        with pytest.raises(CredentialsRejected, match=r"production refuses .*context prod") as e:
            await asking
        assert e.value.fix and "token" in e.value.fix
        assert "revoked" not in f"{e.value} {e.value.fix}"
    assert len(server.requests) == 2  # no second try


async def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    access = access_to(server, tmp_path / "config", token="two\nlines-of-a-token")
    with pytest.raises(CredentialsRejected, match="not one that can be sent") as failure:
        await kubernetes.identity(access, limits=QUICK)
    assert "lines-of-a-token" not in f"{failure.value} {failure.value.__context__}"


async def test_a_server_that_is_not_there_is_unreachable(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(TargetUnreachable, match=r"127\.0\.0\.1:\d+ does not answer"):
        await kubernetes.identity(access_to(server, tmp_path / "config"), limits=QUICK)


async def test_the_identity_is_the_cluster_and_the_user_that_the_server_knows(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    access = access_to(server, tmp_path / "config")

    known = await kubernetes.identity(access, limits=QUICK)
    server.reviews = False
    older = await kubernetes.identity(access, limits=QUICK)
    server.forbid("/api/v1/namespaces")  # may list nothing, and yet is somebody
    least = await kubernetes.identity(access, limits=QUICK)
    del server.always["/api/v1/namespaces"], server.lists["/api/v1/namespaces"]
    with pytest.raises(TargetUnreachable, match="as an API server does"):
        await kubernetes.identity(access, limits=QUICK)

    assert known.account_uid == "production"
    assert known.principal == "system:serviceaccount:audit:cloudsweep in context prod"
    assert older == least
    assert older.principal == "audit in context prod"


async def test_secrets_and_config_maps_are_asked_for_by_metadata_and_their_values_stay_away(
    server: FakeKubernetes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    value = "correct-horse-battery-staple"
    encoded = base64.b64encode(value.encode()).decode()
    applied = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"stringData": "{value}"}}'}
    secret = {"type": "Opaque", "data": {"password": encoded}, "annotations": applied}
    server.put(KINDS["secret"].path, [thing("database", kind="secret", **secret)])
    server.put(KINDS["config_map"].path, [thing("app", data={"password": value})])
    server.put(PODS, [pod("web-1")])
    access = access_to(server, tmp_path / "config")

    honest = await listed(access, "secret", "config_map", "pod")
    server.ignores_accept = True
    careless = await listed(access, "secret", "config_map", "pod")

    for path in (KINDS["secret"].path, KINDS["config_map"].path):
        assert {asked.accept for asked in server.asked(path)} == {METADATA}
    assert honest == careless
    assert honest.names == ["app", "database", "web-1"]
    shown = f"{honest} {careless} {access} {caplog.text}"
    for kept_away in (value, encoded, "hunter2-in-a-pod", TOKEN):
        assert kept_away not in shown


async def test_a_server_that_cannot_send_metadata_alone_is_not_asked_for_more(
    server: FakeKubernetes, tmp_path: Path
) -> None:
    server.always["/api/v1/secrets"] = Fault(406)

    found = await listed(access_to(server, tmp_path / "config"), "secret")

    assert found.reads["secret"].problem is not None
    assert len(server.asked("/api/v1/secrets")) == 1


async def test_tls_is_checked_against_the_authority_that_the_kubeconfig_names(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    async with running_kubernetes(authority) as server:
        server.put(PODS, [pod("web-1")])
        trusted = access_to(server, tmp_path / "trusted")
        server.authority = Authority(tmp_path, "somebody else")
        strange = access_to(server, tmp_path / "strange")

        assert (await listed(trusted, "pod")).names == ["web-1"]
        with pytest.raises(TargetUnreachable, match="No TLS connection") as failure:
            await kubernetes.identity(strange, limits=QUICK)
        assert failure.value.fix and "certificate-authority" in failure.value.fix


async def test_a_client_certificate_logs_in_and_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    signed = authority.sign("audit")
    pair = {
        "client-certificate-data": base64.b64encode(signed.certificate).decode(),
        "client-key-data": base64.b64encode(signed.key).decode(),
    }
    async with running_kubernetes(authority, client_certificates=True) as server:
        server.put(PODS, [pod("web-1")])
        access = access_to(server, tmp_path / "config", **pair)
        assert (await listed(access, "pod")).names == ["web-1"]
        assert pair["client-key-data"] not in repr(access)

        broken = access_to(server, tmp_path / "broken", **pair | {"client-key-data": "bm9wZQ=="})
        with pytest.raises(CredentialsRejected, match="certificates, key or token of context prod"):
            await listed(broken, "pod")
    assert list(scratch.iterdir()) == []
