"""When the newest finding was opened in each place: what is new is looked for there alone."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STORED = """
UPDATE check_coverage SET opened_at = newest.at
FROM (SELECT coverage_id, max(first_seen_at) AS at FROM finding GROUP BY coverage_id) AS newest
WHERE newest.coverage_id = check_coverage.id
"""

COUNT = """
CREATE OR REPLACE FUNCTION finding_count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH change AS MATERIALIZED (
        SELECT coverage_id, severity, status, state, count(*) AS n, max(first_seen_at) AS newest
        FROM new_rows
        WHERE gone_at IS NULL OR status <> 'pass'
        GROUP BY coverage_id, severity, status, state
    ), opened AS (
        UPDATE check_coverage SET opened_at = greatest(opened_at, here.newest)
        FROM (
            SELECT coverage_id, max(newest) AS newest FROM change GROUP BY coverage_id
        ) AS here
        WHERE check_coverage.id = here.coverage_id
    ), placed AS MATERIALIZED (
        SELECT coverage_id, team_id, account_id, source, check_id, service, region,
               severity, status, state, n
        FROM change JOIN check_coverage ON check_coverage.id = change.coverage_id
    ), totals AS (
        INSERT INTO finding_total (team_id, source, service, region, severity, status, state, n)
        SELECT team_id, source, service, region, severity, status, state, sum(n)
        FROM placed
        GROUP BY team_id, source, service, region, severity, status, state
    )
    INSERT INTO finding_count
        (coverage_id, team_id, account_id, source, check_id, service, region,
         severity, status, state, n)
    SELECT * FROM placed;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """From the findings that are stored; from now on by what counts them."""
    for statement in ("ALTER TABLE check_coverage ADD COLUMN opened_at timestamptz", STORED, COUNT):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Count only."""
    before = COUNT[: COUNT.index("    ), opened AS")] + COUNT[COUNT.index("    ), placed AS") :]
    op.get_bind().exec_driver_sql(before)
    op.get_bind().exec_driver_sql("ALTER TABLE check_coverage DROP COLUMN opened_at")
