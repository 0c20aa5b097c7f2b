"""Our schedules as Temporal holds them: written, removed, listed and compared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from contracts.runs import RunRequest
from contracts.schedules import ExpiryTrigger, StoredSchedule
from contracts.vocabulary import ScheduleStatus
from runtime import search_attributes, task_queues
from scheduling.temporal_spec import same_spec, to_spec
from scheduling.words import in_words

PREFIX: Final = "schedule/"
JOB_RUN: Final = "JobRun"
"""By name: importing the workflow would load what it works with. A test compares the names."""

INSTALLATION: Final = "cloudsweep_installation"
NAME: Final = "name"
RPC_TIMEOUT: Final = timedelta(seconds=5)
PAGE: Final = 500


class Listed(NamedTuple):
    """A schedule of ours as Temporal lists it; its list may be a second old."""

    id: UUID
    spec: ScheduleSpec
    paused: bool


def fires(schedule: StoredSchedule) -> bool:
    """Whether Temporal should hold this schedule: expiries are fired by the sweep instead."""
    has_times = not isinstance(schedule.trigger, ExpiryTrigger)
    return has_times and schedule.status is not ScheduleStatus.FINISHED


def as_temporal(schedule: StoredSchedule) -> Schedule:
    """Temporal fires every time; which of them run is decided as each run is admitted."""
    return Schedule(
        action=ScheduleActionStartWorkflow(
            JOB_RUN,
            RunRequest(schedule_id=schedule.id),
            id=f"run/{schedule.id}",
            task_queue=task_queues.SCANS,
            typed_search_attributes=search_attributes.of_schedule(schedule.team_id, schedule.id),
            static_summary=schedule.name,
        ),
        spec=to_spec(schedule),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.ALLOW_ALL,
            catchup_window=timedelta(seconds=schedule.catchup_seconds),
        ),
        state=ScheduleState(
            paused=schedule.paused,
            note=" ".join(filter(None, (f"{schedule.name}: {in_words(schedule)}", schedule.note))),
        ),
    )


async def put(client: Client, schedule: StoredSchedule, installation: UUID) -> bool:
    """Make Temporal hold exactly this; True when it held nothing before.

    Idempotent. Call it with the schedule's row locked, so that the newest definition wins.
    """
    if not fires(schedule):
        await remove(client, schedule.id)
        return False
    wanted = as_temporal(schedule)
    try:
        await client.create_schedule(
            f"{PREFIX}{schedule.id}",
            wanted,
            memo={INSTALLATION: str(installation), NAME: schedule.name},
            rpc_timeout=RPC_TIMEOUT,
        )
    except ScheduleAlreadyRunningError:
        await _handle(client, schedule.id).update(
            lambda _: ScheduleUpdate(wanted), rpc_timeout=RPC_TIMEOUT
        )
        return False
    return True


async def remove(client: Client, schedule_id: UUID) -> bool:
    """Make Temporal forget it; False when it did not know it."""
    try:
        await _handle(client, schedule_id).delete(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def exists(client: Client, schedule_id: UUID) -> bool:
    """Whether Temporal holds it now, whatever its list says."""
    try:
        await _handle(client, schedule_id).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def differs(client: Client, schedule: StoredSchedule) -> bool:
    """Whether Temporal holds anything else than this, or nothing: all of it is compared."""
    try:
        held = (await _handle(client, schedule.id).describe(rpc_timeout=RPC_TIMEOUT)).schedule
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return True
        raise
    wanted = as_temporal(schedule)
    action, meant = held.action, wanted.action
    if not (
        isinstance(action, ScheduleActionStartWorkflow)
        and isinstance(meant, ScheduleActionStartWorkflow)
    ):
        return True
    return (
        not same_spec(held.spec, wanted.spec)
        or (held.policy.overlap, held.policy.catchup_window)
        != (wanted.policy.overlap, wanted.policy.catchup_window)
        or held.state.paused != wanted.state.paused
        or (action.workflow, action.id, action.task_queue)
        != (meant.workflow, meant.id, meant.task_queue)
    )


def looks_off(schedule: StoredSchedule, entry: Listed | None) -> bool:
    """Whether Temporal's list lacks this schedule, shows it differently, or should not show it."""
    if entry is None or not fires(schedule):
        return (entry is not None) != fires(schedule)
    return looks_different(schedule, entry)


def looks_different(schedule: StoredSchedule, listed: Listed) -> bool:
    """Whether what Temporal's list shows differs: times, and whether it is paused."""
    return listed.paused != schedule.paused or not same_spec(listed.spec, to_spec(schedule))


async def listed(client: Client, installation: UUID) -> AsyncIterator[Listed]:
    """Every schedule of this installation that Temporal lists."""
    async for entry in await client.list_schedules(page_size=PAGE, rpc_timeout=RPC_TIMEOUT):
        if not entry.id.startswith(PREFIX) or entry.schedule is None:
            continue
        # Another installation may share the namespace.
        if await entry.memo_value(INSTALLATION, None) != str(installation):
            continue
        yield Listed(
            UUID(entry.id.removeprefix(PREFIX)), entry.schedule.spec, entry.schedule.state.paused
        )


def _handle(client: Client, schedule_id: UUID) -> ScheduleHandle:
    return client.get_schedule_handle(f"{PREFIX}{schedule_id}")
