"""A stand-in for a Kubernetes API server, on loopback: there is no cluster to test against.

It speaks what the adapter and Prowler ask for as the real one does: lists with `limit`, `continue`
and `resourceVersion`, bearer tokens and client certificates, Table and PartialObjectMetadata by the
Accept header, `Status` objects for refusals. Lists may be lazy, so that many pods cost no memory.
What a test wants to go wrong, it puts into `faults`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import yaml
from aiohttp import web

from tests.support.certificates import Authority

TOKEN: Final = "an-opaque-token-of-a-service-account-1"
CREATED: Final = "2026-01-02T03:04:05Z"
SELF_REVIEW: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

_LISTS: Final[dict[str, tuple[str, str]]] = {
    "/api/v1/namespaces": ("v1", "Namespace"),
    "/api/v1/nodes": ("v1", "Node"),
    "/api/v1/pods": ("v1", "Pod"),
    "/api/v1/services": ("v1", "Service"),
    "/api/v1/secrets": ("v1", "Secret"),
    "/api/v1/configmaps": ("v1", "ConfigMap"),
    "/api/v1/serviceaccounts": ("v1", "ServiceAccount"),
    "/api/v1/persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "/apis/apps/v1/deployments": ("apps/v1", "Deployment"),
    "/apis/apps/v1/daemonsets": ("apps/v1", "DaemonSet"),
    "/apis/apps/v1/statefulsets": ("apps/v1", "StatefulSet"),
    "/apis/batch/v1/cronjobs": ("batch/v1", "CronJob"),
    "/apis/batch/v1/jobs": ("batch/v1", "Job"),
    "/apis/networking.k8s.io/v1/ingresses": ("networking.k8s.io/v1", "Ingress"),
    "/apis/networking.k8s.io/v1/networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "/apis/rbac.authorization.k8s.io/v1/roles": ("rbac.authorization.k8s.io/v1", "Role"),
    "/apis/rbac.authorization.k8s.io/v1/rolebindings": (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
    ),
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
    ),
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
    ),
}

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    406: "NotAcceptable",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Fault(NamedTuple):
    """One answer that is not what was asked for: a status, or how the answer breaks."""

    status: int = 200
    retry_after: str | None = None
    hangs: bool = False
    truncated: bool = False
    not_json: bool = False


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    accept: str


class Many(Sequence[dict[str, Any]]):
    """As many pods as one wants, each made when it is looked at."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [pod(f"pod-{n:06}") for n in range(*index.indices(self._count))]
        return pod(f"pod-{index:06}")


