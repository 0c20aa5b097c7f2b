"""What went wrong while Prowler ran: it swallows errors, so they are observed where they happen.

API calls are watched at the client (exact service, region and error code, logged or not), all else
through Prowler's log, whose handler runs while the exception is still being handled.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

DENIED, THROTTLED, UNREACHABLE = "denied", "throttled", "unreachable"
NOT_IMPLEMENTED, OTHER = "not_implemented", "other"
TAINTING = frozenset({DENIED, THROTTLED, UNREACHABLE})
"""Classes after which a verdict cannot be trusted. `not_implemented`: the endpoint has no such
call, so it has no such resource either. `other`: an answer that Prowler did not expect, the same
at every scan."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODES = {
    DENIED: _words(
        "AccessDenied AccessDeniedException AccessDeniedFault UnauthorizedOperation Unauthorized "
        "UnauthorizedAccess UnauthorizedException AuthorizationError AuthorizationErrorException "
        "NotAuthorized NotAuthorizedException ForbiddenException Forbidden AuthFailure "
        "KMSAccessDeniedException"
    ),
    THROTTLED: _words(
        "Throttling ThrottlingException ThrottledException RequestThrottled SlowDown "
        "RequestThrottledException TooManyRequestsException TooManyRequests "
        "PriorRequestNotComplete ProvisionedThroughputExceededException RequestLimitExceeded "
        "BandwidthLimitExceeded "
        "EC2ThrottledException TransactionInProgressException"
    ),
    NOT_IMPLEMENTED: _words(
        "NotImplemented NotImplementedException UnknownOperation UnknownOperationException "
        "InvalidAction UnsupportedOperation UnsupportedOperationException"
    ),
}
IDENTITY_CODES = _words(
    "ExpiredToken ExpiredTokenException RequestExpired InvalidClientTokenId InvalidAccessKeyId "
    "UnrecognizedClientException SignatureDoesNotMatch InvalidSignatureException "
    "MissingAuthenticationToken MissingAuthenticationTokenException TokenRefreshRequired "
    "InvalidToken NoCredentialsError PartialCredentialsError CredentialRetrievalError "
    "TokenRetrievalError UnauthorizedSSOTokenError RefreshWithMFAUnsupportedError"
)
"""The credentials themselves are refused or gone, not one permission."""

NETWORK_ERRORS = _words(
    "EndpointConnectionError ConnectTimeoutError ReadTimeoutError ConnectionClosedError "
    "ConnectionError ProxyConnectionError SSLError HTTPClientError IncompleteReadError "
    "ResponseStreamingError ConnectTimeout ReadTimeout Timeout TimeoutError ChunkedEncodingError "
    "MaxRetryError NewConnectionError NameResolutionError ProtocolError ConnectionResetError "
    "ConnectionRefusedError BrokenPipeError gaierror RemoteDisconnected ServiceRequestError "
    "ServiceResponseError TransportError"
)
# Services answer AccessDenied for a feature that is simply off; Prowler reads it as that too.
_SWITCHED_OFF = re.compile(r"\b(is|are) not (enabled|subscribed|activated)\b", re.I)
_REGION_PREFIX = re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d) --")


class Failure(NamedTuple):
    """One kind of failed call. `region` None: it may concern every region."""

    error_class: str
    service: str
    region: str | None
    operation: str
    module: str  # the service module it happened in, "" outside of one
    stack: tuple[str, ...]  # methods of that module, innermost first
    check: str  # the check that was running, "" before
    api: bool


class Place(NamedTuple):
    """Where in Prowler a call was made."""

    module: str
    stack: tuple[str, ...]
    check: str


