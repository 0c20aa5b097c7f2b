"""The demo account's keys, secrets, queues, logs, pipelines and watchmen."""

from __future__ import annotations

import json
from typing import Any

from demo.seeding import (
    FRANKFURT,
    HOME,
    IRELAND,
    SINGAPORE,
    Account,
    allow,
    policy,
    tag_list,
    tags,
)

_REGIONS = (HOME, IRELAND, FRANKFURT, SINGAPORE)

_KEYS = [  # alias, region, owner, rotated, usable by everybody
    ("acme-storage", HOME, "production/platform", True, False),
    ("acme-payments", HOME, "production/payments", True, False),
    ("acme-legacy", HOME, "production/data", False, True),
    ("acme-ebs", HOME, "production/platform", False, False),
    ("acme-storage", IRELAND, "production/platform", True, False),
    ("acme-kyc", IRELAND, "production/payments", False, False),
    ("acme-datalake", FRANKFURT, "production/data", True, False),
    ("acme-notebooks", FRANKFURT, "development/data", False, False),
    ("acme-storage", SINGAPORE, "production/platform", False, False),
]

_QUEUES = [  # name, region, owner, encrypted, open to everybody
    ("orders", HOME, "production/storefront", True, False),
    ("orders-dead", HOME, "production/storefront", True, False),
    ("payments", HOME, "production/payments", True, False),
    ("payments-dead", HOME, "production/payments", False, False),
    ("mail-outbox", HOME, "production/growth", False, False),
    ("partner-inbox", HOME, "production/logistics", False, True),
    ("image-jobs", HOME, "production/storefront", False, False),
    ("orders", IRELAND, "production/storefront", True, False),
    ("returns", IRELAND, "production/logistics", False, False),
    ("vat-checks", IRELAND, "production/payments", True, False),
    ("lake-ingest", FRANKFURT, "production/data", False, False),
    ("erasure-requests", FRANKFURT, "production/security", True, False),
    ("stock", SINGAPORE, "production/logistics", False, False),
    ("labels", SINGAPORE, "production/logistics", False, True),
]

_TOPICS = [  # name, region, owner, encrypted, open to everybody
    ("order-events", HOME, "production/storefront", True, False),
    ("alarms", HOME, "production/platform", False, False),
    ("partner-events", HOME, "production/logistics", False, True),
    ("billing-alerts", HOME, "production/payments", True, False),
    ("order-events", IRELAND, "production/storefront", True, False),
    ("alarms", IRELAND, "production/platform", False, False),
    ("lake-events", FRANKFURT, "production/data", False, False),
    ("alarms", SINGAPORE, "production/platform", False, False),
]

_SECRETS = [  # name, region, owner, rotated
    ("prod/orders/db", HOME, "production/storefront", True),
    ("prod/payments/db", HOME, "production/payments", True),
    ("prod/payments/stripe", HOME, "production/payments", False),
    ("prod/crm/api-key", HOME, "production/growth", False),
    ("staging/db", HOME, "staging/platform", False),
    ("prod/orders/db", IRELAND, "production/storefront", False),
    ("prod/kyc/vendor", IRELAND, "production/payments", False),
    ("prod/lake/snowflake", FRANKFURT, "production/data", False),
    ("prod/warehouse/db", SINGAPORE, "production/logistics", False),
]

_PARAMETERS = {
    HOME: ["/acme/prod/db-host", "/acme/prod/feature-flags", "/acme/prod/log-level",
           "/acme/prod/smtp-host", "/acme/staging/db-host", "/acme/shared/vpn-cidr"],
    IRELAND: ["/acme/prod/db-host", "/acme/prod/log-level", "/acme/prod/vat-endpoint"],
    FRANKFURT: ["/acme/lake/bucket", "/acme/lake/schedule"],
    SINGAPORE: ["/acme/prod/db-host", "/acme/prod/printer-pool"],
}  # fmt: skip

