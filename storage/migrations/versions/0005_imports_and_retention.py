"""Imported files."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE import_file (
    scan_id uuid NOT NULL,
    account_id uuid NOT NULL,
    is_complete boolean NOT NULL,
    sha256 bytea,
    size bigint DEFAULT 0 NOT NULL,
    read_at timestamptz NOT NULL,
    CONSTRAINT import_file_pkey PRIMARY KEY (scan_id),
    CONSTRAINT import_file_scan_id_fkey FOREIGN KEY (scan_id)
        REFERENCES scan (id) ON DELETE CASCADE
);

CREATE INDEX import_file_account_idx ON import_file (account_id, scan_id)
    WHERE sha256 IS NOT NULL;
CREATE INDEX import_file_unread_idx ON import_file (read_at) WHERE sha256 IS NULL;
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in filter(str.strip, TABLES.split(";\n")):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Forget which files were imported."""
    op.get_bind().exec_driver_sql("DROP TABLE import_file")
