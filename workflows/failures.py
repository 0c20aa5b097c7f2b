"""Reading the failures that reach a workflow: the cause, and the words to record."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError, TimeoutError

from contracts.scans import ScanError


def root_cause(error: BaseException) -> BaseException:
    """The innermost error of a failure chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def is_type(error: BaseException, name: str) -> bool:
    """True when the root cause is the application error of this name."""
    cause = root_cause(error)
    return isinstance(cause, ApplicationError) and cause.type == name


def scan_error(error: BaseException) -> ScanError:
    """What to record of a failure: the activity's own words, code and fix where it gave them."""
    cause = root_cause(error)
    if isinstance(cause, ApplicationError):
        if cause.details and isinstance(cause.details[0], dict):
            return ScanError.model_validate(cause.details[0])
        words = f"{cause.type}: {cause.message}" if cause.type else cause.message
        return ScanError(code="internal_error", message=words)
    if isinstance(cause, TimeoutError):
        return ScanError(
            code="timed_out",
            message="No worker finished this work in the time that the policy allows.",
            fix="See that workers poll this task queue, then resume the scan.",
        )
    return ScanError(code="internal_error", message=type(cause).__name__)
