"""Cascades: rules, and what each started once in each chain of scans."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE scan ADD COLUMN cascade jsonb",
    """
    CREATE TABLE cascade_rule (
        id uuid DEFAULT uuidv7() NOT NULL,
        team_id uuid NOT NULL,
        name text NOT NULL,
        enabled boolean DEFAULT false NOT NULL,
        predefined boolean NOT NULL,
        "when" jsonb NOT NULL,
        "then" jsonb NOT NULL,
        max_targets integer NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT cascade_rule_pkey PRIMARY KEY (id),
        CONSTRAINT cascade_rule_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
        CONSTRAINT cascade_rule_team_id_name_key UNIQUE (team_id, name)
    )
    """,
    """
    CREATE TABLE cascade_start (
        root_scan_id uuid NOT NULL,
        rule_id uuid NOT NULL,
        parent_scan_id uuid NOT NULL,
        scan_id uuid NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT cascade_start_pkey PRIMARY KEY (root_scan_id, rule_id),
        CONSTRAINT cascade_start_root_scan_id_fkey
            FOREIGN KEY (root_scan_id) REFERENCES scan (id) ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    """Make the tables; a rule does nothing until somebody enables it."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """No scan follows another."""
    op.get_bind().exec_driver_sql("DROP TABLE cascade_start, cascade_rule")
    op.get_bind().exec_driver_sql("ALTER TABLE scan DROP COLUMN cascade")
