"""Targets of native scans, and the scopes that allow them."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE target (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    tags jsonb NOT NULL,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT target_pkey PRIMARY KEY (id),
    CONSTRAINT target_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT target_team_id_kind_value_key UNIQUE (team_id, kind, value)
);

CREATE INDEX target_team_idx ON target (team_id, id);

CREATE TABLE scope (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    name text NOT NULL,
    allows jsonb NOT NULL,
    approved_by text NOT NULL,
    note text NOT NULL,
    valid_until timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT scope_pkey PRIMARY KEY (id),
    CONSTRAINT scope_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT scope_team_id_name_key UNIQUE (team_id, name)
);

CREATE INDEX scope_team_idx ON scope (team_id, id);
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, TABLES.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget what may be scanned."""
    op.get_bind().exec_driver_sql("DROP TABLE target, scope")
