"""A worker process: how its workers end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

import worker
from runtime import policies
from tests.support.namespaces import new_namespace


@activity.defn
async def nothing() -> None:
    """Does nothing."""


class Stuck:
    """Stands in for an SDK worker that waits for a completion that it lost, which a cancel ends."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def shutdown(self) -> None:
        await asyncio.Event().wait()


class Failing(Stuck):
    """Stands in for one that cannot go on."""

    async def run(self) -> None:
        raise RuntimeError("The namespace is gone.")

    async def shutdown(self) -> None:
        return


async def test_a_worker_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "DRAIN", timedelta(0))
    monkeypatch.setattr(worker, "LATE", timedelta(seconds=0.1))
    async with worker.running(cast(list[Worker], [Stuck(), Stuck()])) as runs:
        assert not any(run.done() for run in runs)
    assert all(run.cancelled() for run in runs)


async def test_a_worker_that_failed_is_told_after_the_block() -> None:
    with pytest.raises(RuntimeError, match=r"The namespace is gone\."):
        async with worker.running(cast(list[Worker], [Failing()])) as runs:
            await asyncio.wait(runs)


async def test_workers_end_when_the_block_does(temporal: Client) -> None:
    namespace = await new_namespace(temporal, "workers")
    made = [Worker(namespace, task_queue=queue, activities=[nothing]) for queue in ("one", "other")]
    async with worker.running(made) as runs:
        assert not any(run.done() for run in runs)
    assert all(run.done() and not run.cancelled() for run in runs)
