"""Repairs and breakages of a demo account, to see findings resolve and come back.

Every function takes a boto3 client of the right service and region, and may be called twice.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from demo.seeding import public_access_block, public_read_policy


def break_bucket(s3: Any, name: str) -> None:
    """Let everybody read a bucket: its public access findings fail."""
    s3.put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration=public_access_block(False)
    )
    s3.put_bucket_policy(Bucket=name, Policy=public_read_policy(name))


def fix_bucket(s3: Any, name: str) -> None:
    """Close a bucket to the public: its public access findings pass."""
    s3.delete_bucket_policy(Bucket=name)
    s3.put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration=public_access_block(True)
    )


def delete_bucket(s3: Any, name: str) -> None:
    """Delete an empty bucket: all its findings lose their resource."""
    try:
        s3.delete_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def open_port(ec2: Any, group_id: str, port: int) -> None:
    """Open a port of a security group to the internet."""
    try:
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[_from_anywhere(port)])
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidPermission.Duplicate":
            raise


def close_port(ec2: Any, group_id: str, port: int) -> None:
    """Take that back."""
    try:
        ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[_from_anywhere(port)])
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidPermission.NotFound":
            raise


def find_group(ec2: Any, name: str) -> str:
    """The id of the first security group of that name in the client's region."""
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])
    return str(found["SecurityGroups"][0]["GroupId"])


def _from_anywhere(port: int) -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    }
