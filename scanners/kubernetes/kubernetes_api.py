"""One cluster's API server, asked for JSON: bounded in time, in size and in tries.

Facts that shape this file:
- The official client's models cost ten times what JSON costs, so its answers are taken as they are.
- Importing it takes seconds and 80 MB, so it is left to the first account that needs it.
- Its own errors and debug log quote bodies and headers: none of its texts go further than here.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

from contracts.errors import CredentialsRejected, TargetUnreachable
from contracts.vocabulary import ErrorClass
from runtime.redaction import redact
from scanners.kubernetes.kubeconfig import ClusterAccess, with_files
from scanners.processes.process import private_directory

PAGE: Final = 500
PAGE_BYTES: Final = 64_000_000
"""An object may have a megabyte and a half; a page of those that we ask for whole has 5 MB."""
JSON: Final = "application/json"
METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Metadata or nothing: a server that knows no such form refuses, it does not send it all."""

_FIX_REACH: Final = "Check the server of the kubeconfig, the network and the proxy of the workers."
_FIX_TRUST: Final = (
    "Let certificate-authority(-data) in the kubeconfig name the authority that signed the "
    "certificate of this API server, and `server` (or tls-server-name) a name that stands in it."
)


class Limits(NamedTuple):
    """How long we wait, and how often we ask again."""

    connect_seconds: float = 10.0
    request_seconds: float = 60.0
    tries: int = 4
    wait_seconds: float = 1.0
    """Before the second try of what failed at the server; doubled each time."""
    longest_wait_seconds: float = 30.0
    """What a Retry-After may ask for."""


class Refused(Exception):
    """One request was refused, or failed to the last try; the words are safe to show."""

    def __init__(self, error_class: ErrorClass, words: str) -> None:
        super().__init__(words)
        self.error_class = error_class
        self.words = words


class Expired(Exception):
    """410: the list we were paging through is no longer kept."""


class _Again(Exception):
    """This try failed, the next may not."""

    def __init__(self, refused: Refused, after: float | None = None) -> None:
        super().__init__(refused.words)
        self.refused = refused
        self.after = after


