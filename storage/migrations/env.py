"""Runs migrations: on the connection that `storage.bootstrap.migrate` hands over, or on a new one
for people who call Alembic themselves."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from storage.cascades import cascade_tables
from storage.database import open_engine
from storage.findings import finding_tables
from storage.inventory import asset_tables
from storage.merge import staging_tables
from storage.retention import retention_tables
from storage.scans import import_tables
from storage.schedules import schedule_tables
from storage.tables import Base
from storage.watchdog import watchdog_tables

METADATA = Base.metadata
assert {  # noqa: S101
    asset_tables.AssetRow.__tablename__,
    cascade_tables.CascadeRuleRow.__tablename__,
    finding_tables.FindingRow.__tablename__,
    import_tables.ImportFileRow.__tablename__,
    retention_tables.RetentionPolicyRow.__tablename__,
    schedule_tables.ScheduleRow.__tablename__,
    staging_tables.FINDING_STAGING.name,
    watchdog_tables.RepairRow.__tablename__,
} <= set(METADATA.tables)


def run(connection: Connection) -> None:
    """Upgrade or compare on this connection, in its transaction."""
    context.configure(connection=connection, target_metadata=METADATA, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    """Connect by CLOUDSWEEP_DATABASE_URL."""
    engine = open_engine(os.environ["CLOUDSWEEP_DATABASE_URL"])
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


handed_over = context.config.attributes.get("connection")
if handed_over is None:
    asyncio.run(run_alone())
else:
    run(handed_over)
