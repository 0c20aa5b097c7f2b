"""The first tables: teams, keys, accounts, scans, checks, findings, resources and staging."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES = """
CREATE TYPE severity AS ENUM ('informational', 'low', 'medium', 'high', 'critical');
CREATE TYPE finding_status AS ENUM ('pass', 'fail', 'manual', 'not_assessed');
CREATE TYPE finding_state AS ENUM ('open', 'resolved', 'muted', 'accepted');
CREATE TYPE finding_transition AS ENUM ('opened', 'changed', 'resolved', 'reopened');
"""

TABLES = """
CREATE TABLE team (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    CONSTRAINT team_pkey PRIMARY KEY (id),
    CONSTRAINT team_name_key UNIQUE (name)
);

CREATE TABLE api_key (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_key_pkey PRIMARY KEY (id),
    CONSTRAINT api_key_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT api_key_hash_key UNIQUE (hash)
);

CREATE INDEX api_key_team_id_id_idx ON api_key (team_id, id);

CREATE TABLE account (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    name text NOT NULL,
    provider text NOT NULL,
    uid text,
    credentials jsonb NOT NULL,
    regions text[],
    endpoint_url text,
    home_region text,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT account_pkey PRIMARY KEY (id),
    CONSTRAINT account_team_id_name_key UNIQUE (team_id, name),
    CONSTRAINT account_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id)
);

CREATE INDEX account_team_id_id_idx ON account (team_id, id);

CREATE TABLE scan (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    account_id uuid NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    options jsonb NOT NULL,
    trigger_kind text NOT NULL,
    schedule_id uuid,
    idempotency_key text,
    queued_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    waiting_for text,
    notes text[] DEFAULT '{}' NOT NULL,
    progress double precision,
    counts jsonb,
    error jsonb,
    CONSTRAINT scan_pkey PRIMARY KEY (id),
    CONSTRAINT scan_team_id_idempotency_key_key UNIQUE (team_id, idempotency_key),
    CONSTRAINT scan_team_id_fkey FOREIGN KEY (team_id) REFERENCES team (id),
    CONSTRAINT scan_account_id_fkey FOREIGN KEY (account_id) REFERENCES account (id)
);

CREATE INDEX scan_account_id_id_idx ON scan (account_id, id);
CREATE UNIQUE INDEX scan_one_running_per_account_idx ON scan (account_id)
    WHERE status IN ('running', 'paused');
CREATE INDEX scan_team_id_id_idx ON scan (team_id, id);

CREATE TABLE scan_task (
    scan_id uuid NOT NULL,
    key text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    source text,
    kind text NOT NULL,
    title text NOT NULL,
    batch integer NOT NULL,
    position integer NOT NULL,
    plan jsonb NOT NULL,
    status text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    progress double precision DEFAULT 0 NOT NULL,
    rows bigint DEFAULT 0 NOT NULL,
    covered bigint DEFAULT 0 NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    coverage jsonb,
    counts jsonb,
    error jsonb,
    CONSTRAINT scan_task_pkey PRIMARY KEY (scan_id, key),
    CONSTRAINT scan_task_id_key UNIQUE (id),
    CONSTRAINT scan_task_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES scan (id) ON DELETE CASCADE
);

CREATE TABLE check_definition (
    source text NOT NULL,
    provider text NOT NULL,
    check_id text NOT NULL,
    title text NOT NULL,
    severity severity NOT NULL,
    service text NOT NULL,
    description text NOT NULL,
    risk text NOT NULL,
    remediation text NOT NULL,
    "references" text[] NOT NULL,
    categories text[] NOT NULL,
    frameworks jsonb NOT NULL,
    CONSTRAINT check_definition_pkey PRIMARY KEY (source, provider, check_id)
);

CREATE TABLE check_coverage (
    id integer GENERATED ALWAYS AS IDENTITY,
    team_id uuid NOT NULL,
    account_id uuid NOT NULL,
    source text NOT NULL,
    provider text NOT NULL,
    check_id text NOT NULL,
    region text NOT NULL,
    service text NOT NULL,
    scan_id uuid,
    at timestamptz,
    CONSTRAINT check_coverage_pkey PRIMARY KEY (id),
    CONSTRAINT check_coverage_place_key UNIQUE (account_id, source, check_id, region)
);

CREATE TABLE finding (
    id uuid NOT NULL,
    team_id uuid NOT NULL,
    first_seen_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    resolved_at timestamptz,
    gone_at timestamptz,
    coverage_id integer NOT NULL,
    severity severity NOT NULL,
    status finding_status NOT NULL,
    state finding_state NOT NULL,
    resource_hash integer GENERATED ALWAYS AS (hashtext(resource_uid)) STORED NOT NULL,
    first_scan_id uuid NOT NULL,
    seen_scan_id uuid NOT NULL,
    resource_uid text NOT NULL,
    resource_name text NOT NULL,
    resource_type text NOT NULL,
    detail text NOT NULL,
    CONSTRAINT finding_pkey PRIMARY KEY (id)
);

