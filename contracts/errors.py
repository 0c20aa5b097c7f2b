"""Why work failed.

CloudsweepError
├── PermanentError      retrying cannot help: fix the input, the credentials or the code
│   ├── CredentialsRejected, ScopeInvalid, TargetInvalid, ScannerMissing, ReportMalformed,
│   │   WrongAccount, StagingLost, NotFound, Conflict, ArchiveUnavailable
└── TransientError      the same call may succeed later
    ├── ScannerCrashed, ScannerTimedOut, TargetUnreachable, RateLimited,
    │   Superseded, DatabaseUnavailable, EngineUnavailable

Temporal stores the class name and matches exact names, never bases: `runtime/policies.py` lists
the permanent ones and a test compares that list with the classes here.
"""

from __future__ import annotations

from contracts.vocabulary import TargetRule

MESSAGE_LIMIT = 8_000
"""Characters of error text that may leave a process."""


class CloudsweepError(Exception):
    """A failure that people read: a safe message and, where there is one, the fix.

    `code` is what the API and `scan.error` call it; it never changes for a class.
    """

    code = "internal_error"

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message[:MESSAGE_LIMIT])
        self.message = message[:MESSAGE_LIMIT]
        self.fix = fix


class PermanentError(CloudsweepError):
    """Retrying cannot help."""


class CredentialsRejected(PermanentError):
    """The provider does not accept the account's credentials, or they are missing."""

    code = "credentials_rejected"


class ScopeInvalid(PermanentError):
    """A scan names a region, service, check or framework that does not exist, in `field`."""

    code = "scope_invalid"

    def __init__(self, message: str, *, field: str | None = None, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.field = field


class TargetInvalid(PermanentError):
    """A target may not be scanned by `rule`, or what names it in `field` cannot be read."""

    code = "target_invalid"

    def __init__(
        self,
        message: str,
        *,
        rule: TargetRule = TargetRule.MALFORMED,
        field: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.rule = rule
        self.field = field


class ScannerMissing(PermanentError):
    """The scanner is not installed on this worker."""

    code = "scanner_missing"


class ReportMalformed(PermanentError):
    """A scanner's output is not in its documented shape."""

    code = "report_malformed"


class WrongAccount(ReportMalformed):
    """The file holds findings of another account than the one that was named."""

    code = "wrong_account"


class StagingLost(PermanentError):
    """Staged rows are gone, since a crash of PostgreSQL empties unlogged tables: run it again."""

    code = "staging_lost"


class NotFound(PermanentError):
    """No such row in this team."""

    code = "not_found"


class Conflict(PermanentError):
    """The state of the row does not allow this."""

    code = "conflict"


class ArchiveUnavailable(PermanentError):
    """The directory of the archive is missing, full or not to be written: nothing is deleted."""

    code = "archive_unavailable"


class TransientError(CloudsweepError):
    """The same call may succeed later."""


class ScannerCrashed(TransientError):
    """A scanner process died or ended without a complete report."""

    code = "scanner_crashed"


class ScannerTimedOut(TransientError):
    """A scanner did not finish within its policy's time limit and was stopped."""

    code = "scanner_timed_out"


class TargetUnreachable(TransientError):
    """The provider's endpoint, Steampipe, a target or its name server does not answer."""

    code = "target_unreachable"


class RateLimited(TransientError):
    """The provider throttles us."""

    code = "rate_limited"


class Superseded(TransientError):
    """A later attempt does this work, or it has ended: what this one still says is not taken."""

    code = "superseded"


class DatabaseUnavailable(TransientError):
    """PostgreSQL cannot be reached."""

    code = "database_unavailable"


class EngineUnavailable(TransientError):
    """Temporal cannot be reached."""

    code = "engine_unavailable"
