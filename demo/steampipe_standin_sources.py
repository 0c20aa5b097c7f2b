"""Where the rows of each stand-in table come from: calls to the AWS API, and which part is which.

Expressions are JMESPath on one item of the answer; those that begin with `arn:` are templates of
{region}, {account} and top-level fields of the item. Column names are the AWS plugin's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import jmespath  # type: ignore[import-untyped]  # comes with botocore, without types

Item = dict[str, Any]
Fetch = Callable[[Any], Iterable[Item]]


class Source(NamedTuple):
    """One table: how to list its items with a boto3 client, and what its columns are."""

    table: str
    service: str
    fetch: Fetch
    aka: str
    columns: str
    title: str = "Name"
    tags: str = "Tags"
    is_global: bool = False


def listing(operation: str, items: str, **arguments: Any) -> Fetch:
    """All items of a listing, page by page where the API has pages."""

    def fetch(client: Any) -> Iterator[Item]:
        if client.can_paginate(operation):
            pages = client.get_paginator(operation).paginate(**arguments)
        else:
            pages = [getattr(client, operation)(**arguments)]
        for page in pages:
            for item in jmespath.search(items, page) or []:
                yield item if isinstance(item, dict) else {"Id": item}

    return fetch


def each(
    items: Fetch, operation: str, argument: str, path: str = "Id", answer: str = "@", **more: Any
) -> Fetch:
    """Every item of a listing with a second call's answer merged into it."""

    def fetch(client: Any) -> Iterator[Item]:
        for item in items(client):
            given = {argument: jmespath.search(path, item), **more}
            found = jmespath.search(answer, getattr(client, operation)(**given))
            yield {**item, **(found or {})}

    return fetch


def tagged(
    items: Fetch, operation: str, argument: str, path: str = "Id", answer: str = "Tags", **more: Any
) -> Fetch:
    """Every item of a listing with its tags, where these are another call."""

    def fetch(client: Any) -> Iterator[Item]:
        for item in items(client):
            given = {argument: jmespath.search(path, item), **more}
            try:
                found = jmespath.search(answer, getattr(client, operation)(**given))
            except client.exceptions.ClientError:  # NoSuchTagSet and the like
                found = None
            yield {**item, "Tags": found or {}}

    return fetch


def buckets(client: Any) -> Iterator[Item]:
    """Buckets with tags and region; every one is two more calls."""
    for bucket in tagged(
        listing("list_buckets", "Buckets"), "get_bucket_tagging", "Bucket", "Name", "TagSet"
    )(client):
        place = client.get_bucket_location(Bucket=bucket["Name"])["LocationConstraint"]
        yield {**bucket, "region": place or "us-east-1"}


def kms_keys(client: Any) -> Iterator[Item]:
    """Keys under the name of their alias."""
    names = {a.get("TargetKeyId"): a["AliasName"] for a in client.list_aliases()["Aliases"]}
    described = each(listing("list_keys", "Keys"), "describe_key", "KeyId", "KeyId", "KeyMetadata")
    for key in tagged(described, "list_resource_tags", "KeyId", "KeyId")(client):
        yield {**key, "Name": names.get(key["KeyId"], key["KeyId"])}


def zones(client: Any) -> Iterator[Item]:
    """Hosted zones; their ids are answered as paths."""
    for zone in tagged(
        listing("list_hosted_zones", "HostedZones"),
        "list_tags_for_resource",
        "ResourceId",
        "Id",
        "ResourceTagSet.Tags",
        ResourceType="hostedzone",
    )(client):
        yield {**zone, "Id": zone["Id"].rpartition("/")[2]}


def hubs(client: Any) -> Iterator[Item]:
    """The Security Hub of a region that has one; the plugin passes over the others as well."""
    with suppress(client.exceptions.InvalidAccessException):
        yield client.describe_hub()


def access_keys(client: Any) -> Iterator[Item]:
    """The access keys of every user."""
    for user in client.list_users()["Users"]:
        yield from client.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]


def ecs_services(client: Any) -> Iterator[Item]:
    """The services of every cluster."""
    for cluster in client.list_clusters()["clusterArns"]:
        for arn in client.list_services(cluster=cluster)["serviceArns"]:
            yield from client.describe_services(cluster=cluster, services=[arn], include=["TAGS"])[
                "services"
            ]


def balancers(kind: str) -> Fetch:
    """Load balancers of one type, with their tags."""
    return tagged(
        listing("describe_load_balancers", f"LoadBalancers[?Type=='{kind}']"),
        "describe_tags",
        "ResourceArns",
        "[LoadBalancerArn]",
        "TagDescriptions[0].Tags",
    )


classic_balancers = tagged(
    listing("describe_load_balancers", "LoadBalancerDescriptions"),
    "describe_tags",
    "LoadBalancerNames",
    "[LoadBalancerName]",
    "TagDescriptions[0].Tags",
)

_EC2 = "arn:aws:ec2:{region}:{account}:"
_IAM = "arn:aws:iam::{account}:"
_NAME = "(Tags[?Key=='Name']|[0].Value)"


def ec2(table: str, operation: str, items: str, kind: str, identity: str, columns: str) -> Source:
    """EC2 answers all in one form: tags inside, no ARN, the name in a tag."""
    return Source(
        table,
        "ec2",
        listing(operation, items),
        f"{_EC2}{kind}/{{{identity}}}",
        columns,
        title=f"{_NAME}||{identity}",
    )
