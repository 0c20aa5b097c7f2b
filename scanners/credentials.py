"""From a *reference* to credentials to what a scanner needs: its environment and its arguments.

A secret may only ever stand in the environment made here: never in an argument, a file, an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from contracts.accounts import (
    AzureCliCredentials,
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    ImpersonationCredentials,
    ManagedIdentityCredentials,
    ProfileCredentials,
    RoleCredentials,
)
from contracts.errors import CredentialsRejected
from contracts.vocabulary import Provider
from scanners.kubernetes.kubeconfig import files_of, read_access
from scanners.secret_files import read_secret


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMMON: Final = _words(
    "PATH HOME USER LOGNAME LANG LC_ALL "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE AWS_CA_BUNDLE "
    "PROWLER_AWS_BOTO3_RETRIES_MAX_ATTEMPTS PROWLER_AWS_BOTO3_CONNECT_TIMEOUT "
    "PROWLER_AWS_BOTO3_READ_TIMEOUT PROWLER_AWS_PARTITION"
)
"""What every scanner may see of the worker's environment; it holds no credentials."""

AMBIENT: Final[dict[Provider, tuple[str, ...]]] = {
    Provider.AWS: _words(
        "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE "
        "AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_ROLE_ARN AWS_ROLE_SESSION_NAME "
        "AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_RELATIVE_URI "
        "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN "
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE AWS_EC2_METADATA_DISABLED "
        "AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_ENDPOINT_URL"
    ),
    Provider.AZURE: _words("AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_CLIENT_SECRET"),
    Provider.GCP: _words(
        "GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT CLOUDSDK_CONFIG "
        "CLOUDSDK_AUTH_ACCESS_TOKEN GCE_METADATA_HOST"
    ),
    Provider.KUBERNETES: _words(
        "KUBECONFIG KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT CLUSTER_NAME"
    ),
}
"""What `environment` credentials add: the worker's own credentials for that provider."""

_FILES_OF_PROFILES: Final = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_AZURE_FIELDS: Final = {
    "client_id": "AZURE_CLIENT_ID",
    "tenant_id": "AZURE_TENANT_ID",
    "client_secret": "AZURE_CLIENT_SECRET",
}


class RunnerEnvironment(NamedTuple):
    """What a scanner process gets: environment (secrets allowed), arguments (never)."""

    env: dict[str, str]
    arguments: dict[str, Any]


def runner_environment(
    provider: Provider,
    credentials: Credentials,
    *,
    account_uid: str | None = None,
    endpoint_url: str | None = None,
    home_region: str = "",
    base: Mapping[str, str] | None = None,
) -> RunnerEnvironment:
    """The environment and the provider arguments that stand for a reference to credentials.

    Nothing of `base` (the worker's environment) passes but what this kind of credentials needs.
    Raises CredentialsRejected for a file that is missing, unreadable or of the wrong shape.
    """
    worker = os.environ if base is None else base
    env = _pick(worker, COMMON)
    arguments: dict[str, Any] = {}
    if provider is Provider.AWS:
        arguments = _aws(env, worker, credentials)
        if home_region:
            env["AWS_DEFAULT_REGION"] = home_region
        if endpoint_url:
            env["AWS_ENDPOINT_URL"] = endpoint_url
            env.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # no instance there to ask
    elif provider is Provider.AZURE:
        arguments = _azure(env, worker, credentials)
        if account_uid:
            arguments["subscription_ids"] = [account_uid]
    elif provider is Provider.GCP:
        arguments = _gcp(env, worker, credentials)
        if account_uid:
            arguments["project_ids"] = [account_uid]
    else:
        arguments = _kubernetes(env, worker, credentials)
        if account_uid:
            arguments["cluster_name"] = account_uid
    return RunnerEnvironment(env, arguments)


