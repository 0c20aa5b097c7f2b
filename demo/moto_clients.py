"""boto3 clients that call a WSGI application in this process: no socket, no signature, no retry.

Making a client costs more than a dozen calls, so there is one for each service; those of other
regions and accounts are copies of it that only say something else in the request's header.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import moto.core.utils as moto_utils
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from moto.core.loaders import create_loader
from werkzeug.test import EnvironBuilder, run_wsgi_app

from demo.aws_session import isolated_session


class Clients:
    """The clients of every account, service and region of one moto application."""

    def __init__(self, app: Any) -> None:
        # One copy of the service models for all of this process, moto's own sessions too.
        loader = create_loader()
        moto_utils.create_loader = lambda: loader  # type: ignore[attr-defined]  # not in __all__
        botocore.session.create_loader = lambda *_: loader
        self._app = app
        self._session = isolated_session()
        self._of_service: dict[str, Any] = {}
        self._clients: dict[tuple[str, str, str], Any] = {}

    def client(self, account_uid: str, service: str, region: str) -> Any:
        """A boto3 client; the same one for the same question."""
        key = (account_uid, service, region)
        if key not in self._clients:
            original = self._any_client(service)
            client = object.__new__(type(original))  # copy.copy recurses endlessly on a client
            vars(client).update(vars(original))
            signing_name = client.meta.service_model.signing_name
            scope = f"Credential=seed/20210101/{region}/{signing_name}/aws4_request"
            aim = {"authorization": f"AWS4-HMAC-SHA256 {scope}", "x-moto-account-id": account_uid}
            client._endpoint = copy.copy(client._endpoint)
            client._endpoint._send = partial(self._answer, aim)
            self._clients[key] = client
        return self._clients[key]

    def _any_client(self, service: str) -> Any:
        if service not in self._of_service:
            self._of_service[service] = self._session.client(
                service,
                region_name="us-east-1",
                endpoint_url="http://127.0.0.1",
                config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
            )
        return self._of_service[service]

    def _answer(self, aim: dict[str, str], request: AWSPreparedRequest) -> AWSResponse:
        url = urlsplit(request.url)
        body = request.body.read() if hasattr(request.body, "read") else request.body or b""
        body = body.encode() if isinstance(body, str) else body
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        builder = EnvironBuilder(
            path=url.path,
            base_url=f"http://{url.netloc}",
            query_string=url.query,
            method=request.method,
            headers=[*(headers | aim).items()],
            input_stream=io.BytesIO(body),
            content_length=len(body),
        )
        pieces, status, answered = run_wsgi_app(self._app, builder.get_environ())
        return AWSResponse(
            request.url, int(status.split()[0]), dict(answered), _Body(b"".join(pieces))
        )


class _Body(io.BytesIO):
    """A response body with the one method more that botocore asks of urllib3's."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()
