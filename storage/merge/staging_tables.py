"""UNLOGGED tables that shards COPY into: no WAL, emptied by a crash of PostgreSQL, and short-lived.

Rows name their shard by `scan_task.id`. A merge checks that none is missing, and deletes them. No
index: only what is staged and not merged is here, so reading all of it costs less than an index.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, PrimaryKeyConstraint, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from storage.tables import SEVERITY, STATUS, Base

EAGER_VACUUM: Final = {
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 5000,
}
"""Rows live for minutes: their space is to be had again soon."""


def _task() -> Column[Any]:
    return Column("task_id", BigInteger(), nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text(), nullable=False)


FINDING_STAGING = Table(
    "finding_staging",
    Base.metadata,
    _task(),
    Column("identity", Uuid(), nullable=False),
    _text("check_id"),
    _text("service"),
    _text("region"),
    Column("severity", SEVERITY, nullable=False),
    Column("status", STATUS, nullable=False),
    _text("resource_uid"),
    _text("resource_name"),
    _text("resource_type"),
    _text("detail"),
    prefixes=["UNLOGGED"],
    postgresql_with=EAGER_VACUUM,
)

RESOURCE_STAGING = Table(
    "resource_staging",
    Base.metadata,
    _task(),
    _text("type"),
    _text("uid"),
    _text("name"),
    _text("region"),
    Column("tags", JSONB(), nullable=False),
    Column("attributes", JSONB(), nullable=False),
    prefixes=["UNLOGGED"],
    postgresql_with=EAGER_VACUUM,
)

COVERAGE_STAGING = Table(
    "coverage_staging",
    Base.metadata,
    _task(),
    _text("check_id"),
    _text("region"),
    Column("service", Text(), nullable=False, server_default=text("''")),
    Column("is_complete", Boolean(), nullable=False),
    PrimaryKeyConstraint("task_id", "check_id", "region"),
    prefixes=["UNLOGGED"],
    postgresql_with=EAGER_VACUUM,
)
