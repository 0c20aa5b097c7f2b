"""Reading kubeconfigs: one context of them, nothing that runs a command, no secret in an error."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from contracts.accounts import (
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    KubeContextCredentials,
)
from contracts.errors import CredentialsRejected
from scanners.secret_files import read_secret

MOST_BYTES: Final = 4_000_000
IN_CLUSTER: Final = "in-cluster"
POD_FILES: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its service account."""
_FIX_COMMAND: Final = (
    "Give the account a kubeconfig that holds a client certificate or a service account's token "
    "(`kubectl create token`, or `tokenFile`): docs/kubernetes.md shows how to make one."
)
_FIX_FILE: Final = "Check the file on the workers: `kubectl --kubeconfig FILE config view`."
_FILES: Final = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
}


class Files(NamedTuple):
    """The kubeconfigs that a reference means, and the context; no file: the pod's own account."""

    paths: list[str]
    context: str | None


@dataclass(frozen=True)
class ClusterAccess:
    """How to reach one cluster. The secrets in it are in no `repr`."""

    cluster: str
    context: str
    user: str
    server: str
    notes: list[str]
    config: dict[str, Any] | None = field(repr=False)
    """A kubeconfig of this context only, paths absolute; None: the pod's own service account."""
    environment: Mapping[str, str] = field(repr=False)


def files_of(credentials: Credentials, worker: Mapping[str, str]) -> Files:
    """Which kubeconfigs a reference to credentials means on this worker."""
    default = str(Path(worker.get("HOME", "/root")) / ".kube" / "config")
    named = [path for path in worker.get("KUBECONFIG", "").split(os.pathsep) if path]
    match credentials:
        case FileCredentials(path=path):
            return Files([path], None)
        case KubeContextCredentials(context=context, path=str(path)):
            return Files([path], context)
        case KubeContextCredentials(context=context):
            return Files(named or [default], context)
        case EnvironmentCredentials() if named:
            return Files(named, None)
        case EnvironmentCredentials():
            return Files([default] if Path(default).is_file() else [], None)
        case _:
            raise CredentialsRejected(
                f"Credentials of kind {credentials.kind} do not exist for kubernetes.",
                fix="Change the account's credentials to a kind that its provider takes.",
            )


def read_access(
    credentials: Credentials,
    *,
    account_uid: str | None = None,
    worker: Mapping[str, str] | None = None,
) -> ClusterAccess:
    """What a reference to credentials means on this worker.

    Raises CredentialsRejected, with the file and the fix, for a kubeconfig that is missing, that is
    malformed, that lacks the context, or whose user logs in by running a command.
    """
    environment = os.environ if worker is None else worker
    paths, context = files_of(credentials, environment)
    if not paths:
        return _in_cluster(environment, account_uid)
    entries = _Entries([_read(path) for path in paths if _is_wanted(path, paths)], paths)
    name = context or entries.current
    if not name:
        raise CredentialsRejected(
            f"The kubeconfig {entries.named} has no current context.",
            fix="Name a context in the account's credentials (`kube_context`).",
        )
    chosen, path = entries.find("contexts", "context", name)
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    cluster, _ = entries.find("clusters", "cluster", cluster_name)
    user, user_path = entries.find("users", "user", user_name) if user_name else ({}, path)
    _refuse_commands(user, user_name, user_path)
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise CredentialsRejected(
            f"The cluster {cluster_name} in the kubeconfig {path} names no server.", fix=_FIX_FILE
        )
    return ClusterAccess(
        cluster=cluster_name,
        context=name,
        user=user_name,
        server=server,
        notes=_notes(cluster, cluster_name, server, path),
        config=_config(name, cluster_name, cluster, user_name, user),
        environment=environment,
    )


def with_files(access: ClusterAccess, directory: Path) -> dict[str, Any]:
    """The kubeconfig with its embedded certificates and keys as files in a private directory.

    The client library would write them into the worker's temporary directory and leave them there.
    """
    config = access.config or {}
    cluster, user = dict(config["clusters"][0]["cluster"]), dict(config["users"][0]["user"])
    for entry in (cluster, user):
        for name, data_name in _FILES.items():
            encoded = entry.pop(data_name, None)
            if encoded:
                entry[name] = str(directory / name)
                _write(directory / name, encoded, data_name, access)
    key = user.get("client-key")
    if key and b"ENCRYPTED" in _bytes(str(key)):
        raise CredentialsRejected(
            f"The client key of context {access.context} is encrypted.",
            fix="Use a key without a passphrase: nobody is there to type it.",
        )
    file = user.pop("tokenFile", None)
    token = user.get("token") or (file and _bytes(str(file)).decode("utf-8", "replace"))
    if token:
        user["token"] = str(token).strip()
    return {
        **config,
        "clusters": [{"name": access.cluster, "cluster": cluster}],
        "users": [{"name": access.user, "user": user}],
    }