def classify(code: str, status: int | None, message: str, *, custom_endpoint: bool) -> str:
    """The class of an API error by its code, else by its HTTP status."""
    if code in IDENTITY_CODES:
        return DENIED
    if code in CODES[DENIED]:
        return OTHER if _SWITCHED_OFF.search(message) else DENIED
    for name in (THROTTLED, NOT_IMPLEMENTED):
        if code in CODES[name]:
            return name
    if status == 429:
        return THROTTLED
    if code == str(status):  # no code in the body: the answer is not the service's own
        if status == 501 or (custom_endpoint and status in (404, 405, 500)):
            return NOT_IMPLEMENTED
        return {401: DENIED, 403: DENIED}.get(status or 0, UNREACHABLE)
    if status is not None and status >= 500:
        return UNREACHABLE
    return OTHER


class FailureLog:
    """Counts failures by kind, keeps one example of each; called from any thread.

    `on_outage(class, message)` is called when calls fail one after the other with none between
    that was answered: the endpoint is gone, throttles everything, or refuses the credentials.
    """

    OUTAGE = 25

    def __init__(
        self, services: str, endpoint: str | None, on_outage: Callable[[str, str], None]
    ) -> None:
        self._services = services  # path of Prowler's modules: prowler/providers/<p>/services/
        self._endpoint = endpoint
        self._on_outage = on_outage
        self._lock = threading.Lock()
        self._in_a_row: Counter[str] = Counter()
        self._answered: set[tuple[str, str]] = set()
        self.counts: Counter[Failure] = Counter()
        self.examples: dict[Failure, str] = {}
        self.current_check = ""

    def watch_aws(self) -> None:
        """Observe every call of every AWS client from now on."""
        from botocore.client import BaseClient

        log, make_call = self, BaseClient._make_api_call

        def observed(client: Any, operation: str, arguments: Any) -> Any:
            try:
                answer = make_call(client, operation, arguments)
            except Exception as error:
                error._cloudsweep_seen = True  # type: ignore[attr-defined]
                log.api_error(client, operation, error)
                raise
            log.answered(client.meta.service_model.service_name, operation)
            return answer

        BaseClient._make_api_call = observed

    def watch_log(self) -> None:
        """Observe what Prowler logs, WARNING and up; it is printed nowhere else."""
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self)]
        root.setLevel(logging.WARNING)

    def answered(self, service: str, operation: str) -> None:
        with self._lock:
            self._in_a_row.clear()
            self._answered.add((service, operation))

    def api_error(self, client: Any, operation: str, error: Exception) -> None:
        meta = client.meta
        name = type(error).__name__
        response = getattr(error, "response", None) or {}
        code = str(response.get("Error", {}).get("Code") or name)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if _is_probe(meta.service_model, operation, status):
            self._count_outage(OTHER, code, "")
            return  # HEAD asks whether something exists: 403 and 404 are its answers
        foreign = name in NETWORK_ERRORS and self._is_foreign_host(error)
        if name in NETWORK_ERRORS:
            error_class = NOT_IMPLEMENTED if foreign else UNREACHABLE
        elif name == "ResponseParserError":
            error_class = NOT_IMPLEMENTED if self._endpoint else UNREACHABLE
        else:
            error_class = classify(
                code, status, str(error), custom_endpoint=self._endpoint is not None
            )
        if not foreign:
            self._count_outage(error_class, code, str(error))
        if error_class == OTHER:
            return  # "no such policy" and its like: answers; logged as an error they count below
        # Prowler marks the clients that it made one per region, and gives each region or resource
        # a turn in a pool. Elsewhere a loop over all regions may have been cut short.
        in_pool = threading.current_thread() is not threading.main_thread()
        region = meta.region_name if in_pool and hasattr(client, "region") else None
        place = self._place(sys._getframe(2))
        self._add(
            Failure(error_class, meta.service_model.service_name, region, operation, *place, True),
            f"{operation}: {code}: {error}",
        )

    def logged(self, record: logging.LogRecord, error: BaseException | None) -> None:
        message = record.getMessage()
        if error is None or getattr(error, "_cloudsweep_seen", False):
            return
        if record.levelno < logging.ERROR:
            return
        error_class = self._class_of(error)
        found = _REGION_PREFIX.match(message)
        place = self._logged_place(record)
        service = place.module.split("/")[0] or place.check.split("_")[0]
        in_pool = threading.current_thread() is not threading.main_thread()
        region = found.group(1) if found and in_pool else None
        self._add(Failure(error_class, service, region, "", *place, False), message)

    def _class_of(self, error: BaseException) -> str:
        """The class of an error that no AWS client raised: other providers' clients, downloads."""
        names = {kind.__name__ for kind in type(error).__mro__}
        status = getattr(error, "status_code", None) or getattr(error, "status", None)
        if status is None:  # Google's client keeps it in the response
            status = getattr(getattr(error, "resp", None), "status", None)
        if names & NETWORK_ERRORS:
            host = urlsplit(self._endpoint or "").hostname or ""
            return UNREACHABLE if host in str(error) else NOT_IMPLEMENTED
        if isinstance(status, int):
            reason = f"{getattr(error, 'reason', '')} {error}"
            if status == 403 and "has not been used in project" in reason:
                return OTHER  # a Google API that is off
            return {401: DENIED, 403: DENIED, 429: THROTTLED, 501: NOT_IMPLEMENTED}.get(
                status, UNREACHABLE if status >= 500 else OTHER
            )
        if names & {"ClientAuthenticationError", "RefreshError", "CredentialUnavailableError"}:
            return DENIED
        return OTHER

    def final(self) -> Iterator[tuple[Failure, int, str]]:
        """Every kind of failure, its count and example.

        A bare 500 of a call that the endpoint answered elsewhere was an outage, not a missing call.
        """
        with self._lock:
            for failure, count in self.counts.items():
                kind = failure
                if (
                    failure.error_class == NOT_IMPLEMENTED
                    and failure.api
                    and (failure.service, failure.operation) in self._answered
                ):
                    kind = failure._replace(error_class=UNREACHABLE)
                yield kind, count, self.examples[failure]

    def _add(self, failure: Failure, example: str) -> None:
        with self._lock:
            self.counts[failure] += 1
            self.examples.setdefault(failure, example)

    def _count_outage(self, error_class: str, code: str, message: str) -> None:
        kind = "credentials" if code in IDENTITY_CODES else error_class
        with self._lock:
            if kind not in (UNREACHABLE, THROTTLED, "credentials"):
                self._in_a_row.clear()  # an answer, though not a welcome one
                return
            self._in_a_row[kind] += 1
            tripped = self._in_a_row[kind] == self.OUTAGE
        if tripped:
            self._on_outage(kind, message)

    def _is_foreign_host(self, error: Exception) -> bool:
        """True for a host other than the account's own endpoint: it cannot be expected there."""
        if self._endpoint is None:
            return False
        url = getattr(error, "kwargs", {}).get("endpoint_url") or ""
        return bool(url) and urlsplit(url).hostname != urlsplit(self._endpoint).hostname

    def _place(self, frame: FrameType | None) -> Place:
        module, stack, check = "", [], self.current_check
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith(self._services):
                name = path[len(self._services) :].removesuffix(".py")
                if name.endswith("_service") and module in ("", name):
                    module = name
                    stack += _method_names(frame)
            frame = frame.f_back
        return Place(module, tuple(stack), check)

    def _logged_place(self, record: logging.LogRecord) -> Place:
        name = record.pathname
        if not name.startswith(self._services):
            return Place("", (), self.current_check)
        name = name[len(self._services) :].removesuffix(".py")
        if not name.endswith("_service"):
            return Place("", (), self.current_check)
        return Place(name, (record.funcName or "",), self.current_check)


class _Handler(logging.Handler):
    def __init__(self, log: FailureLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.logged(record, sys.exc_info()[1])


def _method_names(frame: FrameType) -> list[str]:
    """`_get_users.<locals>.<lambda>` happened in `_get_users`; `<module>` in no method."""
    qualified = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
    return [part for part in reversed(qualified.split(".")) if part.isidentifier()]


def _is_probe(model: Any, operation: str, status: int | None) -> bool:
    if status not in (403, 404):
        return False
    return bool(model.operation_model(operation).http.get("method") == "HEAD")
