"""Around every request: its id, its numbers, and a problem for what nobody foresaw."""

from __future__ import annotations

import logging
import re
from http import HTTPMethod
from time import perf_counter
from typing import Final
from uuid import uuid4

from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.metrics import Metrics
from api.routes import BASE

logger = logging.getLogger(__name__)

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
BODY_LIMIT: Final = 1_000_000
IMPORTS: Final = f"{BASE}/imports"
METHODS: Final = frozenset(method.value for method in HTTPMethod)


class BodyLimit:
    """No body is read past its limit, whether its length was announced or not."""

    def __init__(self, app: ASGIApp, import_limit: int) -> None:
        self.app = app
        self.import_limit = import_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The one route that reads its body as a stream has a limit of its own.
        limit = self.import_limit if scope["path"] == IMPORTS else BODY_LIMIT
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            refusal = too_large(limit)
            await problems.respond(refusal, scope.get("request_id"))(scope, receive, send)
            return
        size = 0

        async def receive_counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise too_large(limit)  # FastAPI lets this one through to the problems
            return message

        await self.app(scope, receive_counted, send)


def too_large(limit: int) -> HTTPException:
    """The refusal of a body, or of what it unpacks to, above its limit."""
    return HTTPException(413, f"The body of the request is larger than {limit / 1e6:,.0f} MB.")


class RequestContext:
    """Outermost, so that every answer has an id and is counted, a 500 too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                # A key's secret, findings: nothing between here and the caller keeps a copy.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        started = perf_counter()
        self.metrics.in_progress.inc()
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            logger.exception("Request %s failed: %s %s", request_id, scope["method"], scope["path"])
            if status:  # half an answer went out: only a broken connection tells the caller
                raise
            await problems.respond(error, request_id)(scope, receive, send_with_headers)
        finally:
            self.metrics.in_progress.dec()
            self.metrics.answered(
                scope["method"] if scope["method"] in METHODS else "OTHER",
                route_template(scope),
                status,
                perf_counter() - started,
            )


def route_template(scope: Scope) -> str:
    """`/api/v1/scans/{scan_id}` for any scan; one name for all that matched nothing."""
    route = scope.get("route")
    return route.path if isinstance(route, APIRoute) else "unmatched"