class FakeKubernetes:
    """What the server holds, by path; how it answers; what it was asked."""

    def __init__(self) -> None:
        self.lists: dict[str, Sequence[dict[str, Any]]] = {path: [] for path in _LISTS}
        self.token = TOKEN
        self.user = "system:serviceaccount:audit:cloudsweep"
        self.revision = 1000
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        """One for each request to a path that is to go wrong; afterwards it answers again."""
        self.always: dict[str, Fault] = {}
        self.reviews = True
        """Whether it can tell who somebody is, as it can since 1.28."""
        self.ignores_accept = False
        """Send whole objects whatever was asked for, as some proxies in front of servers do."""
        self.repeats_itself = False
        """Say of every page that the same one follows."""
        self.requests: list[Asked] = []
        self.url = ""
        self.authority: Authority | None = None
        self._snapshots: dict[tuple[str, int], Sequence[dict[str, Any]]] = {}
        self._released = asyncio.Event()

    def put(self, path: str, items: Sequence[dict[str, Any]]) -> None:
        """What the server holds of one kind from now on."""
        self.lists[path] = items
        self.revision += 1

    def forbid(self, path: str) -> None:
        """The role that we have lists everything but this."""
        self.always[path] = Fault(403)

    def kubeconfig(self, path: Path, **user: Any) -> Path:
        """Write a kubeconfig whose only context, `prod`, leads here; the token unless `user`."""
        cluster: dict[str, Any] = {"server": self.url}
        if self.authority is not None:
            cluster["certificate-authority-data"] = _base64(self.authority.certificate)
        write_kubeconfig(path, cluster, user or {"token": self.token})
        return path

    def asked(self, path: str) -> list[Asked]:
        """The requests to one path, in order."""
        return [request for request in self.requests if request.path == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        accept = request.headers.get("Accept", "application/json")
        asked = Asked(request.method, request.path, dict(request.query), accept)
        self.requests.append(asked)
        fault = self.always.get(asked.path)
        if fault is None and self.faults[asked.path]:
            fault = self.faults[asked.path].popleft()
        certificate = request.transport and request.transport.get_extra_info("peercert")
        if request.headers.get("Authorization") != f"Bearer {self.token}" and not certificate:
            return _status(401, "Unauthorized")
        if fault is not None and fault.hangs:
            await self._released.wait()
        if fault is not None and fault.status != 200:
            return self._refusal(fault, asked)
        if (asked.method, asked.path) == ("POST", SELF_REVIEW) and self.reviews:
            kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            info = {"username": self.user, "groups": ["system:authenticated"]}
            return web.json_response({**kind, "status": {"userInfo": info}}, status=201)
        asked, namespace = _without_namespace(asked)
        if asked.path not in self.lists:
            return _status(404, "the server could not find the requested resource")
        body = self._list(asked, namespace)
        if isinstance(body, web.Response) or fault is None:
            return body if isinstance(body, web.Response) else web.json_response(body)
        return await _broken(request, fault, json.dumps(body).encode())

    def _refusal(self, fault: Fault, asked: Asked) -> web.Response:
        kind = asked.path.rpartition("/")[2]
        words = {
            403: f'{kind} is forbidden: User "{self.user}" cannot list resource "{kind}" in API '
            'group "" at the cluster scope',
            410: "The provided continue parameter is too old to display a consistent list result.",
            429: "Too many requests, please try again later.",
            500: "etcdserver: request timed out",
        }
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
        return _status(fault.status, words.get(fault.status, "refused"), headers)

    def _list(self, asked: Asked, namespace: str | None) -> dict[str, Any] | web.Response:
        limit = int(asked.query.get("limit", "0"))
        revision, start = self.revision, 0
        if token := asked.query.get("continue"):
            try:
                said = json.loads(base64.urlsafe_b64decode(token))
                revision, start = said["rv"], said["start"]
            except (ValueError, KeyError):
                return _status(400, "continue key is not valid")
        # A list is that of one revision to its end, whatever changes meanwhile.
        everything = self._snapshots.setdefault((asked.path, revision), self.lists[asked.path])
        if namespace is not None:
            everything = [i for i in everything if i["metadata"].get("namespace") == namespace]
        end = min(len(everything), start + limit) if limit else len(everything)
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if end < len(everything) or self.repeats_itself:
            next_start = start if self.repeats_itself else end
            following = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": next_start})
            metadata["continue"] = base64.urlsafe_b64encode(following.encode()).decode()
            metadata["remainingItemCount"] = len(everything) - end
        else:
            self._snapshots.pop((asked.path, revision), None)
        return self._shaped(asked, everything[start:end], metadata)

    def _shaped(
        self, asked: Asked, items: Sequence[dict[str, Any]], metadata: dict[str, Any]
    ) -> dict[str, Any] | web.Response:
        version, kind = _LISTS[asked.path]
        for accepted in asked.accept.split(","):
            media, *parameters = [part.strip() for part in accepted.split(";")]
            form = dict(each.split("=", 1) for each in parameters if "=" in each)
            if media not in ("application/json", "*/*", "application/*"):
                continue
            if "as" not in form or self.ignores_accept:
                listed = {"kind": f"{kind}List", "apiVersion": version}
                return {**listed, "metadata": metadata, "items": list(items)}
            if (form.get("g"), form.get("v")) != ("meta.k8s.io", "v1"):
                continue
            meta = {"apiVersion": "meta.k8s.io/v1"}
            partial = [
                {"kind": "PartialObjectMetadata", **meta, "metadata": item["metadata"]}
                for item in items
            ]
            if form["as"] == "PartialObjectMetadataList":
                listed = {"kind": "PartialObjectMetadataList", **meta}
                return {**listed, "metadata": metadata, "items": partial}
            if form["as"] == "Table":
                columns = [{"name": "Name", "type": "string", "format": "name"}]
                rows = [{"cells": [p["metadata"]["name"]], "object": p} for p in partial]
                table = {"kind": "Table", **meta, "metadata": metadata}
                return {**table, "columnDefinitions": columns, "rows": rows}
        return _status(406, "only the following media types are accepted: application/json")

    def release(self) -> None:
        """Let everything that hangs go on."""
        self._released.set()


@asynccontextmanager
async def running_kubernetes(
    authority: Authority | None = None, *, client_certificates: bool = False
) -> AsyncIterator[FakeKubernetes]:
    """A server on a free port of 127.0.0.1, over TLS if there is an authority to sign for it."""
    fake = FakeKubernetes()
    context: ssl.SSLContext | None = None
    if authority is not None:
        context = authority.server_context(asks_for_clients=client_certificates)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        fake.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
        fake.authority = authority
        yield fake
    finally:
        fake.release()
        await runner.cleanup()


def write_kubeconfig(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> None:
    """A kubeconfig with one context, `prod`: user `audit` of cluster `production`."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "production", "user": "audit"}}],
        "clusters": [{"name": "production", "cluster": cluster}],
        "users": [{"name": "audit", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))


def thing(name: str, namespace: str | None = "shop", **content: Any) -> dict[str, Any]:
    """An object as a list has it; the same name in the same namespace has the same uid."""
    kind = content.pop("kind", "thing")
    metadata: dict[str, Any] = {
        "name": name,
        "uid": str(uuid5(NAMESPACE_URL, f"{kind}/{namespace}/{name}")),
        "resourceVersion": "42",
        "creationTimestamp": CREATED,
        "labels": {"app": name.partition("-")[0]},
        "annotations": content.pop("annotations", {}),
        "managedFields": [{"manager": "kubectl", "operation": "Update", "time": CREATED}],
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **content}


def pod(name: str, namespace: str = "shop", phase: str = "Running") -> dict[str, Any]:
    """A pod with what its real one says."""
    container = {
        "name": "app",
        "image": "registry.example.com/shop/app:1.2.3",
        "env": [{"name": "DATABASE_PASSWORD", "value": "hunter2-in-a-pod"}],
        "resources": {},
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"privileged": False},
    }
    return thing(
        name,
        namespace,
        kind="pod",
        spec={
            "containers": [container],
            "nodeName": "node-1",
            "serviceAccountName": "default",
            "restartPolicy": "Always",
        },
        status={"phase": phase, "podIP": "10.0.0.7", "hostIP": "10.0.0.1"},
    )


def node(name: str) -> dict[str, Any]:
    """A node with what its real one says."""
    info = {
        **dict.fromkeys(
            ("architecture", "bootID", "containerRuntimeVersion", "kernelVersion"), "x"
        ),
        **dict.fromkeys(("kubeProxyVersion", "kubeletVersion"), "v1.34.1"),
        **dict.fromkeys(("machineID", "operatingSystem", "osImage", "systemUUID"), "x"),
    }
    spec = {"podCIDR": "10.1.0.0/24", "unschedulable": False}
    return thing(name, None, kind="node", spec=spec, status={"nodeInfo": info})


def _without_namespace(asked: Asked) -> tuple[Asked, str | None]:
    """`/api/v1/namespaces/shop/pods` lists the pods of one namespace."""
    match asked.path.split("/"):
        case [*base, "namespaces", namespace, kind] if kind:
            return asked._replace(path="/".join([*base, kind])), namespace
    return asked, None


def _status(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(status, "Unknown"),
        "code": status,
    }
    return web.json_response(body, status=status, headers=headers)


async def _broken(request: web.Request, fault: Fault, body: bytes) -> web.StreamResponse:
    if fault.not_json:
        return web.Response(body=body[: len(body) // 2], content_type="application/json")
    if not fault.truncated:
        return web.Response(body=body, content_type="application/json")
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = len(body)
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.abort()
    return answer


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
