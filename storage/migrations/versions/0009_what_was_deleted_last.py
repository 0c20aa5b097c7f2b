"""How new the newest row was that a cycle of retention deleted."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE retention_tally ADD COLUMN newest timestamptz",
    "UPDATE retention_tally SET newest = at",
    "ALTER TABLE retention_tally ALTER COLUMN newest SET NOT NULL",
)


def upgrade() -> None:
    """Of what was deleted until now it was older than that."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Count only."""
    op.get_bind().exec_driver_sql("ALTER TABLE retention_tally DROP COLUMN newest")
