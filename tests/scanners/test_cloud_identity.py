"""Who we are in an account; and when we are nobody, exactly why and what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.accounts import (
    Account,
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    ProfileCredentials,
    RoleCredentials,
)
from contracts.errors import CredentialsRejected, RateLimited, TargetUnreachable
from contracts.vocabulary import Provider
from demo import cloud as demo
from runtime.settings import Settings
from scanners.cloud_identity import check_identity
from scanners.prowler.prowler_errors import explain
from tests.support.cloud import RunningCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.prowler_scan import credentials_file, scanner_processes

ROLE = "arn:aws:iam::111111111111:role/Audit"


def account(
    credentials: Credentials, endpoint_url: str | None, *, uid: str | None = None
) -> Account:
    now = datetime.now(UTC)
    return Account(
        id=uuid4(),
        team_id=uuid4(),
        name="production",
        provider=Provider.AWS,
        uid=uid,
        credentials=credentials,
        regions=None,
        endpoint_url=endpoint_url,
        home_region=None,
        enabled=True,
        created_at=now,
        updated_at=now,
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> FileCredentials:
    return credentials_file(tmp_path_factory.mktemp("credentials"))


@contextmanager
def refusing_sts(status: int, code: str, message: str) -> Iterator[str]:
    """An STS that answers every call with one error, in AWS's words: moto refuses nobody."""
    body = (
        "<ErrorResponse><Error><Type>Sender</Type>"
        f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no line per request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_keys_are_known_by_account_principal_and_regions(
    audited_cloud: RunningCloud, file: FileCredentials, prowler_settings: Settings
) -> None:
    identity = await check_identity(account(file, audited_cloud.url), prowler_settings)
    assert identity.account_uid == demo.PRODUCTION
    assert identity.principal.startswith(f"arn:aws:iam::{demo.PRODUCTION}:user/")
    assert set(demo.REGIONS) <= set(identity.regions)
    assert identity.regions == sorted(identity.regions)


async def test_a_role_is_known_as_the_account_it_belongs_to(
    audited_cloud: RunningCloud, file: FileCredentials, prowler_settings: Settings
) -> None:
    role = RoleCredentials(role_arn=demo.SANDBOX_ROLE, external_id="between-us", source=file)
    identity = await check_identity(account(role, audited_cloud.url), prowler_settings)
    assert identity.account_uid == demo.SANDBOX
    assert "assumed-role" in identity.principal


async def test_the_workers_environment_is_one_kind_of_credentials(
    audited_cloud: RunningCloud, prowler_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, audited_cloud.environment[name])
    identity = await check_identity(
        account(EnvironmentCredentials(), audited_cloud.url), prowler_settings
    )
    assert identity.account_uid == demo.PRODUCTION


async def test_credentials_of_another_account_are_refused(
    audited_cloud: RunningCloud, file: FileCredentials, prowler_settings: Settings
) -> None:
    other = account(file, audited_cloud.url, uid="999999999999")
    with pytest.raises(CredentialsRejected, match=f"belong to {demo.PRODUCTION}"):
        await check_identity(other, prowler_settings)


async def test_no_credentials_at_all_is_said_so(
    audited_cloud: RunningCloud, prowler_settings: Settings
) -> None:
    with pytest.raises(CredentialsRejected, match="No AWS credentials were found") as failure:
        await check_identity(account(EnvironmentCredentials(), audited_cloud.url), prowler_settings)
    assert "AWS_ACCESS_KEY_ID" in (failure.value.fix or "")


async def test_an_unknown_profile_is_named(
    audited_cloud: RunningCloud, prowler_settings: Settings
) -> None:
    nobody = account(ProfileCredentials(profile="nobody"), audited_cloud.url)
    with pytest.raises(CredentialsRejected, match="profile nobody"):
        await check_identity(nobody, prowler_settings)


async def test_a_file_without_keys_is_told_apart_from_one_that_is_missing(
    audited_cloud: RunningCloud, prowler_settings: Settings, tmp_path: Path
) -> None:
    missing = FileCredentials(path=str(tmp_path / "credentials"))
    with pytest.raises(CredentialsRejected, match="does not exist"):
        await check_identity(account(missing, audited_cloud.url), prowler_settings)
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id = AKIA\n")
    with pytest.raises(CredentialsRejected, match=r"profile does not exist|No AWS credentials"):
        await check_identity(account(missing, audited_cloud.url), prowler_settings)


@pytest.mark.parametrize(
    ("status", "code", "message", "words"),
    [
        (403, "InvalidClientTokenId", "The security token is invalid", "does not know the access"),
        (403, "ExpiredToken", "The security token has expired", "session has expired"),
        (403, "SignatureDoesNotMatch", "The signature does not match", "refuses the secret"),
        (403, "SignatureDoesNotMatch", "Signature not yet current: is later", "clock"),
        (403, "AccessDenied", "not authorized to perform", "denies even the identity call"),
    ],
)
async def test_each_refusal_has_its_own_words_and_fix(
    file: FileCredentials,
    prowler_settings: Settings,
    status: int,
    code: str,
    message: str,
    words: str,
) -> None:
    with (
        refusing_sts(status, code, message) as url,
        pytest.raises(CredentialsRejected, match=words) as failure,
    ):
        await check_identity(account(file, url), prowler_settings)
    assert failure.value.fix
    assert demo.SECRET_ACCESS_KEY not in f"{failure.value} {failure.value.fix}"
    assert demo.ACCESS_KEY_ID not in f"{failure.value} {failure.value.fix}"


async def test_throttling_is_no_refusal(file: FileCredentials, prowler_settings: Settings) -> None:
    with refusing_sts(400, "Throttling", "Rate exceeded") as url, pytest.raises(RateLimited):
        await check_identity(account(file, url), prowler_settings)


@pytest.mark.parametrize("external_id", [None, "between-us"])
async def test_a_role_that_we_may_not_assume_is_named_with_the_trust_it_needs(
    audited_cloud: RunningCloud,
    file: FileCredentials,
    prowler_settings: Settings,
    external_id: str | None,
) -> None:
    role = RoleCredentials(role_arn=ROLE, external_id=external_id, source=file)
    with FaultProxy(audited_cloud.url) as proxy:
        proxy.deny("sts", operation="AssumeRole")
        with pytest.raises(CredentialsRejected, match=ROLE) as failure:
            await check_identity(account(role, proxy.url), prowler_settings)
    assert ("external id" in (failure.value.fix or "")) == (external_id is not None)
    assert "between-us" not in f"{failure.value} {failure.value.fix}"


async def test_an_endpoint_that_does_not_answer_is_unreachable_and_leaves_no_process(
    file: FileCredentials, prowler_settings: Settings
) -> None:
    with pytest.raises(TargetUnreachable, match=r"127\.0\.0\.1:9 does not answer"):
        await check_identity(account(file, "http://127.0.0.1:9"), prowler_settings)
    assert scanner_processes() == []


@pytest.mark.parametrize(
    ("provider", "names", "error"),
    [
        (
            Provider.AZURE,
            "AzureEnvironmentVariableError AzureCredentialsError",
            "service principal",
        ),
        (
            Provider.AZURE,
            "ClientAuthenticationError AzureClientAuthenticationError",
            "Azure refuses",
        ),
        (Provider.GCP, "DefaultCredentialsError GCPSetUpSessionError", "No Google credentials"),
        (Provider.GCP, "RefreshError GCPCredentialsError", "Google refuses"),
        (Provider.KUBERNETES, "ConfigException KubernetesInvalidKubeConfigFileError", "kubeconfig"),
    ],
)
def test_other_providers_refusals_are_understood(
    provider: Provider, names: str, error: str
) -> None:
    found = explain(names, "said so", provider=provider, credentials=EnvironmentCredentials())
    assert isinstance(found, CredentialsRejected)
    assert error in found.message
    assert found.fix
