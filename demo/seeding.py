"""What every part of the seed builds with: clients of one account, the clock, and owner's tags."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demo.moto_cloud import MotoCloud

HOME, IRELAND, FRANKFURT, SINGAPORE = "us-east-1", "eu-west-1", "eu-central-1", "ap-southeast-1"

_COST_CENTERS = {
    "platform": "CC-1000",
    "security": "CC-1010",
    "payments": "CC-2100",
    "storefront": "CC-2200",
    "logistics": "CC-2300",
    "data": "CC-3000",
    "growth": "CC-4000",
}


class Account:
    """One account of the demo cloud, as its seed sees it."""

    def __init__(self, cloud: MotoCloud, uid: str) -> None:
        self._cloud = cloud
        self.uid = uid

    def client(self, service: str, region: str = HOME) -> Any:
        """A boto3 client of this account."""
        return self._cloud.client(self.uid, service, region)

    def at(self, year: int, month: int, day: int) -> None:
        """What is made from now on was made at noon of that day."""
        self._cloud.clock.set(datetime(year, month, day, 12, tzinfo=UTC))


def tags(owner: str, **more: str) -> dict[str, str]:
    """The house's tags of an owner written "environment/team", such as "production/payments"."""
    env, team = owner.split("/")
    return {"env": env, "team": team, "cost-center": _COST_CENTERS[team], **more}


def tag_list(
    owner: str, key: str = "Key", value: str = "Value", **more: str
) -> list[dict[str, str]]:
    """The same as a list of key and value, under the names that the service wants."""
    return [{key: k, value: v} for k, v in tags(owner, **more).items()]


def policy(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(
    actions: str | list[str], resource: str | list[str] | None = None, **more: Any
) -> dict[str, Any]:
    """A statement that allows; `more` is Principal, Condition and the like."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, **more}
    if resource is not None:
        statement["Resource"] = resource
    return statement


def trust(principal: dict[str, Any] | str, **more: Any) -> str:
    """A role's trust policy."""
    return policy(allow("sts:AssumeRole", Principal=principal, **more))


def public_read_policy(bucket: str) -> str:
    """A bucket policy that lets everybody read every object."""
    return policy(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal="*"))


def public_access_block(closed: bool) -> dict[str, bool]:
    """A public access block that lets nothing through, or everything."""
    return {
        "BlockPublicAcls": closed,
        "IgnorePublicAcls": closed,
        "BlockPublicPolicy": closed,
        "RestrictPublicBuckets": closed,
    }
