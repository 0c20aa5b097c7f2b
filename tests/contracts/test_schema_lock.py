"""Messages that running workflows hold keep their shape."""

import json
from typing import get_type_hints

from contracts import schema_lock
from workflows.account_check import AccountCheck
from workflows.cloud_scan import CloudScan


def test_the_messages_have_the_shape_that_was_committed() -> None:
    locked = json.loads(schema_lock.LOCK.read_text())
    assert schema_lock.current() == locked, (
        "A message that crosses the workflow changed. If running workflows can still read it, "
        "accept it with: python -m contracts.schema_lock"
    )


def test_the_messages_of_every_workflow_are_locked() -> None:
    for workflow in (CloudScan, AccountCheck):
        for name, message in get_type_hints(workflow.run).items():
            assert message in schema_lock.CROSSING, f"{workflow.__name__}.run: {name}"
