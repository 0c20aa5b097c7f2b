"""Retention at work: what a cycle would delete, and deleting it in small batches.

A batch is one transaction: it chooses rows under the locks that keep them as they are, gives them
out to be archived, deletes them and counts them. Killed anywhere, it has deleted nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.retention import KindPreview, RetentionPreview
from contracts.vocabulary import RetentionKind
from storage.findings.finding_counts import fold_counts
from storage.retention import retention_policies
from storage.retention.retention_locks import keep_merges_out, lock_team
from storage.retention.retention_rules import CLOSED_WITH, SOURCES, Part, Source
from storage.vulnerabilities.vulnerability_sync import lock_account

_LIMITS: Final = text("""
    SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '120s', true),
           set_config('idle_in_transaction_session_timeout', '60s', true)
""")
"""Of a batch: it waits for nobody for long, and nobody for it, also if its worker stands still."""

_PATIENCE: Final = text("SELECT set_config('statement_timeout', '45s', true)")
"""Of a preview, which a person waits for."""
_SUBJECTS: Final = text("""
    DELETE FROM finding_subject AS subject
    WHERE subject.team_id = :team_id AND hashtext(subject.resource_uid) = ANY(:hashes)
      AND NOT EXISTS (
          SELECT FROM finding
          WHERE finding.resource_hash = hashtext(subject.resource_uid)
            AND finding.resource_uid = subject.resource_uid AND finding.team_id = subject.team_id
            AND finding.resource_name = subject.resource_name
      )
