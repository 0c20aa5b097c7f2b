"""What a tool has done of a shard: the next try goes on from there."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE scan_checkpoint (
    scan_id uuid NOT NULL,
    key text NOT NULL,
    run integer NOT NULL,
    report bytea NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT scan_checkpoint_pkey PRIMARY KEY (scan_id, key),
    CONSTRAINT scan_checkpoint_scan_id_fkey FOREIGN KEY (scan_id, key)
        REFERENCES scan_task (scan_id, key) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    """Make the table."""
    op.get_bind().exec_driver_sql(TABLE)


def downgrade() -> None:
    """Each try begins anew."""
    op.get_bind().exec_driver_sql("DROP TABLE scan_checkpoint")
