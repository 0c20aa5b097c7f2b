"""Schedules: create, list, change, pause, run now, run for the past, and preview."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples, job_control, schedule_control, schedule_view
from api.auth import Admin, Operator, Viewer
from api.filters import ScheduleListQuery, ScheduleRunsQuery
from api.problems import described
from api.routes import BASE
from api.state import Now, Session, Shared
from contracts.base import Page
from contracts.runs import Run
from contracts.schedules import (
    Backfill,
    NewBackfill,
    NewSchedule,
    Schedule,
    ScheduleChange,
    ScheduleNote,
    SchedulePreview,
    ScheduleTriggerNow,
)
from storage.schedules import run_history, schedules

router = APIRouter(prefix=f"{BASE}/schedules", tags=["schedules"])

NewBody = Annotated[NewSchedule, Body(openapi_examples=examples.SCHEDULES)]
NO_NOTE = ScheduleNote()
AS_IT_SAYS = ScheduleTriggerNow()


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=described(409, 413),
    summary="Create a schedule",
)
async def create_schedule(
    schedule: NewBody, caller: Operator, shared: Shared, now: Now, response: Response
) -> Schedule:
    """Start something at certain times: a scan of an account, or any job of `GET /jobs`.

    What can never fire is refused with the field and the fix. `in_words` says what will happen,
    `next_runs` when. When Temporal cannot be reached the answer is 503 and nothing was created.
    """
    made = await schedule_control.create(shared, caller, schedule, now)
    response.headers["Location"] = f"{BASE}/schedules/{made.id}"
    return (await schedule_view.shown(shared, [made], now))[0]


@router.post("/preview", responses=described(413), summary="Preview a schedule")
async def preview_schedule(
    schedule: NewBody,
    caller: Viewer,
    session: Session,
    now: Now,
    count: Annotated[int, Query(ge=1, le=100, description="Times to show.")] = 10,
) -> SchedulePreview:
    """When a schedule would fire, in its own time zone, and in words what would happen.

    Takes the body of `POST /schedules`, refuses what that refuses, and saves nothing. `warnings`
    tell of times that a change of the clock skips or doubles.
    """
    return await schedule_control.preview(session, caller, schedule, count, now)


@router.get("", responses=described(), summary="List schedules")
async def list_schedules(
    query: Annotated[ScheduleListQuery, Query()], caller: Viewer, shared: Shared, now: Now
) -> Page[Schedule]:
    """The team's schedules, oldest first, each with its next times and its last run.

    `late` tells that a time has passed by 15 seconds and nothing has started.
    """
    async with shared.database.transaction() as session:
        page = await schedules.list_schedules(session, caller.team_id, **query.model_dump())
    shown = await schedule_view.shown(shared, page.items, now)
    return Page(items=shown, next_cursor=page.next_cursor)


@router.get("/{schedule_id}", responses=described(404), summary="Show a schedule")
async def get_schedule(schedule_id: UUID, caller: Viewer, shared: Shared, now: Now) -> Schedule:
    """One schedule: what it does in words, its next times, its counters and its last run."""
    async with shared.database.transaction() as session:
        schedule = await schedules.get_schedule(session, caller.team_id, schedule_id)
    return (await schedule_view.shown(shared, [schedule], now))[0]


@router.patch("/{schedule_id}", responses=described(404, 409, 413), summary="Change a schedule")
async def change_schedule(
    schedule_id: UUID, change: ScheduleChange, caller: Operator, shared: Shared, now: Now
) -> Schedule:
    """Change only the fields that are sent; null clears `starts_at`, `ends_at` and `max_runs`.

    A change fires no past time, and a paused schedule stays paused. New times arm a finished
    schedule again.
    """
    changed = await schedule_control.change(shared, caller, schedule_id, change, now)
    return (await schedule_view.shown(shared, [changed], now))[0]


@router.delete(
    "/{schedule_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404, 409),
    summary="Remove a schedule",
)
async def delete_schedule(schedule_id: UUID, caller: Admin, shared: Shared) -> None:
    """Remove a schedule; its runs stay in the record, and one that is going goes on.

    409 for the default schedule of a job, which can be paused or changed instead.
    """
    await schedule_control.delete(shared, caller, schedule_id)


@router.post("/{schedule_id}/pause", responses=described(404, 409), summary="Pause a schedule")
async def pause_schedule(
    schedule_id: UUID, caller: Operator, shared: Shared, now: Now, note: ScheduleNote = NO_NOTE
) -> Schedule:
    """Fire nothing until it is resumed. The note says why; a run that is going goes on."""
    paused = await schedule_control.pause(shared, caller, schedule_id, note.note, now)
    return (await schedule_view.shown(shared, [paused], now))[0]


@router.post("/{schedule_id}/resume", responses=described(404, 409), summary="Resume a schedule")
async def resume_schedule(
    schedule_id: UUID, caller: Operator, shared: Shared, now: Now, note: ScheduleNote = NO_NOTE
) -> Schedule:
    """Fire again from the next time on; what was due meanwhile is not made up for.

    Starts counting failures anew. 409 while its account is gone or disabled.
    """
    resumed = await schedule_control.resume(shared, caller, schedule_id, note.note, now)
    return (await schedule_view.shown(shared, [resumed], now))[0]


@router.post(
    "/{schedule_id}/trigger",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404),
    summary="Run a schedule now",
)
async def trigger_schedule(
    schedule_id: UUID,
    caller: Operator,
    shared: Shared,
    now: Now,
    response: Response,
    how: ScheduleTriggerNow = AS_IT_SAYS,
) -> Run:
    """Run it now, also while it is paused or finished, and say which rule decided.

    `outcome` and `reason` of the run tell whether it started, waits, or was left out. Without a
    worker the run is `queued`, and `GET /runs/{id}` finds it once one has taken it.
    """
    run = await schedule_control.trigger(shared, caller, schedule_id, how.overlap, now)
    response.headers["Location"] = f"{BASE}/runs/{run.id}"
    return run


@router.post(
    "/{schedule_id}/backfill",
    status_code=status.HTTP_202_ACCEPTED,
    responses=described(404, 409),
    summary="Run a schedule for the past",
)
async def backfill_schedule(
    schedule_id: UUID, backfill: NewBackfill, caller: Operator, shared: Shared, now: Now
) -> Backfill:
    """Run it once for each of its times from `start` to `end`, both included; at most 500.

    Times at which a run started already are left out unless `rerun` is set. With `dry_run` it
    starts nothing and lists the times.
    """
    return await schedule_control.backfill(shared, caller, schedule_id, backfill, now)


@router.get("/{schedule_id}/runs", responses=described(404), summary="List a schedule's runs")
async def list_schedule_runs(
    schedule_id: UUID,
    query: Annotated[ScheduleRunsQuery, Query()],
    caller: Viewer,
    shared: Shared,
) -> Page[Run]:
    """What became of each of its times, newest first: also those skipped, missed and refused."""
    async with shared.database.transaction() as session:
        await schedules.get_schedule(session, caller.team_id, schedule_id)
        page = await run_history.list_runs(
            session, caller.team_id, schedule_id=[schedule_id], **query.model_dump()
        )
    return Page(items=job_control.shown(shared, page.items), next_cursor=page.next_cursor)
