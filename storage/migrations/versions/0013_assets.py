"""Assets: the inventory, the network and targets joined."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE asset (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    value text NOT NULL,
    is_name boolean NOT NULL,
    names text[] NOT NULL,
    sources text[] NOT NULL,
    resource_ids uuid[] NOT NULL,
    target_ids uuid[] NOT NULL,
    open_ports integer[] NOT NULL,
    exposure text NOT NULL,
    standing text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    gone_at timestamptz,
    CONSTRAINT asset_pkey PRIMARY KEY (id),
    CONSTRAINT asset_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT asset_team_id_value_key UNIQUE (team_id, value)
);

CREATE INDEX asset_team_idx ON asset (team_id, id);

CREATE TABLE asset_seen (
    scan_id uuid NOT NULL,
    key text NOT NULL,
    address text NOT NULL,
    open_ports integer[] NOT NULL,
    CONSTRAINT asset_seen_pkey PRIMARY KEY (scan_id, key, address),
    CONSTRAINT asset_seen_scan_id_fkey FOREIGN KEY (scan_id, key)
        REFERENCES scan_task (scan_id, key) ON DELETE CASCADE
);
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, TABLES.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget the assets; the next discovery finds them again."""
    op.get_bind().exec_driver_sql("DROP TABLE asset_seen, asset")
