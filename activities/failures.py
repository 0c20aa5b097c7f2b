"""The one place where an activity's error becomes what Temporal stores and people read."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from contracts.errors import CloudsweepError, PermanentError
from contracts.scans import ScanError
from runtime import policies
from runtime.redaction import redact


class SafeFailures(Interceptor):
    """Every activity error leaves the worker bounded, redacted and with its code and fix."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _SafeFailures(next)


class _SafeFailures(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except ApplicationError:
            raise
        except CloudsweepError as error:
            raise as_application_error(error) from None
        except Exception as error:
            activity.logger.exception("Activity failed with a bug or an unknown error")
            raise ApplicationError(
                safe_words(error).message,
                type=type(error).__name__,
                non_retryable=not may_be_retried(error),
            ) from None


def safe_words(error: Exception) -> ScanError:
    """What may be stored and shown of an error."""
    if isinstance(error, CloudsweepError):
        return ScanError(
            code=error.code,
            message=redact(error.message),
            fix=redact(error.fix) if error.fix else None,
        )
    return ScanError(code="internal_error", message=redact(f"{type(error).__name__}: {error}"))


def may_be_retried(error: Exception) -> bool:
    """False when no retry can mend it, or when a bug has had its tries."""
    if isinstance(error, CloudsweepError):
        return not isinstance(error, PermanentError)
    return activity.info().attempt < policies.BUG_TRIES


def as_application_error(error: CloudsweepError, *, final: bool = False) -> ApplicationError:
    """The form that travels; `final` says that no retry may follow, whatever the class."""
    details = safe_words(error)
    return ApplicationError(
        details.message, details, type=type(error).__name__, non_retryable=final
    )
