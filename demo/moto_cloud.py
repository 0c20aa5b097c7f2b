"""The AWS-compatible server of the demo: moto in this process, with fixed ids and a fixed clock.

moto is a simulation, and three things of it are bent here so that a restarted demo cloud is the
same cloud: identifiers come from a seeded generator, creation times from a clock that stands still
where the seed says, and the code of Lambda functions is served from this endpoint, where moto
names a host of AWS that the demo must not call.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.core import responses
from moto.core.utils import method_names_from_class
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
)
from werkzeug.routing import Rule
from werkzeug.serving import make_server

from demo.moto_clients import Clients
from demo.moto_clock import Clock
from demo.moto_gaps import Wsgi, create_app

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_CODE_PATH = "/demo-cloud/code/"


class _Dispatcher(DomainDispatcherApplication):
    """moto's dispatcher; it remembers which service a host is, which costs a third of a call."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(self._create_app)  # type: ignore[arg-type]  # any WSGI application does
        self._clock = clock
        self._known: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        if host not in self._known:
            self._known[host] = super().get_backend_for_host(host)
        return self._known[host]

    def _create_app(self, service: Any) -> Wsgi:
        app = create_app(service)
        self._clock.govern_moto()  # the service's modules have only now been imported
        return app


class MotoCloud:
    """One moto server: reached without a socket while it is seeded, then served over HTTP."""

    def __init__(self) -> None:
        _lighten()
        self.clock = Clock()
        self._app = _Dispatcher(self.clock)
        self._clients = Clients(self._app)
        self._base_url = ""
        self.pages: dict[str, Callable[[], Any]] = {}
        """More that the endpoint answers, as JSON, by path."""

    def client(self, account_uid: str, service: str, region: str) -> Any:
        """A boto3 client whose calls go straight to the server in this process."""
        return self._clients.client(account_uid, service, region)

    def reseed(self, number: int) -> None:
        """Draw the identifiers that follow from seed `number`, whatever was drawn before."""
        self.clock.govern_moto()
        mock_random.seed(number)

    def fix_access_key(self, account_uid: str, user: str, key_id: str) -> None:
        """Give a user without keys one of a known id, which AWS lets nobody choose."""
        from moto.iam.models import iam_backends

        self.client(account_uid, "iam", "us-east-1").create_access_key(UserName=user)
        backend = iam_backends[account_uid]["aws"]
        key = backend.users[user].access_keys[0]
        del backend.access_keys[key.access_key_id]
        key.access_key_id = key_id
        backend.access_keys[key_id] = key

    def serve(self, listener: socket.socket) -> None:
        """Answer HTTP on a bound socket until the process ends."""
        host, port = listener.getsockname()[:2]
        self._base_url = f"http://{host}:{port}"
        _serve_lambda_code_from(self._base_url)
        server = make_server(
            host,
            port,
            self._with_demo_pages,
            threaded=True,
            request_handler=_QuietHandler,
            fd=listener.fileno(),
        )
        server.serve_forever()

    def _with_demo_pages(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in self.pages:
            page, kind = json.dumps(self.pages[path]()).encode(), "application/json"
        elif path.startswith(_CODE_PATH):
            page, kind = _lambda_code(path.removeprefix(_CODE_PATH)), "application/zip"
        else:
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(page)))])
        return [page]


def _lighten() -> None:
    """Spare what costs every call or every start and changes no answer."""
    # Which actions a service has: found out by reflection at every call.
    responses.method_names_from_class = functools.cache(method_names_from_class)  # type: ignore

    # Each of 1,400 routes compiles two functions that build its url; nothing ever builds one.
    def no_builder(*_: Any) -> Callable[..., Any]:
        return no_builder

    Rule._compile_builder = no_builder  # type: ignore[method-assign,assignment]


class _QuietHandler(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Write no line per request."""


def _serve_lambda_code_from(base_url: str) -> None:
    from moto.awslambda.models import LambdaFunction

    original = LambdaFunction.get_code

    def get_code(function: Any) -> dict[str, Any]:
        answer: dict[str, Any] = original(function)
        if "Location" in answer.get("Code", {}):
            token = base64.urlsafe_b64encode(function.function_arn.encode()).decode()
            answer["Code"]["Location"] = f"{base_url}{_CODE_PATH}{token}"
        return answer

    LambdaFunction.get_code = get_code  # type: ignore  # replacing it is the purpose


def _lambda_code(token: str) -> bytes:
    from moto.awslambda.models import lambda_backends

    arn = base64.urlsafe_b64decode(token).decode()
    region, account_uid = arn.split(":")[3:5]
    function = lambda_backends[account_uid][region].get_function(arn)
    return bytes(function.code_bytes)
