"""Messages that running workflows hold keep their shape."""

import json
from typing import get_type_hints

from contracts import schema_lock
from workflows.catalogue import JOBS, load
from workflows.job_run import JobRun
from workflows.schedule_backfill import ScheduleBackfill


def test_the_messages_have_the_shape_that_was_committed() -> None:
    locked = json.loads(schema_lock.LOCK.read_text())
    assert schema_lock.current() == locked, (
        "A message that crosses the workflow changed. If running workflows can still read it, "
        "accept it with: python -m contracts.schema_lock"
    )


def test_the_messages_of_every_workflow_are_locked() -> None:
    for workflow in (JobRun, ScheduleBackfill, *(load(job.workflow) for job in JOBS.values())):
        hints = get_type_hints(workflow.run)  # type: ignore[attr-defined]  # a workflow class
        for name, message in hints.items():
            assert message in schema_lock.CROSSING, f"{workflow.__name__}.run: {name}"
