"""The committed shape of every message that crosses the workflow, so that a change is deliberate.

`python -m contracts.schema_lock` rewrites `contracts/schema.lock.json`. Running workflows hold old
payloads: add fields only with defaults, never rename or retype one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from contracts import (
    accounts,
    cascades,
    jobs,
    retention,
    runs,
    scans,
    sla,
    targets,
    vulnerabilities,
)
from contracts.base import Contract

LOCK: Final = Path(__file__).with_name("schema.lock.json")

CROSSING: Final[tuple[type[Contract], ...]] = (
    accounts.AccountRef,
    accounts.AccountCheck,
    scans.ScanRequest,
    scans.ScanBegun,
    scans.ScanPlanning,
    scans.PhasePlan,
    scans.ShardTask,
    scans.ShardReport,
    scans.ShardBatch,
    scans.MergeReport,
    scans.ShardFailed,
    scans.ScanPaused,
    scans.ScanEnd,
    scans.ScanSummary,
    scans.ScanPhase,
    cascades.CascadesStarted,
    jobs.NoParams,
    runs.RunRequest,
    runs.RunAsked,
    runs.RunAdmission,
    runs.RunDisplacement,
    runs.RunEnd,
    runs.RunClosed,
    runs.RunSummary,
    runs.BackfillRequest,
    runs.SweepRequest,
    runs.SweepBatch,
    runs.SweepDone,
    runs.ReconcileRequest,
    runs.JobSummary,
    retention.RetentionRequest,
    retention.RetentionPage,
    retention.RetentionTeams,
    retention.RetentionStep,
    retention.RetentionDone,
    targets.PinnedTarget,
    sla.SlaCheckRequest,
    sla.SlaStep,
    sla.SlaDone,
    sla.DueDatesRequest,
    sla.DueDatesStep,
    sla.DueDatesDone,
    vulnerabilities.SyncRequest,
    vulnerabilities.SyncPlanning,
    vulnerabilities.SyncPlan,
    vulnerabilities.AccountSync,
    vulnerabilities.SyncCounts,
    vulnerabilities.SyncAllRequest,
    vulnerabilities.TeamsPlanning,
    vulnerabilities.TeamsPlan,
)


def current() -> dict[str, Any]:
    """The JSON schema of each message, by class name."""
    return {message.__name__: message.model_json_schema() for message in CROSSING}


def write() -> None:
    """Accept the current shapes."""
    LOCK.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