class Api:
    """The requests that we make. Raises CredentialsRejected for 401, TargetUnreachable when nothing
    can be reached, Refused for what fails alone."""

    def __init__(self, access: ClusterAccess, client: Any, limits: Limits) -> None:
        aiohttp = import_module("aiohttp")
        self._access = access
        self._client = client
        self._limits = limits
        self._errors: Any = aiohttp
        self._timeout = aiohttp.ClientTimeout(
            total=limits.request_seconds, connect=limits.connect_seconds
        )

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, accept: str = JSON
    ) -> dict[str, Any]:
        """One JSON object; what fails at the server is asked for again."""
        return await self._tried("GET", path, query or {}, accept)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A review, which the server answers and does not keep."""
        return await self._tried("POST", path, {}, JSON, body)

    async def _tried(self, *request: Any) -> dict[str, Any]:
        wait = self._limits.wait_seconds
        tried = 1
        while True:
            try:
                return await self._once(*request)
            except _Again as again:
                if tried >= self._limits.tries:
                    raise again.refused from None
                after = min(again.after or wait, self._limits.longest_wait_seconds)
            await asyncio.sleep(after)
            tried += 1
            wait *= 2

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        errors = self._errors
        try:
            answer = await self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": accept, "Content-Type": JSON},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=self._timeout,
            )
            async with answer:
                content = await _read(answer)
        except (errors.ClientConnectorCertificateError, errors.ClientConnectorSSLError) as error:
            raise self._not_trusted(error) from None
        except errors.ServerTimeoutError:  # while connecting; a TimeoutError too
            raise self._unreachable("the connection takes too long") from None
        except TimeoutError:
            words = f"{path} gave no answer within {self._limits.request_seconds:g} s."
            raise _Again(Refused(ErrorClass.UNREACHABLE, words)) from None
        except errors.ClientConnectorError as error:
            raise self._unreachable(error.os_error.strerror or "no connection") from None
        except (errors.ClientSSLError, ssl.SSLError) as error:  # such as an alert about ours
            raise self._not_trusted(error) from None
        except errors.InvalidURL:
            raise CredentialsRejected(
                f"The server of context {self._access.context} is no URL.", fix=_FIX_REACH
            ) from None
        except ValueError:  # no header can hold it; its text might
            raise CredentialsRejected(
                f"The token of context {self._access.context} is not one that can be sent.",
                fix="Let it be one line of plain characters.",
            ) from None
        except (errors.ClientError, OSError) as error:
            words = f"The answer to {path} broke off ({type(error).__name__})."
            raise _Again(Refused(ErrorClass.UNREACHABLE, words)) from None
        return self._understood(path, answer, content)

    def _understood(self, path: str, answer: Any, content: bytes | None) -> dict[str, Any]:
        status: int = answer.status
        if content is None:
            words = f"The answer to {path} has more than {PAGE_BYTES // 1_000_000} MB."
            raise Refused(ErrorClass.OTHER, words)
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if 200 <= status < 300:
            if isinstance(found, dict):
                return found
            words = f"The answer to {path} is not JSON, or not all of it."
            raise _Again(Refused(ErrorClass.UNREACHABLE, words))
        said = _said(found, status, answer.reason)
        if status == 401:
            raise CredentialsRejected(
                f"The cluster {self._access.cluster} refuses the credentials of context "
                f"{self._access.context}: {said}",
                fix="Check that the token or certificate is not expired and is of this cluster.",
            )
        if status == 410:
            raise Expired
        if status == 429:
            after = _seconds(answer.headers.get("Retry-After"))
            raise _Again(Refused(ErrorClass.THROTTLED, said), after)
        if status >= 500:
            after = _seconds(answer.headers.get("Retry-After"))
            raise _Again(Refused(ErrorClass.UNREACHABLE, said), after)
        classes = {403: ErrorClass.DENIED, 404: ErrorClass.NOT_IMPLEMENTED}
        raise Refused(classes.get(status, ErrorClass.OTHER), said)

    def _unreachable(self, why: str) -> TargetUnreachable:
        return TargetUnreachable(
            f"The API server {self._access.server} does not answer: {redact(why, limit=200)}.",
            fix=_FIX_REACH,
        )

    def _not_trusted(self, error: BaseException) -> TargetUnreachable:
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
        why = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "TLS failed"
        return TargetUnreachable(
            f"No TLS connection to the API server {self._access.server}: "
            f"{redact(str(why), limit=200)}.",
            fix=_FIX_TRUST,
        )


@asynccontextmanager
async def connected(access: ClusterAccess, limits: Limits) -> AsyncIterator[Api]:
    """An `Api` whose connections are closed at the end. Nothing is asked yet.

    Raises CredentialsRejected when the kubeconfig's certificates or key cannot be used.
    """
    library = await asyncio.to_thread(import_module, "kubernetes_asyncio.client")
    loaders = await asyncio.to_thread(import_module, "kubernetes_asyncio.config")
    configuration = library.Configuration()
    with private_directory() as directory:  # the certificates are read when the client is made
        try:
            if access.config is None:
                loaders.load_incluster_config(configuration, environ=access.environment)
            else:
                await loaders.load_kube_config_from_dict(
                    with_files(access, directory), client_configuration=configuration
                )
            client = library.ApiClient(configuration)
        except (loaders.ConfigException, AssertionError, TypeError, ValueError, OSError) as error:
            # OSError: ssl.SSLError too. Texts may name our directory, and none says more than this.
            raise CredentialsRejected(
                f"The certificates, key or token of context {access.context} cannot be used "
                f"({type(error).__name__}).",
                fix="Check the files and data that the kubeconfig names, with kubectl.",
            ) from None
    client.user_agent = "cloudsweep"
    async with client:
        yield Api(access, client, limits)


async def _read(answer: Any) -> bytes | None:
    """The body; None when there is more of it than we take."""
    parts = bytearray()
    async for part in answer.content.iter_chunked(1 << 18):
        parts += part
        if len(parts) > PAGE_BYTES:
            answer.close()
            return None
    return bytes(parts)


def _said(found: Any, status: int, reason: str | None) -> str:
    """What the server says of a refusal, in one line."""
    message = found.get("message") if isinstance(found, dict) else None
    words = " ".join(str(message or reason or "").split())
    plain = "".join(each if each.isprintable() else "?" for each in words)
    return redact(f"{status}: {plain}", limit=300)


def _seconds(retry_after: str | None) -> float | None:
    """The API server gives seconds; a proxy in front may give a date, which we take for none."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
