"""The tables of the scheduler: schedules, runs, tracked items and which expiry fired."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables import NEW_ID, Base


class ScheduleRow(Base):
    """A schedule as people defined it, and what came of its times. Temporal holds the firing."""

    __tablename__ = "schedule"
    __table_args__ = (
        UniqueConstraint("team_id", "name"),
        UniqueConstraint("team_id", "default_of"),
        Index("schedule_team_id_id_idx", "team_id", "id"),
        Index(
            "schedule_account_id_idx",
            "account_id",
            postgresql_where=text("account_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    name: Mapped[str]
    job: Mapped[str]
    account_id: Mapped[UUID | None]
    target: Mapped[dict[str, Any]]
    trigger: Mapped[dict[str, Any]]
    trigger_type: Mapped[str]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    jitter_seconds: Mapped[int]
    exclude: Mapped[list[Any]] = mapped_column(JSONB(none_as_null=True))
    overlap: Mapped[str]
    catchup_seconds: Mapped[int]
    max_runs: Mapped[int | None]
    pause_after_failures: Mapped[int]
    paused: Mapped[bool]
    note: Mapped[str]
    default_of: Mapped[str | None]
    finished_at: Mapped[datetime | None]
    fired: Mapped[int] = mapped_column(server_default=text("0"))
    skipped: Mapped[int] = mapped_column(server_default=text("0"))
    missed: Mapped[int] = mapped_column(server_default=text("0"))
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    refused: Mapped[int] = mapped_column(server_default=text("0"))
    failures_in_a_row: Mapped[int] = mapped_column(server_default=text("0"))
    accounted_until: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class JobRunRow(Base):
    """One time that a job was due: what became of it, also when it never started.

    Runs outlive their schedule. `overlap_key` is what must not run twice at once: an account, or
    a schedule. `execution_id` is Temporal's; only that execution may go on with the run.
    """

    __tablename__ = "job_run"
    __table_args__ = (
        Index("job_run_team_idx", "team_id", "queued_at", "id"),
        Index("job_run_schedule_idx", "schedule_id", "queued_at", "id"),
        Index("job_run_job_idx", "team_id", "job", "queued_at", "id"),
        Index(
            "job_run_live_idx",
            "overlap_key",
            postgresql_where=text("outcome IN ('queued', 'running')"),
        ),
        Index("job_run_scan_idx", "scan_id", postgresql_where=text("scan_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    schedule_id: Mapped[UUID | None]
    job: Mapped[str]
    params: Mapped[dict[str, Any]]
    trigger: Mapped[str]
    nominal_at: Mapped[datetime]
    overlap: Mapped[str]
    overlap_key: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    summary: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    scan_id: Mapped[UUID | None]
    item: Mapped[dict[str, Any] | None]
    workflow_id: Mapped[str | None]
    execution_id: Mapped[str | None]
    work_id: Mapped[str | None]


class TrackedItemRow(Base):
    """What expires one day; `due_at` is its own lead before that."""

    __tablename__ = "tracked_item"
    __table_args__ = (
        UniqueConstraint("team_id", "kind", "name"),
        Index("tracked_item_team_idx", "team_id", "id"),
        # A sweep reads one of these from its start to the present, and no further.
        Index("tracked_item_due_idx", "team_id", "kind", "due_at"),
        Index("tracked_item_expires_idx", "team_id", "kind", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    kind: Mapped[str]
    name: Mapped[str]
    owner: Mapped[str]
    expires_at: Mapped[datetime]
    lead_seconds: Mapped[int]
    due_at: Mapped[datetime]
    attributes: Mapped[dict[str, str]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ExpiryFiringRow(Base):
    """An expiry that a schedule has noticed: each is started once, `started_at` says when."""

    __tablename__ = "expiry_firing"
    __table_args__ = (
        Index("expiry_firing_open_idx", "at", postgresql_where=text("started_at IS NULL")),
    )

    schedule_id: Mapped[UUID] = mapped_column(
        ForeignKey("schedule.id", ondelete="CASCADE"), primary_key=True
    )
    item_id: Mapped[UUID] = mapped_column(
        ForeignKey("tracked_item.id", ondelete="CASCADE"), primary_key=True
    )
    expires_at: Mapped[datetime] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    started_at: Mapped[datetime | None]