def _aws(
    env: dict[str, str], worker: Mapping[str, str], credentials: Credentials
) -> dict[str, Any]:
    match credentials:
        case EnvironmentCredentials():
            env.update(_pick(worker, AMBIENT[Provider.AWS]))
        case ProfileCredentials(profile=profile):
            # Only a profile may name other sources (`credential_process`, metadata), not we.
            env.update(_pick(worker, _FILES_OF_PROFILES))
            env["AWS_PROFILE"] = profile
            return {"profile": profile}
        case FileCredentials(path=path):
            check_file(path)
            env["AWS_SHARED_CREDENTIALS_FILE"] = path
            env["AWS_CONFIG_FILE"] = os.devnull
            env["AWS_PROFILE"] = "default"
            env["AWS_EC2_METADATA_DISABLED"] = "true"  # this file, or nothing
        case RoleCredentials(role_arn=role_arn, external_id=external_id, source=source):
            arguments = _aws(env, worker, source)
            arguments["role_arn"] = role_arn
            if external_id is not None:
                arguments["external_id"] = external_id
            return arguments
        case _:
            raise _wrong_kind(Provider.AWS, credentials)
    return {}


def _azure(
    env: dict[str, str], worker: Mapping[str, str], credentials: Credentials
) -> dict[str, Any]:
    match credentials:
        case EnvironmentCredentials():
            env.update(_pick(worker, AMBIENT[Provider.AZURE]))
            return {"sp_env_auth": True}
        case FileCredentials(path=path):
            env.update(_azure_file(path))
            return {"sp_env_auth": True}
        case AzureCliCredentials():
            env.update(_pick(worker, ["AZURE_CONFIG_DIR"]))
            return {"az_cli_auth": True}
        case ManagedIdentityCredentials():
            names = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"]
            env.update(_pick(worker, names))
            return {"managed_identity_auth": True}
        case _:
            raise _wrong_kind(Provider.AZURE, credentials)


def _gcp(
    env: dict[str, str], worker: Mapping[str, str], credentials: Credentials
) -> dict[str, Any]:
    match credentials:
        case EnvironmentCredentials():
            env.update(_pick(worker, AMBIENT[Provider.GCP]))
        case FileCredentials(path=path):
            check_file(path)
            env["GOOGLE_APPLICATION_CREDENTIALS"] = path
        case ImpersonationCredentials(service_account=service_account):
            env.update(_pick(worker, AMBIENT[Provider.GCP]))
            return {"impersonate_service_account": service_account}
        case _:
            raise _wrong_kind(Provider.GCP, credentials)
    return {}


def _kubernetes(
    env: dict[str, str], worker: Mapping[str, str], credentials: Credentials
) -> dict[str, Any]:
    paths, context = files_of(credentials, worker)
    if paths:
        read_access(credentials, worker=worker)  # which refuses what would run a command
    if isinstance(credentials, EnvironmentCredentials):
        env.update(_pick(worker, AMBIENT[Provider.KUBERNETES]))
    arguments = {"kubeconfig_file": os.pathsep.join(paths)} if paths else {}
    return arguments | ({"context": context} if context else {})


def check_file(path: str) -> None:
    """Raises CredentialsRejected when a secret file cannot be read on this worker."""
    read_secret(path, 1)


def _azure_file(path: str) -> dict[str, str]:
    check_file(path)
    try:
        content = json.loads(Path(path).read_bytes())
        return {name: str(content[field]) for field, name in _AZURE_FIELDS.items()}
    except (ValueError, KeyError, TypeError):
        raise CredentialsRejected(
            f"The credentials file {path} is not JSON with {', '.join(_AZURE_FIELDS)}.",
            fix="Write the three values of the service principal into the file as one object.",
        ) from None


def _pick(worker: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: worker[name] for name in names if worker.get(name)}


def _wrong_kind(provider: Provider, credentials: Credentials) -> CredentialsRejected:
    return CredentialsRejected(
        f"Credentials of kind {credentials.kind} do not exist for {provider}.",
        fix="Change the account's credentials to a kind that its provider takes.",
    )
