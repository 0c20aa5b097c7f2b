"""The watchdog: what it repaired, which totals it checked, since when a scan has been running."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE repair (
    id uuid DEFAULT uuidv7() NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    team_id uuid NOT NULL,
    words text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    error text,
    settled_at timestamptz,
    CONSTRAINT repair_pkey PRIMARY KEY (id),
    CONSTRAINT repair_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE UNIQUE INDEX repair_open_idx ON repair (kind, subject) WHERE settled_at IS NULL;
CREATE INDEX repair_team_idx ON repair (team_id, last_at, id);

CREATE TABLE count_check (
    account_id uuid NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT count_check_pkey PRIMARY KEY (account_id),
    CONSTRAINT count_check_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES account (id) ON DELETE CASCADE
);

ALTER TABLE scan ADD COLUMN running_since timestamptz;
UPDATE scan SET running_since = started_at WHERE status = 'running';
CREATE INDEX scan_task_live_idx ON scan_task (scan_id) WHERE status IN ('pending', 'running');
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, STATEMENTS.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget what was repaired."""
    for statement in (
        "DROP INDEX scan_task_live_idx",
        "ALTER TABLE scan DROP COLUMN running_since",
        "DROP TABLE count_check",
        "DROP TABLE repair",
    ):
        op.get_bind().exec_driver_sql(statement)