_LOG_GROUPS = {  # name: days kept, 0 is for ever
    HOME: {"/aws/lambda/order-created": 30, "/aws/lambda/payment-webhook": 365,
           "/aws/lambda/invoice-pdf": 0, "/aws/lambda/contact-form": 0, "/ecs/storefront": 30,
           "/ecs/checkout": 365, "/aws/rds/orders-us/postgresql": 90, "/acme/jenkins": 0,
           "cloudtrail/acme": 400},
    IRELAND: {"/aws/lambda/stock-sync": 0, "/aws/lambda/vat-check": 365, "/ecs/storefront": 30,
              "/aws/eks/platform/cluster": 90},
    FRANKFURT: {"/aws/lambda/lake-ingest": 0, "/aws/glue/jobs": 0, "/acme/superset": 14},
    SINGAPORE: {"/aws/lambda/label-print": 0, "/ecs/logistics": 7},
}  # fmt: skip

_ORDER_FLOW = {
    "StartAt": "Charge",
    "States": {
        "Charge": {"Type": "Pass", "Next": "Ship"},
        "Ship": {"Type": "Pass", "End": True},
    },
}


def seed(account: Account) -> None:
    """Everything that ties applications together and watches over them."""
    account.at(2022, 9, 12)
    for key in _KEYS:
        _create_key(account, *key)
    for queue in _QUEUES:
        _create_queue(account, *queue)
    for topic in _TOPICS:
        _create_topic(account, *topic)
    for name, region, owner, rotated in _SECRETS:
        _create_secret(account, name, region, owner, rotated)
    for region, names in _PARAMETERS.items():
        for name in names:
            account.client("ssm", region).put_parameter(
                Name=name, Value="see the wiki", Type="String", Tags=tag_list("production/platform")
            )
    for region, groups in _LOG_GROUPS.items():
        logs = account.client("logs", region)
        for name, days in groups.items():
            logs.create_log_group(logGroupName=name, tags=tags("production/platform"))
            if days:
                logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    _flows(account)
    _apis(account)
    _builds(account)
    _watchmen(account)


