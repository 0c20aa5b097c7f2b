"""What a refusal means: from exception names and error codes to our errors, with the fix.

The only place that reads names which a cloud's client library or Prowler gives to a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.accounts import (
    Credentials,
    EnvironmentCredentials,
    FileCredentials,
    KubeContextCredentials,
    ProfileCredentials,
    RoleCredentials,
)
from contracts.errors import (
    CloudsweepError,
    CredentialsRejected,
    RateLimited,
    ScannerCrashed,
    ScannerMissing,
    ScopeInvalid,
    TargetUnreachable,
)
from contracts.vocabulary import Provider
from runtime.redaction import redact


class _Rule(NamedTuple):
    names: frozenset[str]
    error: Callable[..., CloudsweepError]
    message: str
    fix: str
    text: str = ""  # a pattern that the message must match as well


def _rule(
    names: str, error: Callable[..., CloudsweepError], message: str, fix: str, text: str = ""
) -> _Rule:
    return _Rule(frozenset(names.split()), error, message, fix, text)


_AWS: Final = (
    _rule(
        "NoCredentialsError AWSNoCredentialsError PartialCredentialsError",
        CredentialsRejected,
        "No AWS credentials were found: {source}.",
        "{supply}",
    ),
    _rule(
        "ProfileNotFound AWSProfileNotFoundError",
        CredentialsRejected,
        "The AWS profile does not exist on this worker: {source}.",
        "Add the profile to the AWS configuration of every worker, or name one that is there.",
    ),
    _rule(
        "RequestTimeTooSkewed RequestExpired SignatureDoesNotMatch InvalidSignatureException "
        "AuthFailure AWSSecretAccessKeyInvalidError",
        CredentialsRejected,
        "AWS refuses the time of the request: the clock of this worker is wrong.",
        "Synchronise the worker's clock, then try again.",
        text=r"not yet current|too skewed|Signature expired|RequestTimeTooSkewed|RequestExpired",
    ),
    _rule(
        "ExpiredToken ExpiredTokenException AWSSessionTokenExpiredError TokenRefreshRequired "
        "UnauthorizedSSOTokenError SSOTokenLoadError TokenRetrievalError",
        CredentialsRejected,
        "The AWS session has expired: {source}.",
        "Renew the session (sign in again or issue new temporary credentials) on the workers, or "
        "use a role, whose sessions renew themselves.",
    ),
    _rule(
        "AssumeRole AWSAssumeRoleError",
        CredentialsRejected,
        "AWS does not let us assume the role {role}.",
        "Check that the role exists, that its trust policy names the calling identity"
        "{external_id}, and that the caller may sts:AssumeRole on it.",
        text=r"AccessDenied|not authorized to perform|Access denied",
    ),
    _rule(
        "SignatureDoesNotMatch InvalidSignatureException AWSSecretAccessKeyInvalidError",
        CredentialsRejected,
        "AWS refuses the secret access key: {source}.",
        "The secret does not belong to the access key id; set the pair again.",
    ),
    _rule(
        "InvalidClientTokenId UnrecognizedClientException InvalidAccessKeyId InvalidToken "
        "AWSAccessKeyIDInvalidError AuthFailure",
        CredentialsRejected,
        "AWS does not know the access key or token: {source}.",
        "Check that the key is active and belongs to this partition; set it again.",
    ),
    _rule(
        "AccessDenied AccessDeniedException UnauthorizedOperation",
        CredentialsRejected,
        "AWS denies even the identity call with these credentials: {source}.",
        "Allow sts:GetCallerIdentity and ec2:DescribeRegions, or attach the SecurityAudit policy.",
    ),
    _rule(
        "ConfigParseError CredentialRetrievalError InvalidConfigError",
        CredentialsRejected,
        "The AWS credentials on this worker cannot be used: {detail}",
        "{supply}",
    ),
)

_AZURE: Final = (
    _rule(
        "AzureEnvironmentVariableError",
        CredentialsRejected,
        "No Azure service principal is set: {source}.",
        "Set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET for the workers.",
    ),
    _rule(
        "AzureNoSubscriptionsError AzureInvalidProviderIdError",
        CredentialsRejected,
        "These Azure credentials see no subscription, or not the account's.",
        "Assign the Reader role on the subscription to this identity.",
    ),
    _rule(
        "AzureCredentialsError ClientAuthenticationError AzureClientAuthenticationError "
        "AzureSetUpSessionError AzureSetUpIdentityError CredentialUnavailableError",
        CredentialsRejected,
        "Azure refuses the credentials: {detail}",
        "Check the application id, tenant and secret, or sign in again on the workers.",
    ),
)

_GCP: Final = (
    _rule(
        "DefaultCredentialsError",
        CredentialsRejected,
        "No Google credentials were found: {source}.",
        "Set GOOGLE_APPLICATION_CREDENTIALS for the workers, or give the account a key file.",
    ),
    _rule(
        "GCPNoAccesibleProjectsError GCPInvalidProviderIdError",
        CredentialsRejected,
        "These Google credentials see no project, or not the account's.",
        "Grant the Viewer role on the project to this identity.",
    ),
    _rule(
        "GCPCredentialsError RefreshError GCPTestConnectionError MalformedError",
        CredentialsRejected,
        "Google refuses the credentials: {detail}",
        "Check that the key is active and the service account exists.",
    ),
)

_KUBERNETES: Final = (
    _rule(
        "KubernetesInvalidProviderIdError KubernetesInvalidKubeConfigFileError ConfigException "
        "ParserError",
        CredentialsRejected,
        "The kubeconfig cannot be used: {detail}",
        "Check the file and the name of the context on the workers.",
    ),
    _rule(
        "KubernetesAPIError ApiException ForbiddenException UnauthorizedException",
        CredentialsRejected,
        "The cluster refuses the credentials: {detail}",
        "Bind a read-only cluster role to this user or service account.",
    ),
)

_ANY: Final = (
    _rule(
        "EndpointConnectionError ConnectTimeoutError ReadTimeoutError ConnectionClosedError "
        "ConnectionError ProxyConnectionError SSLError HTTPClientError MaxRetryError "
        "ServiceRequestError TransportError KubernetesTimeoutError",
        TargetUnreachable,
        "{target} does not answer: {detail}",
        "Check the endpoint, the network and the proxy settings of the workers.",
    ),
    _rule(
        "Throttling ThrottlingException RequestLimitExceeded TooManyRequestsException SlowDown",
        RateLimited,
        "{target} throttles us at the first call.",
        "Try again later, or scan fewer accounts at a time.",
    ),
)

_ROLE: Final = _rule(
    "AssumeRole AWSAssumeRoleError",
    CredentialsRejected,
    "AWS does not give us the role {role}: {detail}",
    "Check the role's name and that its trust policy names the calling identity{external_id}.",
)

_RULES: Final[dict[Provider, tuple[_Rule, ...]]] = {
    Provider.AWS: _AWS,
    Provider.AZURE: _AZURE,
    Provider.GCP: _GCP,
    Provider.KUBERNETES: _KUBERNETES,
}


def explain(
    names: str,
    message: str,
    *,
    provider: Provider,
    credentials: Credentials,
    endpoint_url: str | None = None,
) -> CloudsweepError:
    """The error that people read, for a failure known by its class names and error codes.

    `names` is a list of words, most telling first. ScannerCrashed when nothing fits. No secret is
    in the answer: the message of the failure is redacted.
    """
    detail = redact(" ".join(message.split()), limit=400)
    words = {
        "detail": detail,
        "source": _source(credentials),
        "supply": _supply(credentials),
        "target": endpoint_url or f"{provider.value.upper()}'s API",
        "role": credentials.role_arn if isinstance(credentials, RoleCredentials) else "",
        "external_id": " with this external id" if _has_external_id(credentials) else "",
    }
    found = set(names.split())
    for rule in (*_RULES[provider], *_ANY, _ROLE):
        # What is not reachable is no fault of the credentials, whatever wraps it.
        unreachable = found & _ANY[0].names and rule.error is CredentialsRejected
        if unreachable or not found & rule.names:
            continue
        if re.search(rule.text, f"{names} {message}"):
            return rule.error(rule.message.format_map(words), fix=rule.fix.format_map(words))
    return ScannerCrashed(f"{provider.value.upper()} could not be asked: {detail or names}")


def explain_record(
    code: str,
    names: str,
    message: str,
    *,
    provider: Provider,
    credentials: Credentials,
    endpoint_url: str | None = None,
) -> CloudsweepError:
    """The error for the runner's last words."""
    detail = redact(" ".join(message.split()), limit=400)
    target = endpoint_url or f"{provider.value.upper()}'s API"
    if code == "missing":
        return ScannerMissing(
            f"Prowler's environment is incomplete: {detail}",
            fix="Run `cloudsweep scanners install prowler` on this worker; accounts other than "
            "AWS need it with --all-providers.",
        )
    if code == "scope":
        return ScopeInvalid(f"{detail}.", field="checks")
    if code == "unreachable":
        return TargetUnreachable(
            f"{target} stopped answering during the scan: {detail}",
            fix="Check the endpoint and the network of the workers.",
        )
    if code == "throttled":
        return RateLimited(
            f"{target} throttles every call: {detail}",
            fix="Scan fewer accounts or shards at a time, or at another hour.",
        )
    return explain(
        names or _codes_in(message),
        message,
        provider=provider,
        credentials=credentials,
        endpoint_url=endpoint_url,
    )


def _codes_in(message: str) -> str:
    return " ".join(re.findall(r"\((\w+)\)", message))


def _has_external_id(credentials: Credentials) -> bool:
    return isinstance(credentials, RoleCredentials) and credentials.external_id is not None


def _source(credentials: Credentials) -> str:
    """Where the credentials come from, in words."""
    match credentials:
        case EnvironmentCredentials():
            return "the worker's environment"
        case ProfileCredentials(profile=profile):
            return f"profile {profile}"
        case FileCredentials(path=path):
            return f"file {path}"
        case RoleCredentials(source=source):
            return f"{_source(source)}, from which the role is assumed"
        case KubeContextCredentials(context=context):
            return f"context {context}"
        case _:
            return credentials.kind.replace("_", " ")


def _supply(credentials: Credentials) -> str:
    match credentials:
        case EnvironmentCredentials():
            return (
                "Give the workers AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or an instance role, "
                "or choose another kind of credentials for this account."
            )
        case ProfileCredentials():
            return "Let the profile hold credentials, in the AWS configuration of every worker."
        case FileCredentials():
            return "Let the file have a [default] section with a key id and a secret key."
        case RoleCredentials(source=source):
            return _supply(source)
        case _:
            return "Check the account's credentials."
