"""When findings were first seen is asked of the scans that saw them: one index of findings less."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index a few scans instead of every finding."""
    _run("CREATE INDEX scan_finished_idx ON scan (team_id, finished_at)")
    _run("DROP INDEX finding_time_idx")


def downgrade() -> None:
    """Index every finding again."""
    _run("CREATE INDEX finding_time_idx ON finding (team_id, severity, first_seen_at)")
    _run("DROP INDEX scan_finished_idx")


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)
