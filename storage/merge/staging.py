"""What a shard observes, COPYed in batches into unlogged tables, keyed by the shard's task."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Contract
from contracts.errors import NotFound, Superseded
from contracts.observations import CoveredCheck, ObservedFinding, ObservedResource
from contracts.vocabulary import Provider, TaskStatus
from storage.merge.identity import finding_identity

Connection: TypeAlias = "asyncpg.Connection[Any]"
RowT = TypeVar("RowT")

ROWS_AT_ONCE: Final = 10_000
"""Rows encoded between two awaits, so that heartbeats go on."""
LIVE: Final = [TaskStatus.PENDING, TaskStatus.RUNNING]
KEY_BYTES: Final = 2_000
"""What a unique index takes of a resource's uid."""

_FINDING_COLUMNS: Final = ("task_id", "identity", *ObservedFinding._fields)
_RESOURCE_COLUMNS: Final = ("task_id", *ObservedResource._fields)


class StagingTarget(Contract):
    """The shard that rows are staged for, and what its findings' identities are made of.

    `begun` is when this attempt began: once a later one has, nothing more is staged for it.
    """

    scan_id: UUID
    key: str
    team_id: UUID
    account_id: UUID
    account_uid: str
    provider: Provider
    source: str
    begun: datetime | None = None


STAGING: Final = ("finding_staging", "resource_staging", "coverage_staging")


async def clear_staging(session: AsyncSession, scan_id: UUID, key: str) -> None:
    """Delete what an earlier attempt of this shard staged."""
    task = "SELECT id FROM scan_task WHERE scan_id = :scan_id AND key = :key"
    for table in STAGING:
        await session.execute(
            text(f"DELETE FROM {table} WHERE task_id = ({task})"),  # noqa: S608 (our own names)
            {"scan_id": scan_id, "key": key},
        )


async def forget_staged(session: AsyncSession, scan_id: UUID) -> None:
    """Delete what shards of a scan staged that were never merged."""
    tasks = "SELECT id FROM scan_task WHERE scan_id = :scan_id"
    for table in STAGING:
        await session.execute(
            text(f"DELETE FROM {table} WHERE task_id IN ({tasks})"),  # noqa: S608 (our own names)
            {"scan_id": scan_id},
        )


async def stage_findings(
    c: Connection, target: StagingTarget, findings: Sequence[ObservedFinding]
) -> int:
    """Add findings to the shard's rows; returns how many."""
    task_id = await _task_id(c, target)
    identity = finding_identity(target.team_id, target.source, target.provider, target.account_id)
    for part in _parts(findings):
        stored = part if _is_storable(part) else map(_storable_finding, part)
        await c.copy_records_to_table(
            "finding_staging",
            records=(
                (task_id, identity(row[0], row[2], row[3]), *kept)
                for row, kept in zip(part, stored, strict=True)
            ),
            columns=_FINDING_COLUMNS,
        )
    return len(findings)


async def _task_id(c: Connection, target: StagingTarget) -> int:
    """What staged rows call the shard, which learns here which scanner they are of.

    Until the transaction ends no other attempt begins and nobody merges.
    """
    shard = await c.fetchrow(
        """
        SELECT id, source, started_at, status = ANY($3) AS is_live
        FROM scan_task WHERE scan_id = $1 AND key = $2 FOR NO KEY UPDATE
        """,
        target.scan_id,
        target.key,
        LIVE,
    )
    if shard is None:
        raise NotFound(f"This scan has no shard {target.key}.")
    if target.begun is not None and not (shard["is_live"] and shard["started_at"] == target.begun):
        raise Superseded(f"Shard {target.key} has ended, or another attempt has begun.")
    if shard["source"] != target.source:
        await c.execute(
            "UPDATE scan_task SET source = $2 WHERE id = $1", shard["id"], target.source
        )
    return int(shard["id"])


def _parts(rows: Sequence[RowT]) -> Iterator[Sequence[RowT]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def _is_storable(rows: Sequence[ObservedFinding]) -> bool:
    """Whether PostgreSQL takes these as they are: no NUL, and no half of a surrogate pair."""
    text = "".join(chain.from_iterable(rows))
    return text.isascii() and "\0" not in text


def _storable_finding(row: ObservedFinding) -> ObservedFinding:
    return ObservedFinding._make(map(_plain, row))


async def stage_coverage(
    c: Connection, target: StagingTarget, covered: Sequence[CoveredCheck]
) -> int:
    """Add pairs that the shard completed; returns how many were not there yet.

    For discovery a pair is (type, ""): the type was read completely.
    """
    task_id = await _task_id(c, target)
    added: int = await c.fetchval(
        """
        WITH added AS (
            INSERT INTO coverage_staging (task_id, check_id, region, is_complete)
            SELECT $1, *, true FROM unnest($2::text[], $3::text[])
            ON CONFLICT DO NOTHING RETURNING 1
        )
        SELECT count(*) FROM added
        """,
        task_id,
        *_columns(covered),
    )
    return added


async def mark_not_assessed(
    c: Connection, target: StagingTarget, pairs: Sequence[CoveredCheck]
) -> None:
    """Turn what is staged of these pairs into `not_assessed`: its verdicts cannot be trusted."""
    await c.execute(
        """
        UPDATE finding_staging SET status = 'not_assessed'
        WHERE task_id = $1 AND status <> 'not_assessed'
          AND (check_id, region) IN (SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        await _task_id(c, target),
        *_columns(pairs),
    )


def _columns(pairs: Sequence[CoveredCheck]) -> tuple[list[str], list[str]]:
    return [pair.check_id for pair in pairs], [pair.region for pair in pairs]


async def stage_resources(
    c: Connection, target: StagingTarget, resources: Sequence[ObservedResource]
) -> int:
    """Add resources to the shard's rows; returns how many."""
    task_id = await _task_id(c, target)
    for part in _parts(resources):
        await c.copy_records_to_table(
            "resource_staging",
            records=_resource_records(task_id, part),
            columns=_RESOURCE_COLUMNS,
        )
    return len(resources)


def _resource_records(
    task_id: int, resources: Sequence[ObservedResource]
) -> Iterator[tuple[Any, ...]]:
    for row in resources:
        yield (
            task_id,
            *(_indexable(_plain(row.uid)), _plain(row.type)),
            *(_plain(row.name), _plain(row.region)),
            *(_json(row.tags), _json(row.attributes)),
        )


def _json(value: Any) -> str:
    """What jsonb takes: no NUL, no half of a surrogate pair, no NaN."""
    return json.dumps(_storable(value), ensure_ascii=False, allow_nan=False, default=str)


def _storable(value: Any) -> Any:
    match value:
        case str():
            return _plain(value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_plain(str(name)): _storable(part) for name, part in value.items()}
        case list() | tuple():
            return [_storable(part) for part in value]
        case _:
            return value


def _indexable(field: str) -> str:
    return field.encode()[:KEY_BYTES].decode(errors="ignore")


def _plain(field: str) -> str:
    return field.replace("\0", "").encode("utf-8", "replace").decode()
