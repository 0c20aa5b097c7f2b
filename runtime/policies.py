"""Every number that can be argued about: how long work may take, how it is retried."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

PERMANENT_ERRORS: Final = (
    "CredentialsRejected",
    "ScopeInvalid",
    "TargetInvalid",
    "ScannerMissing",
    "ReportMalformed",
    "StagingLost",
    "NotFound",
    "Conflict",
    "WrongAccount",
    "ArchiveUnavailable",
)
"""Names of the errors that no retry can mend. Temporal matches exact names, never bases."""


class ActivityPolicy(TypedDict, total=False):
    """The part of an activity call that is policy; the queue stays visible at the call."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


class LocalPolicy(TypedDict):
    """The same of a local activity, which cannot heartbeat."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


def _retried(first: timedelta, at_most: timedelta) -> RetryPolicy:
    """Retried after `first`, then after twice as long each time up to `at_most`."""
    return RetryPolicy(
        initial_interval=first,
        backoff_coefficient=2,
        maximum_interval=at_most,
        non_retryable_error_types=PERMANENT_ERRORS,
    )


RECORD: Final[ActivityPolicy] = {
    # A row or two in PostgreSQL. Retried for as long as a database may be away, since a scan that
    # cannot record its end is a scan that looks stuck.
    "start_to_close_timeout": timedelta(seconds=30),
    "schedule_to_close_timeout": timedelta(days=2),
    "retry_policy": _retried(timedelta(milliseconds=500), timedelta(seconds=15)),
}

PROMPT: Final[LocalPolicy] = {
    # The same row or two, tried once within the workflow task, which may take ten seconds.
    "start_to_close_timeout": timedelta(seconds=8),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}

CASCADE: Final[ActivityPolicy] = {
    # Rows again, but of a scan that has ended: what cannot be started within an hour is not started
    # by a scan that long since is over for everybody else.
    "start_to_close_timeout": timedelta(minutes=2),
    "schedule_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

ASK_PROVIDER: Final[ActivityPolicy] = {
    # A few calls to the cloud provider: who are we, which regions are there.
    "start_to_close_timeout": timedelta(seconds=90),
    "schedule_to_close_timeout": timedelta(days=2),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

CHECK_CREDENTIALS: Final[ActivityPolicy] = {
    # Somebody waits for the answer: one try, and the reason if it fails.
    "start_to_close_timeout": timedelta(seconds=60),
    "schedule_to_close_timeout": timedelta(seconds=60),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}

SHARD: Final[ActivityPolicy] = {
    # Total time bounds a shard, not attempts: each deploy of a worker costs an attempt. How often
    # a scanner itself may fail is SCANNER_TRIES.
    "start_to_close_timeout": timedelta(hours=4),
    "schedule_to_close_timeout": timedelta(hours=24),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=2), timedelta(minutes=2)),
    # The workflow records the end only after the scanner's process is gone.
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}

MERGE: Final[ActivityPolicy] = {
    "start_to_close_timeout": timedelta(minutes=30),
    "schedule_to_close_timeout": timedelta(hours=24),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

DISPLACE: Final[ActivityPolicy] = {
    # Waits until what was cancelled has ended; a scan stops its scanners first.
    "start_to_close_timeout": timedelta(minutes=15),
    "schedule_to_close_timeout": timedelta(days=2),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

UPKEEP: Final[ActivityPolicy] = {
    # One bounded step of a maintenance job; each may be repeated.
    "start_to_close_timeout": timedelta(minutes=5),
    "schedule_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

SYNC: Final[ActivityPolicy] = {
    # One account: seconds for a hundred thousand findings, minutes for many millions.
    "start_to_close_timeout": timedelta(minutes=30),
    "schedule_to_close_timeout": timedelta(hours=2),
    "heartbeat_timeout": timedelta(seconds=20),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

WATCH: Final[ActivityPolicy] = {
    # One step of the watchdog. Its five steps together fit into the hour that the job may take,
    # also when each of them fails; what one did not come to, the next run finds again.
    "start_to_close_timeout": timedelta(minutes=10),
    "schedule_to_close_timeout": timedelta(minutes=11),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

RETENTION: Final[ActivityPolicy] = {
    # One team: seconds on most days. Batches are small, so what one attempt deleted stays deleted.
    "start_to_close_timeout": timedelta(hours=1),
    "schedule_to_close_timeout": timedelta(hours=2),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": _retried(timedelta(seconds=1), timedelta(seconds=30)),
}

HEARTBEAT_THROTTLE: Final = timedelta(seconds=1)
"""Cancellation arrives only through a heartbeat: no longer than this between two that are sent."""

BUG_TRIES: Final = 5
"""An error that is none of ours may pass once or twice; then it is a bug, and the scan says so."""

PROVIDER_TRIES: Final = 6
"""A provider that does not answer by this attempt, about a minute after the first, fails the scan
with these words; a database that does not answer may take as long as it needs."""

SCANNER_TRIES: Final = 3
"""A scanner that crashes, or is throttled or cut off, on this attempt or later is not run again."""

STAGING_TRIES: Final = 3
"""How often a shard is run again because PostgreSQL crashed between its staging and its merge."""

MERGE_GATHERS: Final = timedelta(seconds=1)
"""How long a staged shard waits for others to be merged with: each merge is a step to store."""

MERGED_AT_ONCE: Final = 100
"""Shards that one merge activity takes at most; MERGE bounds them together."""

PROMPT_MERGE_SHARDS: Final = 20
"""A scan's last shards, at most so many, are merged in the workflow task that hears of their end,
about 15 ms each: tried once, then an ordinary merge."""

PROMPT_MERGE_ROWS: Final = 1_000
"""What these shards have staged together, at most."""

ACCOUNT_RECHECK: Final = timedelta(minutes=2)
"""A scan that waits for its account is woken by the one before it; if that one was terminated
and cannot, it looks again after this time."""

TURN_RECHECK: Final = timedelta(minutes=1)
"""A run that waits for its turn is woken by the one before it; if that one was terminated and
cannot, it looks again after this time."""

BACKFILL_IN_FLIGHT: Final = 20
"""Runs of one backfill at a time, where its overlap policy lets them run together."""

SYNC_PAGE: Final = 100
"""Accounts that one step of a team's sync plans, and teams that one step of all syncs does."""

ACCOUNTS_SYNCED_AT_ONCE: Final = 2
"""Of one team: each is a few statements that keep one core of PostgreSQL busy."""

TEAMS_SYNCED_AT_ONCE: Final = 4
"""Teams in the sliding window of a sync of all of them."""

SLA_BATCH: Final = 5_000
"""Notices of one step of an SLA check."""

RETENTION_BATCH: Final = 1_000
"""Rows that one transaction of a retention cycle deletes, with what belongs to them, so that nobody
waits for it for long."""

RETENTION_PAGE: Final = 100
"""Teams that one step of a retention cycle lists."""

SWEEP_BATCH: Final = 200
"""Targets that one step of the expiry sweep starts."""

DISCOVERY_IN_FLIGHT: Final = 8
"""Table groups of one account read at a time."""

DRAIN: Final = timedelta(seconds=15)
"""What a stopping worker gives running activities; below the stop grace of its container."""
