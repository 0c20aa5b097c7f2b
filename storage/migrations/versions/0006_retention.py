"""Retention: policies, legal holds, what was deleted, and where what is gone is found."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE retention_policy (
    team_id uuid NOT NULL,
    kind text NOT NULL,
    keep_days integer,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    CONSTRAINT retention_policy_pkey PRIMARY KEY (team_id, kind),
    CONSTRAINT retention_policy_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE TABLE retention_hold (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    name text NOT NULL,
    reason text NOT NULL,
    kinds text[],
    account_id uuid,
    check_id text,
    severity text[],
    region text,
    resource text,
    tag text,
    job text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    lifted_at timestamptz,
    lifted_by text,
    CONSTRAINT retention_hold_pkey PRIMARY KEY (id),
    CONSTRAINT retention_hold_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE UNIQUE INDEX retention_hold_name_idx ON retention_hold (team_id, name)
    WHERE lifted_at IS NULL;
CREATE INDEX retention_hold_team_idx ON retention_hold (team_id, id);

CREATE TABLE retention_tally (
    team_id uuid NOT NULL,
    kind text NOT NULL,
    cycle uuid NOT NULL,
    at timestamptz NOT NULL,
    deleted bigint NOT NULL,
    CONSTRAINT retention_tally_pkey PRIMARY KEY (team_id, kind, cycle),
    CONSTRAINT retention_tally_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE INDEX finding_gone_idx ON finding (coverage_id, gone_at) WHERE gone_at IS NOT NULL;
CREATE INDEX resource_gone_idx ON resource (account_id, gone_at) WHERE gone_at IS NOT NULL;
"""


def upgrade() -> None:
    """Make the tables and indexes."""
    for statement in filter(str.strip, STATEMENTS.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Keep everything for ever again."""
    for statement in (
        "DROP INDEX resource_gone_idx",
        "DROP INDEX finding_gone_idx",
        "DROP TABLE retention_tally",
        "DROP TABLE retention_hold",
        "DROP TABLE retention_policy",
    ):
        op.get_bind().exec_driver_sql(statement)
