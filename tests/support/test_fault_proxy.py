"""The fault proxy refuses, throttles, hangs and dies as AWS itself would."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.support.cloud import RunningCloud, client_of, demo_cloud
from tests.support.fault_proxy import FaultProxy

# One call per protocol, the code of a denial, the code of throttling.
CALLS = [
    ("ec2", "describe_volumes", "UnauthorizedOperation", "RequestLimitExceeded"),
    ("iam", "list_users", "AccessDenied", "Throttling"),  # query
    ("sns", "list_topics", "AuthorizationError", "Throttling"),  # query, its own word
    ("kms", "list_keys", "AccessDeniedException", "ThrottlingException"),  # json 1.1
    ("dynamodb", "list_tables", "AccessDeniedException", "ThrottlingException"),  # json 1.0
    ("cloudwatch", "describe_alarms", "AccessDeniedException", "ThrottlingException"),  # cbor
    ("lambda", "list_functions", "AccessDeniedException", "TooManyRequestsException"),  # rest-json
    ("route53", "list_hosted_zones", "AccessDenied", "Throttling"),  # rest-xml
    ("s3", "list_buckets", "AccessDenied", "SlowDown"),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningCloud]:
    with demo_cloud(small=True) as running:
        yield running


@pytest.fixture
def proxy(upstream: RunningCloud) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as running:
        yield running


def error_code(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize(("service", "operation", "denied", "throttled"), CALLS)
def test_a_refusal_has_the_shape_of_the_services_protocol(
    proxy: FaultProxy, service: str, operation: str, denied: str, throttled: str
) -> None:
    client = client_of(proxy.url, service)
    call = getattr(client, operation)
    call()
    proxy.deny(service)
    assert error_code(call) == denied
    proxy.clear()
    proxy.throttle()
    assert error_code(call) == throttled
    proxy.clear()
    call()


def test_a_denial_is_limited_to_its_region_and_operation(proxy: FaultProxy) -> None:
    proxy.deny("sqs", region="eu-west-1", operation="ListQueues")
    here, there = client_of(proxy.url, "sqs", "eu-west-1"), client_of(proxy.url, "sqs")
    assert error_code(here.list_queues) == "AccessDeniedException"
    there.list_queues()
    here.create_queue(QueueName="still-allowed")
    assert proxy.refused == {("sqs", "ListQueues"): 1}


def test_bodies_and_queue_urls_pass_through_unchanged(proxy: FaultProxy) -> None:
    s3 = client_of(proxy.url, "s3")
    content = bytes(range(256)) * 2000
    s3.put_object(Bucket="acme-build-artifacts", Key="a folder/ä", Body=content)
    answer = s3.get_object(Bucket="acme-build-artifacts", Key="a folder/ä")
    assert answer["Body"].read() == content
    s3.head_object(Bucket="acme-build-artifacts", Key="a folder/ä")
    sqs = client_of(proxy.url, "sqs")
    url = sqs.create_queue(QueueName="through-the-proxy")["QueueUrl"]
    assert url.startswith(proxy.url)
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"


def test_calls_are_counted_by_service_and_operation(proxy: FaultProxy) -> None:
    s3 = client_of(proxy.url, "s3")
    s3.list_buckets()
    s3.get_bucket_versioning(Bucket="acme-website")
    s3.get_bucket_policy(Bucket="acme-website")
    s3.head_bucket(Bucket="acme-website")
    client_of(proxy.url, "cloudwatch").describe_alarms()
    assert proxy.counts == {
        ("s3", "ListBuckets"): 1,
        ("s3", "GetBucketVersioning"): 1,
        ("s3", "GetBucketPolicy"): 1,
        ("s3", "HeadBucket"): 1,
        ("monitoring", "DescribeAlarms"): 1,
    }


def test_the_same_seed_throttles_the_same_calls(proxy: FaultProxy) -> None:
    iam = client_of(proxy.url, "iam")

    def throttled() -> list[bool]:
        outcomes = []
        for _ in range(40):
            try:
                iam.list_users()
                outcomes.append(False)
            except ClientError:
                outcomes.append(True)
        return outcomes

    proxy.throttle(0.5, seed=7)
    first = throttled()
    proxy.clear()
    proxy.throttle(0.5, seed=7)
    assert throttled() == first
    assert 10 <= sum(first) <= 30


def test_a_dead_endpoint_resets_and_refuses_until_it_is_revived(proxy: FaultProxy) -> None:
    iam = client_of(proxy.url, "iam")
    proxy.die_after(2)
    iam.list_users()
    iam.list_users()
    with pytest.raises(ConnectionClosedError):
        iam.list_users()
    with pytest.raises(EndpointConnectionError):
        iam.list_users()
    proxy.revive()
    iam.list_users()


def test_a_hanging_call_waits_until_it_is_cut_off(proxy: FaultProxy) -> None:
    proxy.hang("iam", operation="ListUsers")
    failures: list[Exception] = []

    def call() -> None:
        try:
            client_of(proxy.url, "iam").list_users()
        except ConnectionClosedError as error:
            failures.append(error)

    waiting = threading.Thread(target=call)
    waiting.start()
    while proxy.refused[("iam", "ListUsers")] == 0:
        waiting.join(0.05)
    client_of(proxy.url, "iam").list_roles()  # others go on
    assert waiting.is_alive()
    proxy.clear()
    waiting.join()
    assert len(failures) == 1


def test_connections_that_come_while_it_dies_are_closed_like_the_others(
    proxy: FaultProxy, upstream: RunningCloud
) -> None:
    address = ("127.0.0.1", urlsplit(proxy.url).port)
    stop = threading.Event()

    def knock() -> None:
        while not stop.is_set():
            with suppress(OSError), socket.create_connection(address, timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(100)

    knocking = [threading.Thread(target=knock) for _ in range(4)]
    for thread in knocking:
        thread.start()
    for _ in range(100):
        proxy.die()
        proxy.revive()
    stop.set()
    proxy.die()
    for thread in knocking:
        thread.join()
    gc.collect()  # a transport that nobody closed warns, and a warning fails the test
    assert proxy._connections == {}
    assert proxy._writers == set()
