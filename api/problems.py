"""The one place where errors become RFC 9457 problem+json."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from api.wording import field_errors
from contracts.errors import (
    CloudsweepError,
    Conflict,
    CredentialsRejected,
    DatabaseUnavailable,
    EngineUnavailable,
    NotFound,
    ScopeInvalid,
    TargetInvalid,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

STATUS: dict[type[CloudsweepError], int] = {
    NotFound: 404,
    Conflict: 409,
    ScopeInvalid: 422,
    TargetInvalid: 422,
    CredentialsRejected: 422,
}
"""What a caller can act on. Every error that is not here nor in UNREACHABLE is ours: a 500."""

UNREACHABLE: dict[type[CloudsweepError], tuple[str, str]] = {
    DatabaseUnavailable: (
        "PostgreSQL cannot be reached.",
        "Start it (`cloudsweep up`), or check CLOUDSWEEP_DATABASE_URL. Then repeat the call.",
    ),
    EngineUnavailable: (
        "Temporal cannot be reached.",
        "Start it (`cloudsweep up`), or check TEMPORAL_ADDRESS. Then repeat the call.",
    ),
}
"""What callers read of these; the error's own words hold a driver's message, for the log."""

CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    422: "invalid_input",
    503: "unavailable",
}


class FieldError(BaseModel):
    """One field of the input that is wrong, and how to put it right."""

    field: str = Field(examples=["severity"])
    message: str = Field(examples=["`hgih` is not allowed. Allowed: low, medium, high."])


class ProblemDetails(BaseModel):
    """An error as RFC 9457 has it, with `code` for machines and `fix` for people."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:cloudsweep:problem:invalid_input"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["1 field of the request is wrong."])
    code: str = Field(examples=["invalid_input"], description="Stable name of the kind of error.")
    fix: str | None = Field(None, description="What to do about it, where there is one thing.")
    errors: list[FieldError] | None = Field(None, description="Only for input: field by field.")
    scan_id: str | None = Field(None, description="The scan that was queued but not started.")
    request_id: str | None = Field(None, description="Names this request in the server's log.")


class Refusal(Exception):
    """A request that the API itself answers with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        fix: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        scan_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.fix = fix
        self.errors = errors
        self.headers = dict(headers or {})
        self.scan_id = scan_id


def respond(error: Exception, request_id: str | None = None) -> Response:
    """The problem+json answer to any error; says nothing of code, drivers or secrets."""
    refusal = _as_refusal(error)
    code = refusal.code or CODES.get(refusal.status, "error")
    problem = ProblemDetails(
        type=f"urn:cloudsweep:problem:{code}",
        title=HTTPStatus(refusal.status).phrase,
        status=refusal.status,
        detail=refusal.detail,
        code=code,
        fix=refusal.fix,
        errors=[FieldError(field=field, message=message) for field, message in refusal.errors]
        or None,
        scan_id=refusal.scan_id,
        request_id=request_id,
    )
    headers = refusal.headers
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=refusal.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def _as_refusal(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case RequestValidationError():
            errors = field_errors(error)
            count = "1 field" if len(errors) == 1 else f"{len(errors)} fields"
            verb = "is" if len(errors) == 1 else "are"
            return Refusal(422, f"{count} of the request {verb} wrong.", errors=errors)
        case CloudsweepError() if type(error) in UNREACHABLE:
            logger.warning("%s", error)
            detail, fix = UNREACHABLE[type(error)]
            return Refusal(503, detail, code=error.code, fix=fix)
        case CloudsweepError() if type(error) in STATUS:
            field = error.field if isinstance(error, ScopeInvalid | TargetInvalid) else None
            return Refusal(
                STATUS[type(error)],
                error.message,
                code=error.code,
                fix=error.fix,
                errors=[(field, _with_fix(error))] if field else (),
            )
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):  # FastAPI's, of a body
            errors = [("body", "It cannot be read as JSON.")]
            return Refusal(422, "1 field of the request is wrong.", errors=errors)
        case HTTPException(status_code=status) if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Refusal(status, _http_detail(error), headers=error.headers)
        case _:
            return Refusal(
                500,
                "Cloudsweep failed to answer this request.",
                code="internal_error",
                fix="Look for the request_id in the API's log, which has the cause.",
            )


def _with_fix(error: CloudsweepError) -> str:
    return f"{error.message} {error.fix}" if error.fix else error.message


def _http_detail(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "There is nothing at this address. /docs shows every call."
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            return f"This address does not take this method. It takes {allowed}."
        case _:
            return str(error.detail)


async def _handle(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of one route; an address may have several.
        path = getattr(request.scope.get("route"), "path", "")
        methods = request.app.openapi()["paths"].get(path, {"get": {}})
        error.headers = {"Allow": ", ".join(sorted(method.upper() for method in methods))}
    return respond(error, request.scope.get("request_id"))


def install(app: FastAPI) -> None:
    """Answer every error that a route raises with a problem; unforeseen ones go further out."""
    known: tuple[Any, ...] = (HTTPException, RequestValidationError, Refusal, *STATUS, *UNREACHABLE)
    for kind in known:
        app.add_exception_handler(kind, _handle)
    # A row that does not fit its own contract is our defect: keep its content out of the answer.
    app.add_exception_handler(ResponseValidationError, _defect)


async def _defect(request: Request, error: Exception) -> Response:
    logger.error("The answer to %s does not fit its contract: %s", request.url.path, error)
    return await _handle(request, error)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` of a route: these problems, and those any route may answer."""
    words = {
        401: "The key is missing, unknown or revoked.",
        403: "The key's role does not allow this.",
        404: "No such row in this team.",
        409: "The state of the row does not allow this; `detail` says why.",
        413: "The body is larger than its limit: 1 MB, for imports CLOUDSWEEP_IMPORT_LIMIT_BYTES.",
        422: "The input is wrong; `errors` says where and how to put it right.",
        503: "PostgreSQL or Temporal cannot be reached; try again after `Retry-After` seconds.",
    }
    return {
        status: {
            "description": words[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({401, 403, 422, 503, *statuses})
    }
