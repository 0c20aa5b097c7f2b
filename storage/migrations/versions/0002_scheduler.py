"""The scheduler: schedules, runs, tracked items, fired expiries."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE schedule (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    name text NOT NULL,
    job text NOT NULL,
    account_id uuid,
    target jsonb NOT NULL,
    trigger jsonb NOT NULL,
    trigger_type text NOT NULL,
    starts_at timestamptz,
    ends_at timestamptz,
    jitter_seconds integer NOT NULL,
    exclude jsonb NOT NULL,
    overlap text NOT NULL,
    catchup_seconds integer NOT NULL,
    max_runs integer,
    pause_after_failures integer NOT NULL,
    paused boolean NOT NULL,
    note text NOT NULL,
    default_of text,
    finished_at timestamptz,
    fired integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    missed integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    refused integer DEFAULT 0 NOT NULL,
    failures_in_a_row integer DEFAULT 0 NOT NULL,
    accounted_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT schedule_pkey PRIMARY KEY (id),
    CONSTRAINT schedule_team_id_name_key UNIQUE (team_id, name),
    CONSTRAINT schedule_team_id_default_of_key UNIQUE (team_id, default_of),
    CONSTRAINT schedule_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE INDEX schedule_team_id_id_idx ON schedule (team_id, id);
CREATE INDEX schedule_account_id_idx ON schedule (account_id) WHERE account_id IS NOT NULL;

CREATE TABLE job_run (
    id uuid NOT NULL,
    team_id uuid NOT NULL,
    schedule_id uuid,
    job text NOT NULL,
    params jsonb NOT NULL,
    trigger text NOT NULL,
    nominal_at timestamptz NOT NULL,
    overlap text NOT NULL,
    overlap_key text NOT NULL,
    outcome text NOT NULL,
    reason text,
    queued_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    summary jsonb,
    error jsonb,
    scan_id uuid,
    item jsonb,
    workflow_id text,
    execution_id text,
    work_id text,
    CONSTRAINT job_run_pkey PRIMARY KEY (id),
    CONSTRAINT job_run_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE INDEX job_run_team_idx ON job_run (team_id, queued_at, id);
CREATE INDEX job_run_job_idx ON job_run (team_id, job, queued_at, id);
CREATE INDEX job_run_schedule_idx ON job_run (schedule_id, queued_at, id);
CREATE INDEX job_run_live_idx ON job_run (overlap_key) WHERE outcome IN ('queued', 'running');
CREATE INDEX job_run_scan_idx ON job_run (scan_id) WHERE scan_id IS NOT NULL;

CREATE TABLE tracked_item (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    expires_at timestamptz NOT NULL,
    lead_seconds integer NOT NULL,
    due_at timestamptz NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT tracked_item_pkey PRIMARY KEY (id),
    CONSTRAINT tracked_item_team_id_kind_name_key UNIQUE (team_id, kind, name),
    CONSTRAINT tracked_item_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE INDEX tracked_item_team_idx ON tracked_item (team_id, id);
CREATE INDEX tracked_item_due_idx ON tracked_item (team_id, kind, due_at);
CREATE INDEX tracked_item_expires_idx ON tracked_item (team_id, kind, expires_at);

CREATE TABLE expiry_firing (
    schedule_id uuid NOT NULL,
    item_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    started_at timestamptz,
    CONSTRAINT expiry_firing_pkey PRIMARY KEY (schedule_id, item_id, expires_at),
    CONSTRAINT expiry_firing_schedule_id_fkey FOREIGN KEY (schedule_id)
        REFERENCES schedule (id) ON DELETE CASCADE,
    CONSTRAINT expiry_firing_item_id_fkey FOREIGN KEY (item_id)
        REFERENCES tracked_item (id) ON DELETE CASCADE
);

CREATE INDEX expiry_firing_open_idx ON expiry_firing (at) WHERE started_at IS NULL;
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, TABLES.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget every schedule and run."""
    for table in ("expiry_firing", "tracked_item", "job_run", "schedule"):
        op.get_bind().exec_driver_sql(f"DROP TABLE {table}")
