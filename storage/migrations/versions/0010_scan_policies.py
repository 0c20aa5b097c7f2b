"""A team's own scan policies."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE scan_policy (
    team_id uuid NOT NULL,
    name text NOT NULL,
    limits jsonb NOT NULL,
    changed_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT scan_policy_pkey PRIMARY KEY (team_id, name),
    CONSTRAINT scan_policy_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
)
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(TABLE)


def downgrade() -> None:
    """Only the built-in ones are left."""
    op.get_bind().exec_driver_sql("DROP TABLE scan_policy")