CREATE INDEX finding_place_idx ON finding (coverage_id, severity, status, state);
CREATE INDEX finding_resource_idx ON finding (resource_hash);
CREATE INDEX finding_scan_idx ON finding (first_scan_id, severity);
CREATE INDEX finding_seen_idx ON finding (seen_scan_id, severity)
    WHERE seen_scan_id <> first_scan_id;
CREATE INDEX finding_time_idx ON finding (team_id, severity, first_seen_at);
CREATE INDEX finding_worst_idx ON finding (team_id, severity, id)
    INCLUDE (coverage_id, resource_hash, first_seen_at, status, state)
    WHERE gone_at IS NULL OR status <> 'pass';

CREATE TABLE finding_event (
    finding_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    scan_id uuid,
    transition finding_transition NOT NULL,
    reason text,
    before jsonb,
    after jsonb,
    CONSTRAINT finding_event_pkey PRIMARY KEY (finding_id, id)
);

CREATE INDEX finding_event_scan_idx ON finding_event USING brin (scan_id)
    WITH (autosummarize = on);

CREATE TABLE finding_count (
    id bigint GENERATED ALWAYS AS IDENTITY,
    coverage_id integer NOT NULL,
    team_id uuid NOT NULL,
    account_id uuid NOT NULL,
    source text NOT NULL,
    check_id text NOT NULL,
    service text NOT NULL,
    region text NOT NULL,
    severity severity NOT NULL,
    status finding_status NOT NULL,
    state finding_state NOT NULL,
    n bigint NOT NULL,
    CONSTRAINT finding_count_pkey PRIMARY KEY (id)
);

CREATE INDEX finding_count_account_idx ON finding_count (account_id, severity);
CREATE INDEX finding_count_check_idx ON finding_count (team_id, severity, check_id);
CREATE INDEX finding_count_region_idx ON finding_count (team_id, severity, region);
CREATE INDEX finding_count_service_idx ON finding_count (team_id, severity, service);
CREATE INDEX finding_count_verdict_idx ON finding_count (team_id, severity, status, state);

CREATE TABLE finding_total (
    id bigint GENERATED ALWAYS AS IDENTITY,
    team_id uuid NOT NULL,
    source text NOT NULL,
    service text NOT NULL,
    region text NOT NULL,
    severity severity NOT NULL,
    status finding_status NOT NULL,
    state finding_state NOT NULL,
    n bigint NOT NULL,
    CONSTRAINT finding_total_pkey PRIMARY KEY (id)
);

CREATE INDEX finding_total_team_idx ON finding_total (team_id);

CREATE TABLE finding_subject (
    team_id uuid NOT NULL,
    resource_uid text NOT NULL,
    resource_name text NOT NULL,
    words tsvector NOT NULL
);

CREATE INDEX finding_subject_uid_idx ON finding_subject (hashtext(resource_uid));
CREATE INDEX finding_subject_words_idx ON finding_subject USING gin (words);

CREATE TABLE type_coverage (
    account_id uuid NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    scan_id uuid NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT type_coverage_pkey PRIMARY KEY (account_id, source, type)
);

CREATE TABLE resource (
    id uuid DEFAULT uuidv7() NOT NULL,
    team_id uuid NOT NULL,
    account_id uuid NOT NULL,
    source text NOT NULL,
    provider text NOT NULL,
    type text NOT NULL,
    uid text NOT NULL,
    name text NOT NULL,
    region text NOT NULL,
    tags jsonb NOT NULL,
    attributes jsonb NOT NULL,
    words tsvector NOT NULL,
    first_seen_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    gone_at timestamptz,
    CONSTRAINT resource_pkey PRIMARY KEY (id),
    CONSTRAINT resource_account_id_source_type_uid_key UNIQUE (account_id, source, type, uid)
);

CREATE INDEX resource_account_type_idx ON resource (account_id, type, id)
    WHERE gone_at IS NULL;
CREATE INDEX resource_region_idx ON resource (team_id, region, id)
    WHERE gone_at IS NULL;
CREATE INDEX resource_tags_idx ON resource USING gin (tags jsonb_path_ops);
CREATE INDEX resource_team_idx ON resource (team_id, id)
    WHERE gone_at IS NULL;
CREATE INDEX resource_words_idx ON resource USING gin (words);