def write_alone(access: ClusterAccess, directory: Path) -> Path:
    """A kubeconfig of this context alone in a private directory, for a tool that needs a file.

    Whoever reads it learns how to reach this cluster, and nothing else. A pod's own account is
    written in the same form.
    """
    config = access.config or _config(
        access.context,
        access.cluster,
        {"server": access.server, "certificate-authority": str(POD_FILES / "ca.crt")},
        access.user,
        {"tokenFile": str(POD_FILES / "token")},
    )
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    text = json.dumps(with_files(replace(access, config=config), directory))
    path.write_text(text)  # JSON is YAML, too
    return path


def _config(
    context: str, cluster_name: str, cluster: dict[str, Any], user_name: str, user: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": cluster_name, "user": user_name}}],
        "clusters": [{"name": cluster_name, "cluster": cluster}],
        "users": [{"name": user_name, "user": user}],
    }


class _Entries:
    """Several kubeconfigs as one: of entries with the same name the first file's counts."""

    def __init__(self, read: list[tuple[str, dict[str, Any]]], paths: list[str]) -> None:
        if not read:
            read = [_read(paths[0])]  # none of them exists: say so
        self._read = read
        self.named = ", ".join(path for path, _ in read)
        self.current = next(
            (str(c["current-context"]) for _, c in read if c.get("current-context")), ""
        )

    def find(self, many: str, one: str, name: str) -> tuple[dict[str, Any], str]:
        """An entry, its relative paths made absolute, and the file that it is in."""
        known: list[str] = []
        for path, content in self._read:
            for each in content.get(many) or []:
                if not isinstance(each, dict):
                    continue
                known.append(str(each.get("name")))
                inner = each.get(one)
                if each.get("name") == name and isinstance(inner, dict | None):
                    return _absolute(inner or {}, path), path
        raise CredentialsRejected(
            f"The kubeconfig {self.named} has no {one} {name}.",
            fix=f"It has: {', '.join(known[:10]) or 'none'}.",
        )


def _is_wanted(path: str, paths: list[str]) -> bool:
    """As kubectl does: of several files those that do not exist are passed over."""
    return len(paths) == 1 or Path(path).exists()


def _read(path: str) -> tuple[str, dict[str, Any]]:
    try:
        content = yaml.safe_load(_bytes(path))
    except yaml.YAMLError as error:  # its text may quote the file
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise CredentialsRejected(
            f"The kubeconfig {path} is not YAML{where}.", fix=_FIX_FILE
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("clusters"), list | None):
        raise CredentialsRejected(f"The file {path} is not a kubeconfig.", fix=_FIX_FILE)
    return path, content


def _bytes(path: str) -> bytes:
    content = read_secret(path, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise CredentialsRejected(
            f"The credentials file {path} is larger than {MOST_BYTES // 1_000_000} MB.",
            fix=_FIX_FILE,
        )
    return content


def _absolute(entry: dict[str, Any], path: str) -> dict[str, Any]:
    base = Path(path).absolute().parent
    return {
        name: str(base / value)
        if value and isinstance(value, str) and name in (*_FILES, "tokenFile")
        else value
        for name, value in entry.items()
    }


def _refuse_commands(user: dict[str, Any], name: str, path: str) -> None:
    if "exec" in user:
        plugin = user["exec"]
        command = plugin.get("command") if isinstance(plugin, dict) else None
        words = f"runs the command `{str(command)[:100]}`" if command else "runs a command"
    elif "auth-provider" in user:
        provider = user["auth-provider"]
        kind = provider.get("name") if isinstance(provider, dict) else None
        words = f"uses the auth-provider {str(kind)[:100]}"
    else:
        return
    raise CredentialsRejected(
        f"The user {name} in the kubeconfig {path} {words} to log in. Cloudsweep runs no command "
        "that a kubeconfig names.",
        fix=_FIX_COMMAND,
    )


def _notes(cluster: dict[str, Any], name: str, server: str, path: str) -> list[str]:
    if server.startswith("http://"):
        return [f"The cluster {name} in the kubeconfig {path} is reached without TLS."]
    if cluster.get("insecure-skip-tls-verify"):
        return [
            f"The cluster {name} in the kubeconfig {path} has insecure-skip-tls-verify: "
            "nobody checked that the API server is the right one."
        ]
    return []


def _write(path: Path, encoded: Any, name: str, access: ClusterAccess) -> None:
    try:
        content = base64.b64decode(str(encoded), validate=False)
    except (binascii.Error, ValueError):
        raise CredentialsRejected(
            f"{name} of context {access.context} is not base64.", fix=_FIX_FILE
        ) from None
    path.touch(mode=0o600)
    path.write_bytes(content)


def _in_cluster(worker: Mapping[str, str], account_uid: str | None) -> ClusterAccess:
    host = worker.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise CredentialsRejected(
            "This worker has no kubeconfig and does not run in a cluster.",
            fix="Set KUBECONFIG for the workers, or name a file or a context in the account's "
            "credentials.",
        )
    return ClusterAccess(
        cluster=account_uid or worker.get("CLUSTER_NAME") or IN_CLUSTER,
        context=IN_CLUSTER,
        user="service account",
        server=f"https://{host}:{worker.get('KUBERNETES_SERVICE_PORT', '443')}",
        notes=[],
        config=None,
        environment=worker,
    )
