"""Recorded histories replay: what runs while the product is updated goes on."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from runtime.temporal import CONTRACTS
from tests.support import scripted_jobs
from tests.support.record_histories import HISTORIES, SCANS

EARLIER = ("kubernetes_scan_without_tools", "completed_by_merge_tasks")
"""Recorded before a patch, and never again: scans that began then go on as they began."""

RECORDED = {path.stem: path for path in HISTORIES.glob("*.json")}


def test_every_shape_of_a_scan_and_each_job_is_recorded() -> None:
    assert {*SCANS, *scripted_jobs.RECORDINGS} <= RECORDED.keys()


@pytest.mark.parametrize("name", [*SCANS, *EARLIER, *scripted_jobs.RECORDINGS])
async def test_a_recorded_history_replays(name: str) -> None:
    history = WorkflowHistory.from_json(name, RECORDED[name].read_text())
    replayer = Replayer(
        workflows=[*{*SCANS.values()}, *scripted_jobs.WORKFLOWS],
        data_converter=CONTRACTS,
    )

    result = await replayer.replay_workflow(history)

    assert result.replay_failure is None