""")
"""What `q` looks for: nothing finds it any more. An older name of a resource goes with it."""
_HASHES: Final = text("SELECT DISTINCT resource_hash FROM finding WHERE id = ANY(:ids)")


class Cursor(NamedTuple):
    """The last row that was chosen: what comes before it and is still there is to stay."""

    id: UUID
    number: int


START: Final = Cursor(UUID(int=0), -1)


class Batch(NamedTuple):
    """Rows that are about to be deleted, each moment between these."""

    source: Source
    team_id: UUID
    values: Mapping[str, Any]
    first: datetime
    last: datetime
    after: Cursor

    def __bool__(self) -> bool:
        """False when others held on to all that was chosen: the next cycle finds it again."""
        return bool(self.values["ids"])


def cutoff(keep_days: int | None, at: datetime) -> datetime | None:
    """What is as old as this need not be kept; None: everything is. A day has 24 hours, whatever
    the calendar or the clock of a zone says."""
    return None if keep_days is None else at - timedelta(days=keep_days)


async def preview(
    session: AsyncSession,
    team_id: UUID,
    proposed: Mapping[RetentionKind, int | None],
    *,
    at: datetime,
) -> RetentionPreview:
    """What a cycle would delete now, by the stored policies but for those that are proposed."""
    await session.execute(_PATIENCE)
    days = {**await retention_policies.keep_days(session, team_id), **proposed}
    found = []
    for kind in RetentionKind:
        before = cutoff(days[kind], at)
        counts = {"deletes": 0, "held": 0, "needed": 0}
        oldest = []
        for source in SOURCES:
            if source.kind is not kind or before is None:
                continue
            row = (
                await session.execute(
                    text(f"""
                        {source.holds}
                        SELECT count(*) FILTER (WHERE NOT is_needed AND NOT is_held) AS deletes,
                               count(*) FILTER (WHERE NOT is_needed AND is_held) AS held,
                               count(*) FILTER (WHERE is_needed) AS needed,
                               min(moment) FILTER (WHERE NOT is_needed AND NOT is_held) AS oldest
                        FROM ({source.old} OFFSET 0) AS old  -- each condition once a row
                    """),  # noqa: S608 (our own names)
                    {"team_id": team_id, "account_id": None, "cutoff": before},
                )
            ).one()
            counts = {name: counts[name] + getattr(row, name) for name in counts}
            oldest += [row.oldest] if row.oldest else []
        found.append(
            KindPreview(
                kind=kind,
                keep_days=days[kind],
                before=before,
                oldest_at=min(oldest, default=None),
                **counts,
            )
        )
    return RetentionPreview(at=at, kinds=found)


async def split(
    session: AsyncSession, source: Source, team_id: UUID, *, at: datetime
) -> list[UUID | None]:
    """Accounts whose old rows are to be deleted one account after the other, so that the merges of
    no other wait; None: all of the team together."""
    if not source.by_account:
        return [None]
    days = await retention_policies.keep_days(session, team_id)
    before = cutoff(days[source.kind], at)
    if before is None:
        return []
    found = await session.scalars(
        text(f"""
            {source.holds}
            SELECT DISTINCT account_id FROM ({source.old}) AS old
            WHERE NOT is_needed AND NOT is_held ORDER BY account_id
        """),  # noqa: S608 (our own names)
        {"team_id": team_id, "account_id": None, "cutoff": before},
    )
    return list(found)


async def take(
    session: AsyncSession,
    source: Source,
    team_id: UUID,
    account_id: UUID | None,
    *,
    after: Cursor,
    limit: int,
    at: datetime,
) -> Batch | None:
    """The next rows to delete; nobody changes them before the transaction ends. None: no more.

    DatabaseUnavailable when somebody else holds on to what it needs; then it is to be tried again.
    """
    await session.execute(_LIMITS)
    await lock_team(session, team_id)
    days = await retention_policies.keep_days(session, team_id)
    before = cutoff(days[source.kind], at)
    if before is None:
        return None
    if account_id is not None:
        await keep_merges_out(session, account_id)
        await lock_account(session, account_id)
    chosen = (
        await session.execute(
            text(f"""
                {source.holds}
                SELECT id, number, moment FROM ({source.old}) AS old
                WHERE NOT is_needed AND NOT is_held
                  AND (id, number) > (CAST(:after_id AS uuid), CAST(:after_number AS bigint))
                ORDER BY id, number LIMIT :limit
            """),  # noqa: S608 (our own names)
            {
                "team_id": team_id,
                "account_id": account_id,
                "cutoff": before,
                "after_id": after.id,
                "after_number": after.number,
                "limit": limit,
            },
        )
    ).all()
    if not chosen:
        return None
    last = Cursor(chosen[-1].id, chosen[-1].number)
    values: dict[str, Any] = {
        "ids": [row.id for row in chosen],
        "numbers": [row.number for row in chosen],
        "closed": [],
        "team_id": team_id,
        "account_id": account_id,
    }
    if source.locks is not None:
        locked = set(await session.scalars(text(source.locks), values))
        chosen = [row for row in chosen if row.id in locked]
        values["ids"] = [row.id for row in chosen]
    if source.kind is RetentionKind.RESOLVED_FINDINGS:
        values["closed"] = list(await session.scalars(text(CLOSED_WITH), values))
    moments = [row.moment for row in chosen]
    return Batch(source, team_id, values, min(moments, default=at), max(moments, default=at), last)


async def lines(session: AsyncSession, batch: Batch) -> list[str]:
    """Every row of a batch as a JSON document: its table, and all its columns."""
    found = []
    for part in batch.source.parts:
        name, also = part.also or ("", "NULL")
        rows = await session.execute(
            _of_part(part, f"SELECT CAST(to_json(part) AS text), CAST({also} AS text) FROM"),
            batch.values,
        )
        for row, more in rows:
            extra = f',"{name}":{more}' if more else ""
            found.append(f'{{"table":"{part.table}","row":{row}{extra}}}\n')
    return found


async def delete(session: AsyncSession, batch: Batch, *, cycle: UUID, at: datetime) -> int:
    """Delete a batch and count it for its cycle; returns how many rows of its kind it had."""
    is_findings = batch.source.kind is RetentionKind.RESOLVED_FINDINGS
    hashes = list(await session.scalars(_HASHES, batch.values)) if is_findings else []
    deleted = 0
    for part in batch.source.parts:
        did = await session.execute(_of_part(part, "DELETE FROM"), batch.values)
        if part.table == batch.source.counted:
            deleted = did.rowcount  # type: ignore[attr-defined]
    if is_findings:
        await session.execute(_SUBJECTS, {"team_id": batch.team_id, "hashes": hashes})
    await retention_policies.count_deleted(
        session,
        batch.team_id,
        batch.source.kind,
        deleted,
        newest=batch.last,
        cycle=cycle,
        at=at,
    )
    return deleted


async def finish(
    session: AsyncSession, source: Source, team_id: UUID, account_id: UUID | None
) -> None:
    """Sum up what the triggers appended while findings of an account were deleted."""
    if source.kind is RetentionKind.RESOLVED_FINDINGS and account_id is not None:
        await fold_counts(session, team_id, account_id)


def _of_part(part: Part, verb: str) -> TextClause:
    return text(f"{verb} {part.table} AS part WHERE {part.where}")