CREATE UNLOGGED TABLE finding_staging (
    task_id bigint NOT NULL,
    identity uuid NOT NULL,
    check_id text NOT NULL,
    service text NOT NULL,
    region text NOT NULL,
    severity severity NOT NULL,
    status finding_status NOT NULL,
    resource_uid text NOT NULL,
    resource_name text NOT NULL,
    resource_type text NOT NULL,
    detail text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

CREATE UNLOGGED TABLE resource_staging (
    task_id bigint NOT NULL,
    type text NOT NULL,
    uid text NOT NULL,
    name text NOT NULL,
    region text NOT NULL,
    tags jsonb NOT NULL,
    attributes jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

CREATE UNLOGGED TABLE coverage_staging (
    task_id bigint NOT NULL,
    check_id text NOT NULL,
    region text NOT NULL,
    service text DEFAULT '' NOT NULL,
    is_complete boolean NOT NULL,
    CONSTRAINT coverage_staging_pkey PRIMARY KEY (task_id, check_id, region)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
"""

WORDS = r"""
CREATE FUNCTION search_words(uid text, name text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    -- Of an ARN what comes after the account: partition, service, region and account have filters.
    -- 500 characters: a word of a tsvector has less than 2,048 bytes.
    RETURN array_to_tsvector(array_remove(string_to_array(translate(lower(left(
        CASE WHEN uid LIKE 'arn:%:%:%:%:_%' THEN
            substr(uid, 6 + length(
                split_part(uid, ':', 1) || split_part(uid, ':', 2) || split_part(uid, ':', 3)
                || split_part(uid, ':', 4) || split_part(uid, ':', 5)
            ))
        ELSE uid END
        || CASE WHEN strpos(uid, name) > 0 THEN '' ELSE ' ' || name END,
        500
    )), ':/-_.@', '      '), ' '), ''))
"""

COUNT = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH change AS MATERIALIZED (
        SELECT coverage_id, severity, status, state, sum(n) AS n
        FROM ({rows}) AS counted
        WHERE gone_at IS NULL OR status <> 'pass'
        GROUP BY coverage_id, severity, status, state
        HAVING sum(n) <> 0
    ), placed AS MATERIALIZED (
        SELECT coverage_id, team_id, account_id, source, check_id, service, region,
               severity, status, state, n
        FROM change JOIN check_coverage ON check_coverage.id = change.coverage_id
    ), totals AS (
        INSERT INTO finding_total (team_id, source, service, region, severity, status, state, n)
        SELECT team_id, source, service, region, severity, status, state, sum(n)
        FROM placed
        GROUP BY team_id, source, service, region, severity, status, state
        HAVING sum(n) <> 0
    )
    INSERT INTO finding_count
        (coverage_id, team_id, account_id, source, check_id, service, region,
         severity, status, state, n)
    SELECT * FROM placed;
    RETURN NULL;
END
$$
"""

ADDED = "SELECT *, 1 AS n FROM new_rows"
REMOVED = "SELECT *, -1 AS n FROM old_rows"

SUBJECT = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
    -- Always by index: the plan is made once a session, for however many rows came first.
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO finding_subject (team_id, resource_uid, resource_name, words)
    SELECT team_id, resource_uid, resource_name,
           search_words(resource_uid, resource_name)
    FROM (SELECT DISTINCT team_id, resource_uid, resource_name FROM {rows}) AS seen
    WHERE NOT EXISTS (
        SELECT FROM finding_subject AS known
        WHERE hashtext(known.resource_uid) = hashtext(seen.resource_uid)
          AND known.resource_uid = seen.resource_uid
          AND known.resource_name = seen.resource_name
          AND known.team_id = seen.team_id
    );
    RETURN NULL;
END
$$
"""

RENAMED = """(
        SELECT new_rows.* FROM new_rows JOIN old_rows USING (id)
        WHERE new_rows.resource_name <> old_rows.resource_name
    ) AS renamed"""

TRIGGER = """
CREATE TRIGGER {name} AFTER {event} ON finding REFERENCING {rows}
    FOR EACH STATEMENT EXECUTE FUNCTION {name}()
"""

NEW, OLD = "NEW TABLE AS new_rows", "OLD TABLE AS old_rows"


def upgrade() -> None:
    """Make everything."""
    for script in (TYPES, TABLES):
        for statement in script.split(";\n"):
            _run(statement)
    _run(WORDS)
    for name, event, tables, rows in (
        ("finding_count_inserted", "INSERT", NEW, ADDED),
        ("finding_count_updated", "UPDATE", f"{OLD} {NEW}", f"{ADDED} UNION ALL {REMOVED}"),
        ("finding_count_deleted", "DELETE", OLD, REMOVED),
    ):
        _run(COUNT.format(name=name, rows=rows))
        _run(TRIGGER.format(name=name, event=event, rows=tables))
    for name, event, tables, rows in (
        ("finding_subject_inserted", "INSERT", NEW, "new_rows"),
        ("finding_subject_updated", "UPDATE", f"{OLD} {NEW}", RENAMED),
    ):
        _run(SUBJECT.format(name=name, rows=rows))
        _run(TRIGGER.format(name=name, event=event, rows=tables))


def downgrade() -> None:
    """Drop everything."""
    for table in (
        *("coverage_staging", "resource_staging", "finding_staging", "resource"),
        *("type_coverage", "finding_subject", "finding_total", "finding_count", "finding_event"),
        *("finding", "check_coverage"),
        *("check_definition", "scan_task", "scan", "account", "api_key", "team"),
    ):
        _run(f"DROP TABLE {table}")
    for function in (
        *("finding_count_inserted()", "finding_count_updated()", "finding_count_deleted()"),
        *("finding_subject_inserted()", "finding_subject_updated()", "search_words(text, text)"),
    ):
        _run(f"DROP FUNCTION {function}")
    for kind in ("finding_transition", "finding_state", "finding_status", "severity"):
        _run(f"DROP TYPE {kind}")


def _run(statement: str) -> None:
    if statement.strip():
        op.get_bind().exec_driver_sql(statement)
