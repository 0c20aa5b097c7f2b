"""Who is asking, and what their key may do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.state import services
from contracts.errors import CloudsweepError
from contracts.keys import Caller
from contracts.vocabulary import Role
from storage import keys

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/redoc"})
"""What answers without a key. The two pages of documentation show /openapi.json, nothing else."""

OPEN_PREFIX = "/docs/assets/"

RANK = {role: rank for rank, role in enumerate(Role)}

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="An API key: `csk_…`. The first one lies in `<data dir>/admin.key`; "
    "`cloudsweep key create` makes more. Each belongs to a team and has a role: "
    "viewer, operator or admin.",
)


class Authentication:
    """No request reaches a route without a key, so that a forgotten one cannot be left open."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            scope["caller"] = await _caller(Request(scope))
        except (problems.Refusal, CloudsweepError) as error:
            response = problems.respond(error, scope.get("request_id"))
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_open(path: str) -> bool:
    """True for what answers without a key, under `/` and under `/api/v1` alike."""
    path = path.removeprefix("/api/v1")
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


async def _caller(request: Request) -> Caller:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise _unauthorized("This call needs a key.")
    if not (secret.isascii() and len(secret) <= 200):
        raise _unauthorized("This is not a key of this server.")
    async with services(request).database.transaction() as session:
        caller = await keys.authenticate(session, secret, at=datetime.now(UTC))
    if caller is None:
        raise _unauthorized("This key is unknown or revoked.")
    return caller


def _unauthorized(detail: str) -> problems.Refusal:
    return problems.Refusal(
        401,
        detail,
        fix="Send the header `Authorization: Bearer <key>`. The first admin key lies in "
        "`<data dir>/admin.key`; `cloudsweep key create` makes more.",
        headers={"WWW-Authenticate": 'Bearer realm="cloudsweep"'},
    )


async def _allowed(
    request: Request, needed: SecurityScopes, _: Annotated[object, Security(bearer)]
) -> Caller:
    caller: Caller = request.scope["caller"]
    (role,) = needed.scopes
    if RANK[caller.role] < RANK[Role(role)]:
        raise problems.Refusal(
            403,
            f"This call needs the role {role}; this key has the role {caller.role}.",
            fix="Use another key; an admin makes one with "
            f"`cloudsweep key create NAME --role {role}`.",
        )
    return caller


# The role stands as a scope, which is where OpenAPI 3.1 has the role that a call needs.
Viewer = Annotated[Caller, Security(_allowed, scopes=[Role.VIEWER])]
Operator = Annotated[Caller, Security(_allowed, scopes=[Role.OPERATOR])]
Admin = Annotated[Caller, Security(_allowed, scopes=[Role.ADMIN])]
