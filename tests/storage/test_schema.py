"""The models and the migrations make the same tables."""

from __future__ import annotations

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade, upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from contracts.errors import PermanentError
from storage import bootstrap
from storage.cascades import cascade_tables
from storage.database import open_engine
from storage.findings import finding_tables
from storage.inventory import asset_tables
from storage.merge import staging_tables
from storage.retention import retention_tables
from storage.scans import import_tables
from storage.schedules import schedule_tables
from storage.tables import Base
from storage.targets import target_tables
from storage.vulnerabilities import vulnerability_tables
from storage.watchdog import watchdog_tables

DEFINED_IN = {
    asset_tables.AssetRow.__table__,
    cascade_tables.CascadeRuleRow.__table__,
    finding_tables.FindingRow.__table__,
    import_tables.ImportFileRow.__table__,
    retention_tables.RetentionPolicyRow.__table__,
    schedule_tables.ScheduleRow.__table__,
    staging_tables.FINDING_STAGING,
    target_tables.TargetRow.__table__,
    vulnerability_tables.VulnerabilityRow.__table__,
    watchdog_tables.RepairRow.__table__,
}

CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default,
               identity_generation
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
    """,
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
          AND conrelid <> 'alembic_version'::regclass ORDER BY 1, 2
    """,
    "storage": """
        SELECT relname, relpersistence::text, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname <> 'alembic_version' ORDER BY 1
    """,
    "words": """
        SELECT typname, array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum
        JOIN pg_type ON pg_type.oid = enumtypid GROUP BY 1 ORDER BY 1
    """,
}


def _catalogue(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: [tuple(row) for row in connection.execute(text(query))]
        for name, query in CATALOGUE.items()
    }


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.attributes["connection"] = connection
    return config


async def test_alembic_sees_no_difference_between_models_and_migrations(database_url: str) -> None:
    assert set(Base.metadata.tables.values()) >= DEFINED_IN
    engine = open_engine(database_url)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_migrations_make_exactly_what_the_models_declare(database_url: str) -> None:
    """Also what Alembic does not compare: conditions of indexes, unlogged tables, options."""
    engine = open_engine(database_url)
    async with engine.connect() as connection:
        migrated = await connection.run_sync(_catalogue)
        await connection.run_sync(lambda sync: downgrade(_config(sync), "base"))
        await connection.run_sync(Base.metadata.create_all)
        declared = await connection.run_sync(_catalogue)
        await connection.rollback()
    await engine.dispose()
    assert migrated == declared


async def test_migrations_go_down_and_up_again(database_url: str) -> None:
    engine = open_engine(database_url)
    async with engine.connect() as connection:
        before = await connection.run_sync(_catalogue)
        await connection.run_sync(lambda sync: downgrade(_config(sync), "base"))
        left = await connection.execute(
            text(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
                " UNION ALL SELECT typname FROM pg_type WHERE typtype = 'e'"
            )
        )
        assert left.all() == []
        await connection.run_sync(lambda sync: upgrade(_config(sync), "head"))
        assert await connection.run_sync(_catalogue) == before
        await connection.rollback()
    await engine.dispose()


async def test_an_older_postgresql_is_refused_with_the_fix(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(database_url)
    before = await connection.fetchval(
        "UPDATE alembic_version SET version_num = '0009' RETURNING *"
    )
    monkeypatch.setattr(bootstrap, "OLDEST", 990_000)
    with pytest.raises(PermanentError, match="too old") as refused:
        await bootstrap.migrate(database_url)
    assert "PostgreSQL 18 or later" in (refused.value.fix or "")
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == before
    await connection.close()
