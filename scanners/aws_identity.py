"""Asks AWS who we are: `python aws_identity.py job.json`, in a process of its own.

boto3 reads credentials from the process's environment in many places, and accounts are checked at
the same time: each check gets a process with its account's environment. Needs boto3 and nothing of
ours. Writes one JSON object: {"account_uid", "principal", "regions"} or {"names", "message"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


def main() -> None:
    """Answer the job {"region", "regions"?, "profile"?, "role_arn"?, "external_id"?}."""
    job = json.loads(Path(sys.argv[1]).read_bytes())
    sys.stdout.write(json.dumps(_answer(job)) + "\n")


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(
        connect_timeout=5, read_timeout=10, retries={"max_attempts": 3, "mode": "standard"}
    )
    region, operation = job["region"], "GetCallerIdentity"
    try:
        session = boto3.Session(profile_name=job.get("profile"), region_name=region)
        if role := job.get("role_arn"):
            # First who we are ourselves: without it a refused key would look like a refused role.
            session.client("sts", config=config).get_caller_identity()
            operation = "AssumeRole"
            arguments = {"RoleArn": role, "RoleSessionName": "cloudsweep-check"}
            if external_id := job.get("external_id"):
                arguments["ExternalId"] = external_id
            keys = session.client("sts", config=config).assume_role(**arguments)["Credentials"]
            operation = "GetCallerIdentity"
            session = boto3.Session(
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
                region_name=region,
            )
        caller = session.client("sts", config=config).get_caller_identity()
        operation = "DescribeRegions"
        regions = _regions(session.client("ec2", config=config), job.get("regions"))
    except (BotoCoreError, ClientError) as error:
        names = [kind.__name__ for kind in type(error).__mro__[:-3]]
        if isinstance(error, ClientError):
            names.insert(0, str(error.response.get("Error", {}).get("Code", "")))
        return {"names": " ".join([*names, operation]), "message": str(error)}
    return {
        "account_uid": caller["Account"],
        "principal": caller["Arn"],
        "regions": regions,
    }


def _regions(ec2: Any, known: list[str] | None) -> list[str]:
    """The enabled regions; where asking is not allowed, the account's own list if it has one."""
    from botocore.exceptions import ClientError

    try:
        found = ec2.describe_regions()["Regions"]
    except ClientError as error:
        if not known or error.response.get("Error", {}).get("Code") not in DENIED:
            raise
        return sorted(known)
    return sorted(item["RegionName"] for item in found)


if __name__ == "__main__":
    main()
