"""The demo account's people, roles and policies."""

from __future__ import annotations

from typing import Any, NamedTuple

from demo.seeding import Account, allow, policy, tag_list, trust

_AWS = "arn:aws:iam::aws:policy/"


class _User(NamedTuple):
    name: str
    team: str
    groups: str = ""
    console: bool = True
    mfa: bool = True
    keys: tuple[tuple[int, int, int], ...] = ()  # when each was made
    policies: tuple[str, ...] = ()  # AWS managed, attached to the user itself


_GROUPS = {
    "administrators": ["AdministratorAccess"],
    "developers": ["PowerUserAccess"],
    "data-engineers": ["AmazonS3FullAccess", "AmazonAthenaFullAccess"],
    "auditors": ["SecurityAudit", "job-function/ViewOnlyAccess"],
    "finance": ["job-function/Billing"],
    "contractors": [],
}

_USERS = [
    _User("anna.kowalski", "platform", "administrators", keys=((2025, 2, 3),)),
    _User("ben.carter", "platform", "administrators", mfa=False, keys=((2023, 5, 17),)),
    _User("chiara.rossi", "payments", "developers"),
    _User("david.okafor", "payments", "developers", keys=((2022, 11, 2), (2024, 9, 30))),
    _User("emma.lindqvist", "storefront", "developers", mfa=False),
    _User("felix.schneider", "data", "data-engineers", keys=((2024, 1, 8),)),
    _User("grace.tan", "logistics", "developers", mfa=False, keys=((2023, 8, 21),)),
    _User("hugo.martin", "security", "auditors"),
    _User("ines.costa", "growth", "finance"),
    _User("jonas.berg", "growth", "contractors", mfa=False, policies=("AmazonEC2FullAccess",)),
    _User("svc-jenkins", "platform", console=False, keys=((2021, 3, 9),),
          policies=("AdministratorAccess",)),
    _User("svc-backup", "platform", console=False, keys=((2024, 6, 11),)),
    _User("svc-erp-export", "data", console=False, keys=((2022, 2, 14), (2022, 2, 15)),
          policies=("AmazonS3FullAccess",)),
    _User("cloudsweep-auditor", "security", "auditors", console=False),
]  # fmt: skip

_POLICIES: dict[str, dict[str, Any]] = {
    "acme-break-glass": allow("*", "*"),
    "acme-ci-deploy": allow(["iam:PassRole", "lambda:*", "ecs:*", "cloudformation:*"], "*"),
    "acme-kms-operator": allow("kms:*", "*"),
    "acme-orders-read": allow(
        ["dynamodb:GetItem", "dynamodb:Query"],
        "arn:aws:dynamodb:*:123456789012:table/orders*",
    ),
    "acme-datalake-read": allow(["s3:GetObject", "s3:ListBucket"], "arn:aws:s3:::acme-datalake-*"),
    "acme-assume-anything": allow("sts:AssumeRole", "*"),
    "acme-log-writer": allow(["logs:CreateLogStream", "logs:PutLogEvents"], "*"),
    "acme-cloudtrail-admin": allow("cloudtrail:*", "*"),
    "acme-unused-2019": allow("s3:GetObject", "arn:aws:s3:::acme-legacy-exports/*"),
}


def _service(name: str) -> str:
    return trust({"Service": f"{name}.amazonaws.com"})


