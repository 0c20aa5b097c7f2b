"""Jobs: what can recur, as the catalogue lists it and as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from contracts.base import Contract
from contracts.runs import Run
from contracts.schedules import Timing
from contracts.vocabulary import OverlapPolicy, Provider, ScanKind


class JobScope(StrEnum):
    """Whose a job is: a team's, or the whole installation's."""

    TEAM = "team"
    INSTALLATION = "installation"


class NoParams(Contract):
    """A job without parameters."""


class ScanJob(NamedTuple):
    """What a job scans: the kind of scan (None: the one that fits the account), what of its options
    is fixed, and of which provider the account must be."""

    kind: ScanKind | None = None
    options: Mapping[str, Any] = {}
    provider: Provider | None = None


class Job(NamedTuple):
    """One entry of the catalogue.

    `workflow` is `module:Class`; workers load it, others only name it. Its argument is `params`,
    except where its work is a `scan`: that gets the id of the scan that was made from them, and
    takes turns with the other scans of the account. An `inline` one is
    done within the run's own workflow: for a few steps, without signals, that never need to
    continue in a new history.
    """

    name: str
    description: str
    workflow: str
    queue: str
    timeout: timedelta
    params: type[Contract] = NoParams
    scope: JobScope = JobScope.TEAM
    default: Timing | None = None
    overlap: OverlapPolicy = OverlapPolicy.SKIP
    inline: bool = False
    scan: ScanJob | None = None

    @property
    def workflow_name(self) -> str:
        """What Temporal calls the workflow."""
        return self.workflow.partition(":")[2]


class JobInfo(Contract):
    """A job as the API shows it."""

    name: str
    description: str
    scope: JobScope
    workflow: str
    task_queue: str
    timeout_seconds: float
    params_schema: dict[str, Any]
    default: Timing | None
    last_run: Run | None
