"""Reading kubeconfigs: which file and context count, and what is refused."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.accounts import EnvironmentCredentials, FileCredentials, KubeContextCredentials
from contracts.errors import CredentialsRejected
from contracts.vocabulary import Provider
from scanners.credentials import runner_environment
from scanners.kubernetes import kubeconfig
from scanners.kubernetes.kubeconfig import ClusterAccess, read_access, with_files
from tests.support.fake_kubernetes import write_kubeconfig

SERVER = {"server": "https://cluster.example.com:6443"}
TOKEN = {"token": "the-token-of-audit"}
EXEC = {"exec": {"command": "aws-iam-authenticator", "args": ["token", "--secret=s3cret"]}}
PROVIDER = {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/gcloud"}}}


def written(path: Path, cluster: dict[str, Any] = SERVER, user: dict[str, Any] = TOKEN) -> str:
    write_kubeconfig(path, cluster, user)
    return str(path)


def read(path: str) -> ClusterAccess:
    return read_access(FileCredentials(path=path))


@pytest.mark.parametrize(
    ("user", "words"),
    [(EXEC, "runs the command `aws-iam-authenticator`"), (PROVIDER, "the auth-provider gcp")],
    ids=["exec", "auth-provider"],
)
def test_a_user_who_logs_in_by_a_command_is_refused_with_the_file_and_the_fix(
    tmp_path: Path, user: dict[str, Any], words: str
) -> None:
    path = written(tmp_path / "config", user=user)

    with pytest.raises(CredentialsRejected, match=words) as failure:
        read(path)

    assert path in failure.value.message and "user audit" in failure.value.message
    assert failure.value.fix and "kubectl create token" in failure.value.fix
    assert "s3cret" not in f"{failure.value} {failure.value.fix}"
    with pytest.raises(CredentialsRejected, match=words):  # nor would Prowler run it
        runner_environment(Provider.KUBERNETES, FileCredentials(path=path), base={})


def test_the_command_of_another_context_is_nobodys_business(tmp_path: Path) -> None:
    path = tmp_path / "config"
    written(path)
    content = yaml.safe_load(path.read_text())
    content["users"].append({"name": "admin", "user": EXEC})
    content["contexts"].append(
        {"name": "admin", "context": {"cluster": "production", "user": "admin"}}
    )
    path.write_text(yaml.safe_dump(content))

    assert read(str(path)).user == "audit"
    with pytest.raises(CredentialsRejected, match="user admin"):
        read_access(KubeContextCredentials(context="admin", path=str(path)))


def test_a_file_that_is_missing_or_no_kubeconfig_is_told_and_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected, match="does not exist"):
        read(str(tmp_path / "absent"))
    with pytest.raises(CredentialsRejected, match="cannot be read"):
        read(str(tmp_path))
    path = tmp_path / "config"
    path.write_text("token: very-secret\n  users: [very-secret")
    with pytest.raises(CredentialsRejected, match=r"is not YAML \(line 2\)") as failure:
        read(str(path))
    assert "very-secret" not in f"{failure.value} {failure.value.fix}"
    path.write_text("[]")
    with pytest.raises(CredentialsRejected, match="is not a kubeconfig"):
        read(str(path))
    written(path, cluster={"server": "ftp://example.com"})
    with pytest.raises(CredentialsRejected, match="names no server"):
        read(str(path))


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path / "config")
    with pytest.raises(CredentialsRejected, match="has no context staging") as failure:
        read_access(KubeContextCredentials(context="staging", path=path))
    assert failure.value.fix == "It has: prod."


def test_skipped_checks_of_tls_are_noted(tmp_path: Path) -> None:
    assert read(written(tmp_path / "config")).notes == []
    [note] = read(
        written(tmp_path / "config", cluster=SERVER | {"insecure-skip-tls-verify": True})
    ).notes
    assert "insecure-skip-tls-verify" in note and str(tmp_path / "config") in note
    [note] = read(written(tmp_path / "config", cluster={"server": "http://127.0.0.1:1"})).notes
    assert "without TLS" in note


def test_of_several_files_the_first_that_says_something_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    (first / "token").write_text("the-token-in-a-file\n")
    written(first / "config", user={"tokenFile": "token"})
    written(second, cluster={"server": "https://other.example.com"})
    several = os.pathsep.join([str(tmp_path / "absent"), str(first / "config"), str(second)])

    access = read_access(EnvironmentCredentials(), worker={"KUBECONFIG": several})

    assert access.server == SERVER["server"]
    made = with_files(access, tmp_path)
    assert made["users"][0]["user"] == {"token": "the-token-in-a-file"}  # relative to its own file


def test_without_kubeconfig_the_default_file_counts_and_then_the_pod_itself(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(CredentialsRejected, match="no kubeconfig and does not run in a cluster"):
        read_access(EnvironmentCredentials(), worker=home)
    access = read_access(EnvironmentCredentials(), account_uid="blue", worker=home | pod)
    assert (access.cluster, access.server) == ("blue", "https://10.0.0.1:443")
    assert access.config is None

    (tmp_path / ".kube").mkdir()
    written(tmp_path / ".kube" / "config")
    access = read_access(EnvironmentCredentials(), worker=home | pod)
    assert (access.cluster, access.context) == ("production", "prod")


def test_a_tool_gets_a_file_of_one_context_that_only_we_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "token").write_text("the-token-of-the-pod\n")
    monkeypatch.setattr(kubeconfig, "POD_FILES", tmp_path / "pod")
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(tmp_path)}
    of_a_pod = read_access(EnvironmentCredentials(), worker=pod)
    for number, access in enumerate((read(written(tmp_path / "config")), of_a_pod)):
        directory = tmp_path / str(number)
        directory.mkdir()

        path = kubeconfig.write_alone(access, directory)

        assert path.stat().st_mode & 0o777 == 0o600
        told = read_access(FileCredentials(path=str(path)))
        assert (told.context, told.server) == (access.context, access.server)
        assert told.config is not None
        assert "token" in told.config["users"][0]["user"]


def test_what_is_embedded_becomes_files_that_only_we_read(tmp_path: Path) -> None:
    key = base64.b64encode(b"-----BEGIN PRIVATE KEY-----").decode()
    access = read(written(tmp_path / "config", user={"client-key-data": key}))
    assert key not in repr(access)

    made = with_files(access, tmp_path)

    user = made["users"][0]["user"]
    assert user == {"client-key": str(tmp_path / "client-key")}
    assert os.stat(user["client-key"]).st_mode & 0o777 == 0o600


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    key = base64.b64encode(b"-----BEGIN ENCRYPTED PRIVATE KEY-----").decode()
    access = read(written(tmp_path / "config", user={"client-key-data": key}))
    with pytest.raises(CredentialsRejected, match="is encrypted"):
        with_files(access, tmp_path)
