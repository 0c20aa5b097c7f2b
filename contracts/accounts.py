"""Accounts and *references* to their credentials; a secret never stands in a contract."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Contract, PlainText
from contracts.vocabulary import Provider

Name = Annotated[PlainText, Field(min_length=1, max_length=100)]
EndpointUrl = Annotated[
    str, Field(pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$", max_length=500)
]  # without user and password: an account's row holds no secret
RegionName = Annotated[str, Field(pattern=r"^[a-z0-9-]{2,40}$")]


class EnvironmentCredentials(Contract):
    """What the worker's own environment holds (any provider)."""

    kind: Literal["environment"] = "environment"


class ProfileCredentials(Contract):
    """A named profile of the worker's AWS configuration."""

    kind: Literal["profile"] = "profile"
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@+=,/-]{1,128}$")]


class FileCredentials(Contract):
    """A secret file that exists on the workers.

    AWS: INI as in `~/.aws/credentials`, profile `default`. GCP: a service-account key. Azure: JSON
    with `client_id`, `tenant_id`, `client_secret`. Kubernetes: a kubeconfig.
    """

    kind: Literal["file"] = "file"
    path: Annotated[PlainText, Field(pattern=r"^/", max_length=1000)]


class RoleCredentials(Contract):
    """An AWS role to assume, starting from `source`."""

    kind: Literal["role"] = "role"
    role_arn: Annotated[
        str, Field(pattern=r"^arn:[a-z-]+:iam::\d{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$")
    ]
    external_id: Annotated[PlainText, Field(min_length=2, max_length=1224)] | None = None
    source: Annotated[
        EnvironmentCredentials | ProfileCredentials | FileCredentials, Field(discriminator="kind")
    ] = EnvironmentCredentials()


class AzureCliCredentials(Contract):
    """The worker's `az login` session."""

    kind: Literal["azure_cli"] = "azure_cli"


class ManagedIdentityCredentials(Contract):
    """The managed identity of the machine the worker runs on (Azure)."""

    kind: Literal["managed_identity"] = "managed_identity"


class ImpersonationCredentials(Contract):
    """A GCP service account to impersonate from the worker's default credentials."""

    kind: Literal["impersonation"] = "impersonation"
    service_account: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)]


class KubeContextCredentials(Contract):
    """A context of a kubeconfig on the workers; without `path`, the worker's default one."""

    kind: Literal["kube_context"] = "kube_context"
    context: Annotated[PlainText, Field(min_length=1, max_length=253)]
    path: Annotated[PlainText, Field(pattern=r"^/", max_length=1000)] | None = None


class NoCredentials(Contract):
    """None: targets of native scans are seen from outside."""

    kind: Literal["none"] = "none"


Credentials = Annotated[
    EnvironmentCredentials
    | ProfileCredentials
    | FileCredentials
    | RoleCredentials
    | AzureCliCredentials
    | ManagedIdentityCredentials
    | ImpersonationCredentials
    | KubeContextCredentials
    | NoCredentials,
    Field(discriminator="kind"),
]

CREDENTIAL_KINDS: dict[Provider, frozenset[str]] = {
    Provider.AWS: frozenset({"environment", "profile", "role", "file"}),
    Provider.AZURE: frozenset({"environment", "file", "azure_cli", "managed_identity"}),
    Provider.GCP: frozenset({"environment", "file", "impersonation"}),
    Provider.KUBERNETES: frozenset({"environment", "file", "kube_context"}),
    Provider.NATIVE: frozenset({"none"}),
}
"""Which kinds of credential reference each provider takes."""


class NewAccount(Contract):
    """An account to scan."""

    name: Name
    provider: Provider
    uid: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="12-digit account id, subscription id, project id or cluster name; "
        "learned at the first credential check when left out.",
    )
    credentials: Credentials
    regions: Annotated[list[RegionName], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Regions to scan; all enabled ones when left out."
    )
    endpoint_url: EndpointUrl | None = Field(
        default=None, description="An AWS-compatible endpoint to use instead of AWS."
    )


class AccountChange(Contract):
    """What may change on an account; fields left out stay as they are."""

    name: Name | None = None
    credentials: Credentials | None = None
    regions: Annotated[list[RegionName], Field(min_length=1, max_length=100)] | None = None
    endpoint_url: EndpointUrl | None = None
    enabled: bool | None = None


class Account(Contract):
    """An account as the API shows it and as an activity loads it."""

    id: UUID
    team_id: UUID
    name: str
    provider: Provider
    uid: str | None
    credentials: Credentials
    regions: list[str] | None
    endpoint_url: str | None
    home_region: str | None = Field(
        description="Where account-wide findings are reported; fixed once, so that identities hold."
    )
    enabled: bool
    created_at: datetime
    updated_at: datetime


class CloudIdentity(Contract):
    """Who we are in an account, and what the credentials can see there."""

    account_uid: str
    principal: str = Field(description="ARN, application or user that the credentials belong to.")
    regions: list[str] = Field(
        default_factory=list, description="Enabled regions, sorted; empty where there are none."
    )


class AccountCheck(Contract):
    """Outcome of a credential pre-check: the identity, or exactly what is missing."""

    ok: bool
    identity: CloudIdentity | None = None
    error: str | None = None
    fix: str | None = None


class AccountRef(Contract):
    """Names an account to an activity or workflow; everything else is in its row."""

    account_id: UUID
