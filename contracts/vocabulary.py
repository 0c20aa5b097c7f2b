"""The words of the field, as enums: providers, roles, statuses, states and severities."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Provider(StrEnum):
    """A cloud or cluster that an account belongs to; `native` has the targets of native scans."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    KUBERNETES = "kubernetes"
    NATIVE = "native"


CLOUDS: Final = tuple(each for each in Provider if each is not Provider.NATIVE)
"""Providers of accounts that people add: Prowler knows each of them."""


class Role(StrEnum):
    """What an API key may do; each role may do all that the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class ScanKind(StrEnum):
    """What a scan looks at."""

    CLOUD = "cloud"
    KUBERNETES = "kubernetes"  # inventory and checks of a cluster
    KUBERNETES_DISCOVERY = "kubernetes_discovery"  # its inventory alone
    IMPORT = "import"  # findings that were read from a file
    NATIVE = "native"  # hosts, URLs, images, repositories: targets
    HYBRID = "hybrid"  # assets: the inventory, the network and targets joined


class ScanStatus(StrEnum):
    """Where a scan stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True once nothing more happens unless a person resumes the scan."""
        return self not in (ScanStatus.PENDING, ScanStatus.RUNNING, ScanStatus.PAUSED)


class TriggerKind(StrEnum):
    """What started a scan."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CASCADE = "cascade"  # a rule, from what another scan found


class TaskKind(StrEnum):
    """The kinds of shard that a scan is made of."""

    DISCOVERY = "discovery"
    COMPLIANCE = "compliance"
    NATIVE = "native"  # one tool on one target, or network discovery of one range


class TaskStatus(StrEnum):
    """Where one shard stands. `completed` means scanned *and* merged."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def done(self) -> bool:
        """True when nothing is left to run, unless a resume asks for what was throttled."""
        return self in (
            TaskStatus.COMPLETED,
            TaskStatus.COMPLETED_WITH_ERRORS,
            TaskStatus.SKIPPED,
        )


class Severity(StrEnum):
    """How bad a failing check is; declared from least to worst, the order PostgreSQL sorts by."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class FindingStatus(StrEnum):
    """The verdict of a check on a resource. `not_assessed`: the verdict cannot be trusted."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    MANUAL = "manual"
    NOT_ASSESSED = "not_assessed"


class FindingState(StrEnum):
    """Whether somebody still has to act: open for fail, manual and not_assessed; resolved else."""

    OPEN = "open"
    RESOLVED = "resolved"
    MUTED = "muted"
    ACCEPTED = "accepted"


class FindingTransition(StrEnum):
    """What happened to a finding at one scan."""

    OPENED = "opened"  # first seen
    CHANGED = "changed"  # status, severity or detail differ, still open or still resolved
    RESOLVED = "resolved"  # was open; now passes, or its resource is gone
    REOPENED = "reopened"  # was resolved; now fails again


class VulnerabilityStatus(StrEnum):
    """Where a vulnerability stands. What a person decided stays until it expires or is undone."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    ACCEPTED = "accepted"
    FALSE_POSITIVE = "false_positive"
    CLOSED = "closed"

    @property
    def needs_work(self) -> bool:
        """True while somebody has to act, so that it has a due date."""
        return self in (VulnerabilityStatus.OPEN, VulnerabilityStatus.IN_PROGRESS)


class VulnerabilityTransition(StrEnum):
    """What happened to a vulnerability."""

    OPENED = "opened"  # first detected
    CHANGED = "changed"  # severity or occurrences differ
    CLOSED = "closed"  # no occurrence is open any more
    REOPENED = "reopened"  # detected again, or a decision was undone or expired
    ASSIGNED = "assigned"
    COMMENTED = "commented"
    IN_PROGRESS = "in_progress"
    ACCEPTED = "accepted"
    FALSE_POSITIVE = "false_positive"


class SlaState(StrEnum):
    """How a due date stands: far away, within the next days, passed."""

    ON_TRACK = "on_track"
    DUE_SOON = "due_soon"
    BREACHED = "breached"


class NoticeKind(StrEnum):
    """What a notice is about."""

    UPCOMING = "upcoming"  # due within the next days
    BREACHED = "breached"  # due, and still there
    ACCEPTANCE_EXPIRED = "acceptance_expired"


class RetentionKind(StrEnum):
    """What is kept for a number of days, in the order in which it is deleted."""

    EVENTS = "events"  # the history of findings and vulnerabilities
    RESOLVED_FINDINGS = "resolved_findings"
    SCANS = "scans"
    RUNS = "runs"
    GONE_RESOURCES = "gone_resources"