_ROLES: dict[str, tuple[str, list[str]]] = {
    "ecs-task-checkout": (_service("ecs-tasks"), ["acme-orders-read", "acme-log-writer"]),
    "ecs-task-execution": (
        _service("ecs-tasks"),
        ["service-role/AmazonECSTaskExecutionRolePolicy"],
    ),
    "ec2-web": (_service("ec2"), ["AmazonSSMManagedInstanceCore"]),
    "ec2-batch": (_service("ec2"), ["AdministratorAccess"]),
    "lambda-default": (_service("lambda"), ["service-role/AWSLambdaBasicExecutionRole"]),
    "lambda-payments": (_service("lambda"), ["acme-kms-operator", "acme-log-writer"]),
    "eks-cluster": (_service("eks"), ["AmazonEKSClusterPolicy"]),
    "eks-node": (_service("ec2"), ["AmazonEKSWorkerNodePolicy"]),
    "glue-etl": (_service("glue"), ["acme-datalake-read"]),
    "stepfunctions-orders": (_service("states"), ["acme-log-writer"]),
    "config-recorder": (_service("config"), ["service-role/AWS_ConfigRole"]),
    "github-actions-deploy": (
        policy(
            allow(
                "sts:AssumeRoleWithWebIdentity",
                Principal={
                    "Federated": "arn:aws:iam::123456789012:oidc-provider/"
                    "token.actions.githubusercontent.com"
                },
                Condition={
                    "StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
                },
            )
        ),
        ["acme-ci-deploy"],
    ),
    "legacy-integration": (trust({"AWS": "*"}), ["AmazonS3ReadOnlyAccess"]),
    "vendor-monitoring": (trust({"AWS": "arn:aws:iam::464622532012:root"}), ["SecurityAudit"]),
    "OrganizationAccountAccessRole": (
        trust({"AWS": "arn:aws:iam::999988887777:root"}),
        ["AdministratorAccess"],
    ),
    "CloudsweepAudit": (
        trust(
            {"AWS": "arn:aws:iam::123456789012:user/cloudsweep-auditor"},
            Condition={"StringEquals": {"sts:ExternalId": "cloudsweep-demo"}},
        ),
        ["SecurityAudit", "job-function/ViewOnlyAccess"],
    ),
}


def seed(account: Account) -> None:
    """Users, groups, policies, roles, identity providers and the password policy."""
    iam = account.client("iam")
    account.at(2021, 1, 11)
    iam.create_account_alias(AccountAlias="acme-production")
    iam.update_account_password_policy(
        MinimumPasswordLength=8, RequireNumbers=True, RequireLowercaseCharacters=True,
        RequireUppercaseCharacters=False, RequireSymbols=False, MaxPasswordAge=365,
    )  # fmt: skip
    for name, document in _POLICIES.items():
        iam.create_policy(
            PolicyName=name,
            PolicyDocument=policy(document),
            Tags=tag_list("production/platform"),
        )
    for group, attached in _GROUPS.items():
        iam.create_group(GroupName=group)
        for name in attached:
            iam.attach_group_policy(GroupName=group, PolicyArn=_AWS + name)
    for user in _USERS:
        _create_user(account, iam, user)
    _create_roles(account, iam)
    iam.put_user_policy(
        UserName="svc-backup",
        PolicyName="inline-backup",
        PolicyDocument=policy(allow(["s3:PutObject", "s3:DeleteObject"], "*")),
    )
    iam.create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com",
        ClientIDList=["sts.amazonaws.com"],
        ThumbprintList=["6938fd4d98bab03faadb97b34396831e3780aea1"],
    )
    iam.create_saml_provider(Name="okta", SAMLMetadataDocument=_SAML)


def _create_user(account: Account, iam: Any, user: _User) -> None:
    account.at(2021, 2, 1)
    iam.create_user(UserName=user.name, Tags=tag_list(f"production/{user.team}"))
    if user.groups:
        iam.add_user_to_group(UserName=user.name, GroupName=user.groups)
    if user.console:
        iam.create_login_profile(UserName=user.name, Password="Demo-only-1")  # noqa: S106 (moto)
    if user.console and user.mfa:
        device = iam.create_virtual_mfa_device(VirtualMFADeviceName=user.name)
        iam.enable_mfa_device(
            UserName=user.name,
            SerialNumber=device["VirtualMFADevice"]["SerialNumber"],
            AuthenticationCode1="123456",
            AuthenticationCode2="654321",
        )
    for name in user.policies:
        iam.attach_user_policy(UserName=user.name, PolicyArn=_AWS + name)
    for day in user.keys:
        account.at(*day)
        iam.create_access_key(UserName=user.name)


def _create_roles(account: Account, iam: Any) -> None:
    account.at(2022, 3, 7)
    for name, (document, attached) in _ROLES.items():
        iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=document,
            Tags=tag_list("production/platform"),
        )
        for attached_name in attached:
            own = attached_name in _POLICIES
            base = f"arn:aws:iam::{account.uid}:policy/" if own else _AWS
            iam.attach_role_policy(RoleName=name, PolicyArn=base + attached_name)
    for role in ("ec2-web", "ec2-batch", "eks-node"):
        iam.create_instance_profile(InstanceProfileName=role)
        iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


_SAML = (
    '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://acme.okta"'
    ' validUntil="2035-01-01T00:00:00Z"><IDPSSODescriptor protocolSupportEnumeration='
    '"urn:oasis:names:tc:SAML:2.0:protocol"/></EntityDescriptor>' + " " * 1000
)
