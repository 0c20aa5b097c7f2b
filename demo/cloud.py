"""What is known of the demo cloud without starting it, and how to reach one that runs."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from typing import Final

PRODUCTION: Final = "123456789012"
PRODUCTION_NAME: Final = "Acme Production"
SANDBOX: Final = "111111111111"
SANDBOX_NAME: Final = "Acme Sandbox"
SANDBOX_ROLE: Final = f"arn:aws:iam::{SANDBOX}:role/CloudsweepAudit"
"""To be assumed from the production account's environment; asks for no external id."""

HOME_REGION: Final = "us-east-1"
REGIONS: Final = ("us-east-1", "eu-west-1", "eu-central-1", "ap-southeast-1")

# AWS's own documentation uses this pair everywhere; here it is user cloudsweep-auditor.
ACCESS_KEY_ID: Final = "AKIAIOSFODNN7EXAMPLE"
SECRET_ACCESS_KEY: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 (public)

DEMO_SERVICES: Final = (
    *("iam", "s3", "ec2", "vpc", "rds", "kms", "sqs", "sns", "dynamodb", "cloudtrail"),
    *("cloudwatch", "secretsmanager", "guardduty", "elbv2", "ecr", "ecs", "eks", "efs"),
    *("redshift", "awslambda"),
)
"""Services whose findings tell most in about a minute on two cores."""

STATUS_PAGE: Final = "/demo-cloud"
INVENTORY_PAGE: Final = "/demo-cloud/inventory"


def environment(url: str) -> dict[str, str]:
    """Variables that point AWS clients and scanners at a demo cloud and at nothing else."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": HOME_REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PROWLER_SKIP_OUTBOUND_HOST_CHECK": "true",
    }


def renew_inventory(url: str) -> int:
    """Let the Steampipe stand-in see what the cloud holds now; answers its number of rows.

    Needed after a change, for the stand-in holds copies. Raises OSError when the demo cloud does
    not answer or has no stand-in.
    """
    with urllib.request.urlopen(url + INVENTORY_PAGE, timeout=120) as answer:  # noqa: S310 (http)
        return int(json.load(answer)["rows"])


def is_serving(url: str) -> bool:
    """True when a seeded demo cloud answers there."""
    try:
        with urllib.request.urlopen(url + STATUS_PAGE, timeout=5) as answer:  # noqa: S310 (http)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_until_serving(url: str, *, seconds: float = 120) -> bool:
    """Wait for a demo cloud that is being seeded; False when it does not come up in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_serving(url):
            return True
        time.sleep(0.2)
    return False
