"""The life of a finding: vulnerabilities, their occurrences and history, what is due when."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE vulnerability (
    id uuid NOT NULL,
    team_id uuid NOT NULL,
    account_id uuid NOT NULL,
    first_detected_at timestamptz NOT NULL,
    reopened_at timestamptz,
    closed_at timestamptz,
    clock_started_at timestamptz NOT NULL,
    clock_stopped_at timestamptz,
    due_at timestamptz,
    accepted_until timestamptz,
    updated_at timestamptz NOT NULL,
    severity severity NOT NULL,
    open_occurrences integer NOT NULL,
    total_occurrences integer NOT NULL,
    status text NOT NULL,
    weakness text NOT NULL,
    resource_uid text NOT NULL,
    title text NOT NULL,
    owner text,
    CONSTRAINT vulnerability_pkey PRIMARY KEY (id)
);

CREATE INDEX vulnerability_account_idx ON vulnerability (account_id, severity, id);
CREATE INDEX vulnerability_decided_idx ON vulnerability (account_id)
    WHERE status IN ('accepted', 'false_positive');
CREATE INDEX vulnerability_accepted_idx ON vulnerability (accepted_until)
    WHERE accepted_until IS NOT NULL;
CREATE INDEX vulnerability_due_idx ON vulnerability (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX vulnerability_owner_idx ON vulnerability (team_id, owner, severity, id)
    WHERE owner IS NOT NULL;
CREATE INDEX vulnerability_weakness_idx ON vulnerability (team_id, weakness, severity, id);
CREATE INDEX vulnerability_worst_idx ON vulnerability (team_id, severity, id);

CREATE TABLE vulnerability_occurrence (
    finding_id uuid NOT NULL,
    vulnerability_id uuid NOT NULL,
    account_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    severity severity NOT NULL,
    is_open boolean NOT NULL,
    source text NOT NULL,
    CONSTRAINT vulnerability_occurrence_pkey PRIMARY KEY (finding_id)
);

CREATE INDEX vulnerability_occurrence_account_idx ON vulnerability_occurrence (account_id);
CREATE INDEX vulnerability_occurrence_of_idx ON vulnerability_occurrence (vulnerability_id);

CREATE TABLE vulnerability_event (
    vulnerability_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    transition text NOT NULL,
    reason text,
    before jsonb,
    after jsonb,
    CONSTRAINT vulnerability_event_pkey PRIMARY KEY (vulnerability_id, id)
);

CREATE TABLE vulnerability_cursor (
    account_id uuid NOT NULL,
    team_id uuid NOT NULL,
    synced_until timestamptz,
    asked integer DEFAULT 0 NOT NULL,
    served integer DEFAULT 0 NOT NULL,
    CONSTRAINT vulnerability_cursor_pkey PRIMARY KEY (account_id),
    CONSTRAINT vulnerability_cursor_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES account (id) ON DELETE CASCADE
);

CREATE INDEX vulnerability_cursor_team_idx ON vulnerability_cursor (team_id);

CREATE TABLE mute_rule (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    check_id text,
    resource text,
    region text,
    tag text,
    account_id uuid,
    reason text NOT NULL,
    until timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    enabled boolean NOT NULL,
    CONSTRAINT mute_rule_pkey PRIMARY KEY (id),
    CONSTRAINT mute_rule_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT mute_rule_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES account (id) ON DELETE CASCADE
);

CREATE INDEX mute_rule_team_idx ON mute_rule (team_id, id);

CREATE TABLE notice (
    id bigint GENERATED ALWAYS AS IDENTITY,
    team_id uuid NOT NULL,
    vulnerability_id uuid NOT NULL,
    kind text NOT NULL,
    due_at timestamptz NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT notice_pkey PRIMARY KEY (id),
    CONSTRAINT notice_vulnerability_id_kind_due_at_key UNIQUE (vulnerability_id, kind, due_at),
    CONSTRAINT notice_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT notice_vulnerability_id_fkey FOREIGN KEY (vulnerability_id)
        REFERENCES vulnerability (id) ON DELETE CASCADE
);

CREATE INDEX notice_team_idx ON notice (team_id, id);

CREATE INDEX finding_held_idx ON finding (coverage_id) WHERE state IN ('muted', 'accepted');

CREATE TABLE sla_policy (
    team_id uuid NOT NULL,
    days jsonb NOT NULL,
    restart_on_reopen boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    CONSTRAINT sla_policy_pkey PRIMARY KEY (team_id),
    CONSTRAINT sla_policy_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);
"""

DROPPED = (
    *("notice", "sla_policy", "mute_rule", "vulnerability_cursor", "vulnerability_event"),
    *("vulnerability_occurrence", "vulnerability"),
)


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, TABLES.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget every vulnerability and what was decided about it."""
    op.get_bind().exec_driver_sql("DROP INDEX finding_held_idx")
    for table in DROPPED:
        op.get_bind().exec_driver_sql(f"DROP TABLE {table}")
