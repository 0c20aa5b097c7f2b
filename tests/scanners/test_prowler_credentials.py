"""From a reference to credentials to a scanner's environment, for every kind that there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.accounts import (
    CREDENTIAL_KINDS,
    AzureCliCredentials,
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    ImpersonationCredentials,
    KubeContextCredentials,
    ManagedIdentityCredentials,
    ProfileCredentials,
    RoleCredentials,
)
from contracts.errors import CredentialsRejected
from contracts.vocabulary import CLOUDS, Provider
from scanners.credentials import runner_environment
from tests.support.fake_kubernetes import write_kubeconfig

ROLE = "arn:aws:iam::123456789012:role/Audit"
WORKER = {
    "PATH": "/usr/bin",
    "HOME": "/home/worker",
    "HTTPS_PROXY": "http://proxy:3128",
    "CLOUDSWEEP_DATABASE_URL": "postgresql://cloudsweep:database-secret@host/db",
    "TEMPORAL_API_KEY": "temporal-secret",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "AWS_SESSION_TOKEN": "aws-token",
    "AWS_CONFIG_FILE": "/aws/config",
    "AZURE_CLIENT_ID": "azure-id",
    "AZURE_TENANT_ID": "azure-tenant",
    "AZURE_CLIENT_SECRET": "azure-secret",
    "AZURE_CONFIG_DIR": "/azure",
    "IDENTITY_ENDPOINT": "http://169.254.169.254",
    "GOOGLE_APPLICATION_CREDENTIALS": "/gcp/key.json",
    "KUBECONFIG": "/kube/config",
}
COMMON = {"PATH", "HOME", "HTTPS_PROXY"}


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(json.dumps({"client_id": "id", "tenant_id": "tenant", "client_secret": "s3"}))
    return str(path)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    write_kubeconfig(tmp_path / "kubeconfig", {"server": "https://cluster"}, {"token": "s3"})
    return str(tmp_path / "kubeconfig")


def made(
    provider: Provider, credentials: Credentials, **more: str
) -> tuple[dict[str, str], dict[str, object]]:
    environment = runner_environment(provider, credentials, base=WORKER, **more)
    own = {name: value for name, value in environment.env.items() if name not in COMMON}
    return own, environment.arguments


def test_aws_environment_credentials_are_the_workers_own() -> None:
    env, arguments = made(Provider.AWS, EnvironmentCredentials())
    assert env == {
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_SESSION_TOKEN": "aws-token",
        "AWS_CONFIG_FILE": "/aws/config",
    }
    assert arguments == {}


def test_an_aws_profile_excludes_the_workers_keys() -> None:
    env, arguments = made(Provider.AWS, ProfileCredentials(profile="audit"))
    assert env == {"AWS_CONFIG_FILE": "/aws/config", "AWS_PROFILE": "audit"}
    assert arguments == {"profile": "audit"}


def test_an_aws_file_is_the_only_source(secret_file: str) -> None:
    env, arguments = made(Provider.AWS, FileCredentials(path=secret_file))
    assert env == {
        "AWS_SHARED_CREDENTIALS_FILE": secret_file,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_PROFILE": "default",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert arguments == {}


@pytest.mark.parametrize("external_id", [None, "between-us"])
def test_an_aws_role_adds_itself_to_its_source(secret_file: str, external_id: str | None) -> None:
    source = FileCredentials(path=secret_file)
    credentials = RoleCredentials(role_arn=ROLE, external_id=external_id, source=source)
    env, arguments = made(Provider.AWS, credentials)
    assert env == made(Provider.AWS, source)[0]
    expected = {"role_arn": ROLE} | ({"external_id": external_id} if external_id else {})
    assert arguments == expected


def test_an_aws_endpoint_and_home_region_go_with_the_environment() -> None:
    env, _ = made(
        Provider.AWS,
        ProfileCredentials(profile="audit"),
        endpoint_url="http://127.0.0.1:5000",
        home_region="eu-west-1",
    )
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5000"
    assert env["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert env["AWS_EC2_METADATA_DISABLED"] == "true"


def test_azure_environment_credentials_are_a_service_principal() -> None:
    env, arguments = made(Provider.AZURE, EnvironmentCredentials(), account_uid="sub-1")
    assert env == {name: WORKER[name] for name in env}
    assert set(env) == {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"}
    assert arguments == {"sp_env_auth": True, "subscription_ids": ["sub-1"]}


def test_an_azure_file_becomes_environment_and_never_an_argument(secret_file: str) -> None:
    env, arguments = made(Provider.AZURE, FileCredentials(path=secret_file))
    assert env == {
        "AZURE_CLIENT_ID": "id",
        "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_SECRET": "s3",
    }
    assert arguments == {"sp_env_auth": True}


def test_azure_cli_and_managed_identity_choose_prowlers_own_ways() -> None:
    assert made(Provider.AZURE, AzureCliCredentials()) == (
        {"AZURE_CONFIG_DIR": "/azure"},
        {"az_cli_auth": True},
    )
    assert made(Provider.AZURE, ManagedIdentityCredentials()) == (
        {"IDENTITY_ENDPOINT": "http://169.254.169.254"},
        {"managed_identity_auth": True},
    )


def test_gcp_kinds(secret_file: str) -> None:
    ambient = {"GOOGLE_APPLICATION_CREDENTIALS": "/gcp/key.json"}
    assert made(Provider.GCP, EnvironmentCredentials(), account_uid="project") == (
        ambient,
        {"project_ids": ["project"]},
    )
    assert made(Provider.GCP, FileCredentials(path=secret_file)) == (
        {"GOOGLE_APPLICATION_CREDENTIALS": secret_file},
        {},
    )
    account = "scan@project.iam.example.com"
    assert made(Provider.GCP, ImpersonationCredentials(service_account=account)) == (
        ambient,
        {"impersonate_service_account": account},
    )


def test_kubernetes_kinds(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORKER, "KUBECONFIG", kubeconfig)
    assert made(Provider.KUBERNETES, EnvironmentCredentials()) == (
        {"KUBECONFIG": kubeconfig},
        {"kubeconfig_file": kubeconfig},
    )
    assert made(Provider.KUBERNETES, FileCredentials(path=kubeconfig), account_uid="c1") == (
        {},
        {"kubeconfig_file": kubeconfig, "cluster_name": "c1"},
    )
    for path in (None, kubeconfig):
        assert made(Provider.KUBERNETES, KubeContextCredentials(context="prod", path=path)) == (
            {},
            {"kubeconfig_file": kubeconfig, "context": "prod"},
        )


def test_in_a_pod_prowler_finds_its_service_account_by_itself() -> None:
    pod = {"HOME": "/nonexistent", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    found = runner_environment(Provider.KUBERNETES, EnvironmentCredentials(), base=pod)
    assert (found.env, found.arguments) == (pod, {})


def every_kind(path: str) -> dict[str, Credentials]:
    return {
        "environment": EnvironmentCredentials(),
        "profile": ProfileCredentials(profile="p"),
        "role": RoleCredentials(role_arn=ROLE),
        "file": FileCredentials(path=path),
        "azure_cli": AzureCliCredentials(),
        "managed_identity": ManagedIdentityCredentials(),
        "impersonation": ImpersonationCredentials(service_account="a@b"),
        "kube_context": KubeContextCredentials(context="prod"),
    }


@pytest.mark.parametrize("provider", CLOUDS)
def test_every_kind_works_for_its_providers_only_and_leaks_nothing(
    provider: Provider, secret_file: str, kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKER, "KUBECONFIG", kubeconfig)
    foreign = {"database-secret", "temporal-secret"}
    for kind, credentials in every_kind(
        kubeconfig if provider is Provider.KUBERNETES else secret_file
    ).items():
        if kind not in CREDENTIAL_KINDS[provider]:
            with pytest.raises(CredentialsRejected, match=kind):
                made(provider, credentials)
            continue
        env, arguments = made(provider, credentials)
        assert not foreign & set(env.values())
        secrets = {"aws-secret", "azure-secret", "s3"} & {str(v) for v in arguments.values()}
        assert not secrets
        own_prefixes = {
            Provider.AWS: ("AWS_",),
            Provider.AZURE: ("AZURE_", "IDENTITY_"),
            Provider.GCP: ("GOOGLE_",),
            Provider.KUBERNETES: ("KUBECONFIG",),
        }[provider]
        assert all(name.startswith(own_prefixes) for name in env)


def test_a_missing_an_unreadable_and_a_malformed_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected, match="does not exist"):
        made(Provider.AWS, FileCredentials(path=str(tmp_path / "absent")))
    with pytest.raises(CredentialsRejected, match="cannot be read"):
        made(Provider.GCP, FileCredentials(path=str(tmp_path)))
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"client_id": "x", "client_secret": "very-secret"}')
    with pytest.raises(CredentialsRejected, match="is not JSON with") as failure:
        made(Provider.AZURE, FileCredentials(path=str(wrong)))
    assert "very-secret" not in str(failure.value)
