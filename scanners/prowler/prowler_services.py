"""How Prowler's services fall into shards: which share what they fetch, which split by region."""

from __future__ import annotations

from typing import Final

from contracts.vocabulary import Provider

REGIONAL_SERVICES: Final = frozenset(
    """
    apigateway apigatewayv2 autoscaling awslambda cloudformation codebuild cognito dynamodb ec2 ecr
    ecs efs eks elasticache elb elbv2 eventbridge guardduty kinesis macie networkfirewall opensearch
    rds redshift sagemaker secretsmanager securityhub sns sqs stepfunctions
    """.split()  # noqa: SIM905 (a table to read)
)
"""AWS services whose findings in one region do not depend on the other regions of the run.

Proven by comparing runs; not `s3`, though its buckets have regions: it reports the account's public
access block once in the home region, and follows replication from bucket to bucket.
"""

_AWS_GROUPS: Final[dict[str, str]] = {
    # With `ec2` and `vpc`, which these read.
    "compute": """
        autoscaling backup batch dlm dms documentdb drs ec2 ecr ecs efs eks elasticache elb elbv2
        emr fsx inspector2 memorydb neptune networkfirewall rds redshift ssm ssmincidents vpc
        workspaces
        """,
    # With `cloudtrail`, which `awslambda` and `kms` read.
    "applications": """
        amplify apigateway apigatewayv2 appsync awslambda cloudtrail cloudwatch cognito
        elasticbeanstalk eventbridge firehose kafka kinesis kms lightsail mq ses sns sqs
        stepfunctions transfer
        """,
    # With `iam`, `s3` and the edge, which these read.
    "identity": """
        account accessanalyzer acm acmpca bedrock cloudfront codebuild config fms globalaccelerator
        guardduty iam macie organizations resourceexplorer2 rolesanywhere route53 s3 securityhub
        servicecatalog shield trustedadvisor waf wafv2 wellarchitected
        """,
    # Everything else, a service that this table does not know yet too.
    "data": "",
}
_OTHER_GROUPS: Final[dict[Provider, dict[str, str]]] = {
    Provider.AZURE: {
        "identity": "entra iam policy defender monitor logs",
        "resources": "",
    },
    Provider.GCP: {
        "identity": "iam apikeys logging monitoring",
        "resources": "",
    },
    Provider.KUBERNETES: {"cluster": ""},
}


def group_names(provider: Provider) -> list[str]:
    """The groups of a provider; the last one takes every service that is in no other."""
    return list(_groups(provider))


def group_of(provider: Provider, service: str) -> str:
    """The group that a service belongs to."""
    groups = _groups(provider)
    for name, services in groups.items():
        if service in services.split():
            return name
    return list(groups)[-1]


def _groups(provider: Provider) -> dict[str, str]:
    return _AWS_GROUPS if provider is Provider.AWS else _OTHER_GROUPS[provider]
