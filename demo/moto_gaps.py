"""How the demo cloud answers calls that moto does not implement: as AWS answers unknown ones.

moto itself fails with a 500 page, which AWS clients take for an outage and repeat for seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, request
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

_SCOPE = re.compile(r"/([^/]+)/aws4_request")
_XML_SERVICES = frozenset({"s3", "route53", "cloudfront"})
_MESSAGE = "The demo cloud does not implement this call."

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def create_app(service: Any) -> Wsgi:
    """moto's application for a service, made to answer its gaps; `service` None: moto has none."""
    if service is None:
        return lambda environ, start_response: _unknown(environ)(environ, start_response)
    app: Flask = create_backend_app(service)

    def no_such_call(_: Exception) -> Response:
        return _unknown(request.environ)

    def no_such_path(error: HTTPException) -> Any:
        return _unknown(request.environ) if request.routing_exception else error

    app.register_error_handler(NotImplementedError, no_such_call)
    app.register_error_handler(NotFound, no_such_path)
    app.register_error_handler(MethodNotAllowed, no_such_path)
    return app


def _unknown(environ: dict[str, Any]) -> Response:
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    service = scope[1] if scope else ""
    is_form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if is_form or service in _XML_SERVICES:
        error = f"<Error><Code>InvalidAction</Code><Message>{_MESSAGE}</Message></Error>"
        if service == "ec2":
            text = f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>"
        elif service == "s3":
            text = error
        else:
            text = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
        return Response(text, 501, content_type="text/xml")
    code = "UnknownOperationException"
    return Response(
        json.dumps({"__type": code, "message": _MESSAGE}),
        501,
        {"x-amzn-errortype": code},
        content_type="application/json",
    )
