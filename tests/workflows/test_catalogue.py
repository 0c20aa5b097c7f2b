"""The catalogue names what exists."""

from __future__ import annotations

import inspect

from activities import temporal_schedules
from contracts.schedules import CLOUD_SCAN
from runtime import task_queues
from workflows.catalogue import (
    EXPIRY_SWEEP,
    HYBRID_ASSET_DISCOVERY,
    JOBS,
    KUBERNETES_DISCOVERY,
    NATIVE_SCAN,
    RECONCILER,
    WATCHDOG,
    load,
)
from workflows.job_run import JobRun


def test_every_job_names_its_workflow_and_queue() -> None:
    for name, job in JOBS.items():
        assert name == job.name
        assert load(job.workflow).__name__ == job.workflow_name
        assert job.queue in task_queues.SLOTS
        assert job.description.endswith(".")


def test_an_inline_job_takes_no_signals_and_never_continues_as_new() -> None:
    inline = [load(job.workflow) for job in JOBS.values() if job.inline]
    assert inline
    for definition in inline:
        source = inspect.getsource(definition)
        assert "continue_as_new" not in source
        assert "@workflow.signal" not in source and "@workflow.query" not in source


def test_the_names_that_the_code_uses_are_in_it() -> None:
    assert {CLOUD_SCAN, EXPIRY_SWEEP, RECONCILER, WATCHDOG} <= set(JOBS)
    assert {name for name, job in JOBS.items() if job.scan} == {
        CLOUD_SCAN,
        HYBRID_ASSET_DISCOVERY,
        KUBERNETES_DISCOVERY,
        NATIVE_SCAN,
    }
    assert JobRun.__name__ == temporal_schedules.JOB_RUN
