"""The kinds of Kubernetes object that make the inventory, and the few fields of each that we keep.

Types, groups and attributes have the names that Steampipe's tables give them. A kind without
attributes of its own is asked for by its metadata only, so that what a secret or a config map holds
never leaves the cluster; annotations are never kept, since they may repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from contracts.observations import ObservedResource

GLOBAL: Final = "global"
"""Kubernetes objects belong to no region; their namespace is an attribute."""


class Kind(NamedTuple):
    """One kind: where the API server lists it, and its attributes with their paths in an object."""

    type: str
    path: str
    attributes: dict[str, str]

    @property
    def metadata_only(self) -> bool:
        """Whether its metadata is all that is asked for."""
        return not self.attributes


def _kind(type: str, path: str, /, **attributes: str) -> Kind:
    return Kind(type, path, attributes)


_APPS: Final = "/apis/apps/v1"
_BATCH: Final = "/apis/batch/v1"
_NETWORK: Final = "/apis/networking.k8s.io/v1"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"

GROUPS: Final[dict[str, list[Kind]]] = {
    "cluster": [
        _kind("namespace", "/api/v1/namespaces", phase="status.phase"),
        _kind("node", "/api/v1/nodes", pod_cidr="spec.podCIDR"),
    ],
    "workloads": [
        _kind(
            "pod",
            "/api/v1/pods",
            phase="status.phase",
            node_name="spec.nodeName",
            service_account_name="spec.serviceAccountName",
        ),
        _kind(
            "deployment",
            f"{_APPS}/deployments",
            replicas="spec.replicas",
            available_replicas="status.availableReplicas",
        ),
        _kind(
            "daemonset",
            f"{_APPS}/daemonsets",
            desired_number_scheduled="status.desiredNumberScheduled",
            number_ready="status.numberReady",
        ),
        _kind(
            "stateful_set",
            f"{_APPS}/statefulsets",
            replicas="spec.replicas",
            ready_replicas="status.readyReplicas",
        ),
        _kind("cronjob", f"{_BATCH}/cronjobs", schedule="spec.schedule", suspend="spec.suspend"),
        _kind(
            "job",
            f"{_BATCH}/jobs",
            active="status.active",
            succeeded="status.succeeded",
            failed="status.failed",
        ),
    ],
    "network": [
        _kind("service", "/api/v1/services", type="spec.type", cluster_ip="spec.clusterIP"),
        _kind("ingress", f"{_NETWORK}/ingresses", ingress_class_name="spec.ingressClassName"),
        _kind("network_policy", f"{_NETWORK}/networkpolicies"),
    ],
    "configuration": [
        _kind("secret", "/api/v1/secrets"),
        _kind("config_map", "/api/v1/configmaps"),
        _kind(
            "persistent_volume_claim",
            "/api/v1/persistentvolumeclaims",
            phase="status.phase",
            storage_class="spec.storageClassName",
        ),
    ],
    "access": [
        _kind("service_account", "/api/v1/serviceaccounts"),
        _kind("role", f"{_RBAC}/roles"),
        _kind(
            "role_binding",
            f"{_RBAC}/rolebindings",
            role_name="roleRef.name",
            role_kind="roleRef.kind",
        ),
        _kind("cluster_role", f"{_RBAC}/clusterroles"),
        _kind(
            "cluster_role_binding",
            f"{_RBAC}/clusterrolebindings",
            role_name="roleRef.name",
            role_kind="roleRef.kind",
        ),
    ],
}
"""Every kind we list; one group is one shard of a discovery."""


def observe(kind: Kind, item: Any, *, context: str) -> ObservedResource | None:
    """The resource in one item of a list; None when nothing in it identifies it."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not uid:
        return None
    own = {name: _at(item, path) for name, path in kind.attributes.items()}
    own |= {
        "namespace": metadata.get("namespace"),
        "context_name": context,
        "creation_timestamp": metadata.get("creationTimestamp"),
    }
    labels = metadata.get("labels")
    return ObservedResource(
        uid=str(uid),
        type=kind.type,
        name=str(metadata.get("name") or uid),
        region=GLOBAL,
        tags={str(name): str(value) for name, value in labels.items()}
        if isinstance(labels, dict)
        else {},
        attributes={
            name: value for name, value in own.items() if isinstance(value, str | int | bool)
        },
    )


def _at(item: Mapping[str, Any], path: str) -> Any:
    value: Any = item
    for step in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