def _create_key(
    account: Account, alias: str, region: str, owner: str, rotated: bool, shared: bool
) -> None:
    kms = account.client("kms", region)
    root = {"AWS": f"arn:aws:iam::{account.uid}:root"}
    who = {"AWS": "*"} if shared else root
    key = kms.create_key(
        Description=alias,
        Policy=policy(allow("kms:*", "*", Principal=who)),
        Tags=tag_list(owner, "TagKey", "TagValue"),
    )["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=key)
    if rotated:
        kms.enable_key_rotation(KeyId=key)


def _create_queue(
    account: Account, name: str, region: str, owner: str, encrypted: bool, is_open: bool
) -> None:
    attributes = {"SqsManagedSseEnabled": "false"}
    if encrypted:
        attributes = {"KmsMasterKeyId": "alias/aws/sqs"}
    if is_open:
        arn = f"arn:aws:sqs:{region}:{account.uid}:{name}"
        attributes["Policy"] = policy(allow("sqs:SendMessage", arn, Principal="*"))
    account.client("sqs", region).create_queue(
        QueueName=name, Attributes=attributes, tags=tags(owner)
    )


def _create_topic(
    account: Account, name: str, region: str, owner: str, encrypted: bool, is_open: bool
) -> None:
    attributes = {"KmsMasterKeyId": "alias/aws/sns"} if encrypted else {}
    if is_open:
        arn = f"arn:aws:sns:{region}:{account.uid}:{name}"
        attributes["Policy"] = policy(
            allow(["sns:Publish", "sns:Subscribe"], arn, Principal={"AWS": "*"})
        )
    account.client("sns", region).create_topic(
        Name=name, Attributes=attributes, Tags=tag_list(owner)
    )


def _create_secret(account: Account, name: str, region: str, owner: str, rotated: bool) -> None:
    secrets = account.client("secretsmanager", region)
    secrets.create_secret(Name=name, SecretString="{}", Tags=tag_list(owner))
    if rotated:
        secrets.rotate_secret(SecretId=name, RotationRules={"AutomaticallyAfterDays": 30})


def _flows(account: Account) -> None:
    for name, region in (("order-fulfilment", HOME), ("refund", HOME), ("gdpr-erase", FRANKFURT)):
        account.client("stepfunctions", region).create_state_machine(
            name=name,
            definition=json.dumps(_ORDER_FLOW),
            roleArn=f"arn:aws:iam::{account.uid}:role/stepfunctions-orders",
            tags=tag_list("production/storefront", "key", "value"),
        )
    events = account.client("events")
    events.create_event_bus(Name="acme-orders", Tags=tag_list("production/storefront"))
    for name, schedule in (("nightly-export", "rate(1 day)"), ("stock-sync", "rate(1 hour)")):
        events.put_rule(Name=name, ScheduleExpression=schedule, Tags=tag_list("production/data"))


def _apis(account: Account) -> None:
    for name, region in (("storefront-api", HOME), ("partner-api", HOME), ("eu-api", IRELAND)):
        client = account.client("apigateway", region)
        api = client.create_rest_api(name=name, tags=tags("production/storefront"))["id"]
        root = client.get_resources(restApiId=api)["items"][0]["id"]
        client.put_method(
            restApiId=api,
            resourceId=root,
            httpMethod="GET",
            authorizationType="NONE" if name == "partner-api" else "AWS_IAM",
        )
        client.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
        client.create_deployment(restApiId=api, stageName="prod")
    account.client("apigatewayv2", SINGAPORE).create_api(
        Name="labels", ProtocolType="HTTP", Tags=tags("production/logistics")
    )
    cognito = account.client("cognito-idp", HOME)
    cognito.create_user_pool(
        PoolName="customers",
        Policies={"PasswordPolicy": {"MinimumLength": 8, "RequireSymbols": False}},
        MfaConfiguration="OFF",
        UserPoolTags=tags("production/storefront"),
    )


def _builds(account: Account) -> None:
    codebuild = account.client("codebuild", HOME)
    for name, environment in (
        ("storefront", []),
        ("infrastructure", [{"name": "STAGE", "value": "prod", "type": "PLAINTEXT"}]),
    ):
        codebuild.create_project(
            name=name,
            source={"type": "S3", "location": "acme-build-artifacts/source.zip"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/standard:7.0",
                "computeType": "BUILD_GENERAL1_SMALL",
                "privilegedMode": True,
                "environmentVariables": environment,
            },
            serviceRole=f"arn:aws:iam::{account.uid}:role/github-actions-deploy",
            tags=tag_list("production/platform", "key", "value"),
        )


def _watchmen(account: Account) -> None:
    trail = account.client("cloudtrail", HOME)
    trail.create_trail(
        Name="acme-organization",
        S3BucketName="acme-cloudtrail-123456789012",
        IsMultiRegionTrail=True,
        IncludeGlobalServiceEvents=True,
        EnableLogFileValidation=True,
        TagsList=tag_list("production/security"),
    )
    trail.start_logging(Name="acme-organization")
    account.client("cloudtrail", FRANKFURT).create_trail(  # made, never switched on
        Name="datalake-audit", S3BucketName="acme-datalake-raw", IsMultiRegionTrail=False
    )
    _recorder(account.client("config", HOME), account.uid)
    for region in (HOME, IRELAND):
        account.client("guardduty", region).create_detector(
            Enable=True, Tags=tags("production/security")
        )
    account.client("securityhub", HOME).enable_security_hub(Tags=tags("production/security"))
    for region in (HOME, IRELAND):
        cloudwatch = account.client("cloudwatch", region)
        for name, metric in (("checkout-errors", "Errors"), ("queue-age", "AgeOfOldestMessage")):
            cloudwatch.put_metric_alarm(
                AlarmName=name,
                Namespace="Acme",
                MetricName=metric,
                ComparisonOperator="GreaterThanThreshold",
                EvaluationPeriods=1,
                Period=300,
                Statistic="Sum",
                Threshold=5,
                AlarmActions=[f"arn:aws:sns:{region}:{account.uid}:alarms"],
                Tags=tag_list("production/platform"),
            )
    account.client("logs", HOME).put_metric_filter(
        logGroupName="cloudtrail/acme",
        filterName="root-logins",
        filterPattern='{ $.userIdentity.type = "Root" }',
        metricTransformations=[
            {"metricName": "RootLogins", "metricNamespace": "Acme", "metricValue": "1"}
        ],
    )


def _recorder(config: Any, account_uid: str) -> None:
    config.put_configuration_recorder(
        ConfigurationRecorder={
            "name": "default",
            "roleARN": f"arn:aws:iam::{account_uid}:role/config-recorder",
            "recordingGroup": {"allSupported": True, "includeGlobalResourceTypes": True},
        }
    )
    config.put_delivery_channel(
        DeliveryChannel={"name": "default", "s3BucketName": "acme-config-123456789012"}
    )
    config.start_configuration_recorder(ConfigurationRecorderName="default")