class ExportFormat(StrEnum):
    """How exported findings are written."""

    CSV = "csv"
    NDJSON = "ndjson"
    OCSF = "ocsf"


class ErrorClass(StrEnum):
    """Why an API call of a scanner failed."""

    DENIED = "denied"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    NOT_IMPLEMENTED = "not_implemented"
    OTHER = "other"


class OverlapPolicy(StrEnum):
    """What a due run does while an earlier one of the same schedule, or another scan of the same
    account, has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    QUEUE_ONE = "queue_one"
    CANCEL_PREVIOUS = "cancel_previous"
    TERMINATE_PREVIOUS = "terminate_previous"
    ALLOW = "allow"


class ScheduleStatus(StrEnum):
    """Whether a schedule fires. Finished: it never will again."""

    ACTIVE = "active"
    PAUSED = "paused"
    FINISHED = "finished"


class RunTrigger(StrEnum):
    """Why a run was due."""

    SCHEDULE = "schedule"
    EXPIRY = "expiry"
    MANUAL = "manual"
    BACKFILL = "backfill"

    @property
    def counts(self) -> bool:
        """True for a time of the schedule itself: its counters and `max_runs` count these."""
        return self in (RunTrigger.SCHEDULE, RunTrigger.EXPIRY)


class RunOutcome(StrEnum):
    """Where a run stands, or how it ended."""

    QUEUED = "queued"  # waits for its turn
    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    SKIPPED = "skipped"  # the overlap policy left it out
    MISSED = "missed"  # nothing could start it in time
    REFUSED = "refused"  # its account or job is gone or disabled

    @property
    def ended(self) -> bool:
        """True once nothing more happens to the run."""
        return self not in (RunOutcome.QUEUED, RunOutcome.RUNNING)

    @property
    def started(self) -> bool:
        """True when its work began, however it ended."""
        return self not in (
            RunOutcome.QUEUED,
            RunOutcome.SKIPPED,
            RunOutcome.MISSED,
            RunOutcome.REFUSED,
        )


class Weekday(StrEnum):
    """A day of the week, in the order of `datetime.weekday()`."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class TargetKind(StrEnum):
    """What a target of a native scan is."""

    HOST = "host"  # a name or an address, with or without a port
    CIDR = "cidr"
    URL = "url"
    IMAGE = "image"
    REPOSITORY = "repository"  # a directory on the workers
    CLUSTER = "cluster"


class ScopeKind(StrEnum):
    """What an entry of a scope names."""

    CIDR = "cidr"
    DOMAIN = "domain"
    IMAGE = "image"  # a registry, or the beginning of image names in it
    PATH = "path"
    CLUSTER = "cluster"


class TargetRule(StrEnum):
    """The rule by which a target is refused."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    METADATA = "metadata"
    LOOPBACK = "loopback"
    RESERVED = "reserved"  # link-local, multicast, unspecified, for future use
    EMBEDDED_IPV4 = "embedded_ipv4"
    OWN_SERVER = "own_server"
    OUT_OF_SCOPE = "out_of_scope"
    SCOPE_EXPIRED = "scope_expired"
    PRIVATE = "private"  # a private network that no scope names
    UNRESOLVED = "unresolved"
    MOVED = "moved"  # it no longer has the addresses that were checked
    DISABLED = "disabled"


class AssetSource(StrEnum):
    """Who names an asset."""

    CLOUD = "cloud"
    NETWORK = "network"
    TARGET = "target"


class Exposure(StrEnum):
    """Whether the internet can be expected to reach it."""

    INTERNET_EXPOSED = "internet_exposed"
    INTERNAL = "internal"


class Standing(StrEnum):
    """Whether anybody answers for it.

    `unseen`: the cloud says that it is public, its range was looked at to the end, and nothing
    answered there.
    """

    MANAGED = "managed"
    UNMANAGED = "unmanaged"
    UNSEEN = "unseen"


class NetworkTool(StrEnum):
    """The tools whose findings name a host: those that a finding's rule may wait for."""

    NMAP = "nmap"
    TESTSSL = "testssl"
    SSLYZE = "sslyze"
    ZAP = "zap"
    NUCLEI = "nuclei"


class MadeTarget(StrEnum):
    """What becomes of a host that a rule met."""

    HOST = "host"
    HOST_PORT = "host_port"
    URL = "url"

    @property
    def kind(self) -> TargetKind:
        """The kind of target that is made."""
        return TargetKind.URL if self is MadeTarget.URL else TargetKind.HOST
