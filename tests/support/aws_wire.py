"""AWS on the wire: which API call an HTTP request is, and how AWS would refuse it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import botocore.session
from botocore.exceptions import UnknownServiceError


class AwsCall(NamedTuple):
    """One API call, named as its SigV4 signature scopes it ("monitoring" is CloudWatch)."""

    service: str
    region: str
    operation: str
    protocol: str


class Refusal(NamedTuple):
    """An HTTP answer that a client library reads as an API error."""

    status: int
    headers: dict[str, str]
    body: bytes


_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([^/,\s]*)/([^/,\s]+)/aws4_request")
_CBOR_PATH = re.compile(r"^/service/[^/]+/operation/(\w+)$")
_REST = frozenset({"rest-json", "rest-xml"})

# The error code by service, else by protocol; AWS is not uniform here.
_DENIED = {
    "sns": "AuthorizationError",
    "ec2": "UnauthorizedOperation",
    "query": "AccessDenied",
    "rest-xml": "AccessDenied",
}
_THROTTLED = {
    "s3": (503, "SlowDown"),
    "lambda": (429, "TooManyRequestsException"),
    "apigateway": (429, "TooManyRequestsException"),
    "ec2": (503, "RequestLimitExceeded"),
    "query": (400, "Throttling"),
    "rest-xml": (400, "Throttling"),
}


def identify(method: str, target: str, headers: Mapping[str, str], body: bytes) -> AwsCall | None:
    """Which call this is, from the signature's scope and the body; None when not signed.

    `headers` have lower-case names. The operation is "?" when botocore knows none such.
    """
    scope = _SCOPE.search(headers.get("authorization", ""))
    if scope is None:
        return None
    region, service = scope.groups()
    path, _, query = target.partition("?")
    if cbor := _CBOR_PATH.match(path):
        return AwsCall(service, region, cbor[1], "cbor")
    if amz_target := headers.get("x-amz-target"):
        return AwsCall(service, region, amz_target.rpartition(".")[2], "json")
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(body.decode("utf-8", "replace")).get("Action")
        if action:
            return AwsCall(service, region, action[0], "ec2" if service == "ec2" else "query")
    operation, protocol = _rest_operation(service, method, unquote(path), query)
    return AwsCall(service, region, operation, protocol)


def signing_name(service: str) -> str:
    """The name in the signature's scope for a boto3 service name: cloudwatch -> monitoring."""
    try:
        return str(_session().get_service_model(service).signing_name)
    except UnknownServiceError:
        return service


def access_denied(call: AwsCall) -> Refusal:
    """What AWS answers when no policy allows the call."""
    code = _DENIED.get(call.service) or _DENIED.get(call.protocol, "AccessDeniedException")
    message = (
        f"User: arn:aws:iam::123456789012:user/auditor is not authorized to perform: "
        f"{call.service}:{call.operation} because no identity-based policy allows it"
    )
    return _refuse(call, 403, code, message)


def throttled(call: AwsCall) -> Refusal:
    """What AWS answers when calls come too fast."""
    status, code = _THROTTLED.get(call.service) or _THROTTLED.get(
        call.protocol, (400, "ThrottlingException")
    )
    return _refuse(call, status, code, "Rate exceeded")


def _refuse(call: AwsCall, status: int, code: str, message: str) -> Refusal:
    kind, text = call.protocol, f"<Code>{code}</Code><Message>{message}</Message>"
    request_id = "<RequestId>00000000-0000-4000-8000-000000000000</RequestId>"
    if kind == "ec2":
        xml = f"<Response><Errors><Error>{text}</Error></Errors>{request_id}</Response>"
    elif kind == "rest-xml" and call.service == "s3":
        xml = f"<Error>{text}{request_id}</Error>"
    elif kind in ("query", "rest-xml"):
        xml = f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error>{request_id}</ErrorResponse>"
    elif kind == "cbor":
        body = _cbor_map({"__type": f"com.amazonaws#{code}", "message": message})
        headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return Refusal(status, headers, body)
    elif kind == "rest-json":
        headers = {"content-type": "application/json", "x-amzn-errortype": code}
        return Refusal(status, headers, json.dumps({"message": message}).encode())
    else:
        headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code}
        body = json.dumps({"__type": code, "message": message}).encode()
        return Refusal(status, headers, body)
    declared = '<?xml version="1.0" encoding="UTF-8"?>' + xml
    return Refusal(status, {"content-type": "text/xml"}, declared.encode())


def _cbor_map(pairs: Mapping[str, str]) -> bytes:
    """CBOR (RFC 8949) of a small map from text to text."""

    def text(value: str) -> bytes:
        data = value.encode()
        return b"\x79" + len(data).to_bytes(2, "big") + data

    return bytes([0xA0 | len(pairs)]) + b"".join(text(k) + text(v) for k, v in pairs.items())


# ---- REST services name no operation on the wire: match method and path to botocore's models ----


class _Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    operation: str
    protocol: str


# boto3 services of a signing name, where the two names differ and the service speaks REST.
_MODELS = {
    "s3": ["s3control", "s3"],
    "elasticfilesystem": ["efs"],
    "es": ["opensearch", "es"],
    "apigateway": ["apigateway", "apigatewayv2"],
    "bedrock": ["bedrock", "bedrock-agent"],
    "ses": ["sesv2"],
    "aps": ["amp"],
    "execute-api": ["apigatewaymanagementapi"],
    "vpc-lattice": ["vpc-lattice"],
    "mobiletargeting": ["pinpoint"],
}

# Told apart by a header only; counted as the plain operation.
_SAME_ROUTE = frozenset({"CopyObject", "UploadPartCopy"})


@cache
def _session() -> Any:
    return botocore.session.get_session()


@cache
def _routes(service: str) -> list[_Route]:
    """The REST routes of a signing name, the most specific first."""
    routes = []
    for name in _MODELS.get(service, [service]):
        try:
            model = _session().get_service_model(name)
        except UnknownServiceError:
            continue
        if model.protocol not in _REST:
            continue
        for operation in model.operation_names:
            if operation in _SAME_ROUTE:
                continue
            http = model.operation_model(operation).http
            path, _, query = http["requestUri"].partition("?")
            routes.append(
                _Route(
                    http["method"],
                    _path_pattern(path),
                    frozenset(filter(None, query.split("&"))),
                    operation,
                    model.protocol,
                )
            )
    # The more query literals and the fewer placeholders, the more specific.
    routes.sort(key=lambda r: (-len(r.query), r.path.pattern.count("[^/]+"), -len(r.path.pattern)))
    return routes


def _path_pattern(template: str) -> re.Pattern[str]:
    pieces = re.split(r"\{([^}]+)\}", template.rstrip("/"))
    pattern = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            pattern += re.escape(piece)
        else:
            pattern += ".+" if piece.endswith("+") else "[^/]+"
    return re.compile(f"^{pattern}/?$")


def _rest_operation(service: str, method: str, path: str, query: str) -> tuple[str, str]:
    given = set(filter(None, query.split("&")))
    given |= {pair.partition("=")[0] for pair in given}
    routes = _routes(service)
    for route in routes:
        if route.method == method and route.query <= given and route.path.match(path):
            return route.operation, route.protocol
    return "?", routes[0].protocol if routes else "rest-json"
