"""What in the store contradicts itself: shards, staged rows and resources that were left behind."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.consistency import Fault
from contracts.vocabulary import ScanStatus, TaskStatus
from storage.merge.staging import STAGING
from storage.scans import scan_watch

ENDED: Final = "('completed', 'completed_with_errors', 'failed', 'cancelled')"

_SHARDS_LEFT: Final = text(f"""
    SELECT scan.id, scan.team_id, scan.status, count(*) AS n
    FROM scan_task AS task JOIN scan ON scan.id = task.scan_id
    WHERE task.status IN ('pending', 'running') AND scan.status IN {ENDED}
    GROUP BY scan.id ORDER BY scan.id LIMIT :limit
""")  # noqa: S608 (our own words)


async def shards_left(session: AsyncSession, *, limit: int) -> list[Fault]:
    """Scans that have ended while shards of them are said to run: `scan/<id>`."""
    return [
        Fault(
            subject=f"scan/{row.id}",
            team_id=row.team_id,
            words=f"The scan is {row.status}, but {row.n} of its shards were not ended. Ended them "
            "with it.",
        )
        for row in await session.execute(_SHARDS_LEFT, {"limit": limit})
    ]


async def end_shards(session: AsyncSession, scan_id: UUID, *, at: datetime) -> None:
    """End the shards of a scan that has ended, as its end would have."""
    status = await scan_watch.status_locked(session, scan_id)
    if status is None or not status.ended:
        return
    left = TaskStatus.CANCELLED if status is ScanStatus.CANCELLED else TaskStatus.FAILED
    await session.execute(
        text("""
            UPDATE scan_task SET status = :status, finished_at = :at
            WHERE scan_id = :scan_id AND status IN ('pending', 'running')
        """),
        {"status": left.value, "at": at, "scan_id": scan_id},
    )


_WANTED: Final = f"""
    EXISTS (
        SELECT FROM scan_task AS wanted JOIN scan AS going ON going.id = wanted.scan_id
        WHERE wanted.id = {{task_id}} AND going.status NOT IN {ENDED}
          AND wanted.status NOT IN ('completed', 'completed_with_errors', 'skipped')
    )
"""
"""Whether somebody may still merge a shard's rows: neither it nor its scan is over."""

_STAGING_LEFT: Final = text(
    f"""
    SELECT staged.task_id, scan.team_id, scan.id AS scan_id, task.key
    FROM ({" UNION ".join(f"SELECT task_id FROM {table}" for table in STAGING)}) AS staged
    LEFT JOIN scan_task AS task ON task.id = staged.task_id
    LEFT JOIN scan ON scan.id = task.scan_id
    WHERE NOT {_WANTED.format(task_id="staged.task_id")}
    ORDER BY staged.task_id LIMIT :limit
    """  # noqa: S608 (our own names)
)


async def staging_left(session: AsyncSession, installation: UUID, *, limit: int) -> list[Fault]:
    """Shards that left rows behind which nobody will merge: `staging/<task id>`."""
    return [
        Fault(
            subject=f"staging/{row.task_id}",
            team_id=row.team_id or installation,
            words=(
                f"Shard {row.key} of scan {row.scan_id} is over"
                if row.scan_id
                else "Their shard was deleted"
            )
            + ", but its rows were still staged. Deleted them.",
        )
        for row in await session.execute(_STAGING_LEFT, {"limit": limit})
    ]


async def delete_staged(session: AsyncSession, task_id: int, *, limit: int) -> int:
    """Delete up to so many staged rows of a shard, if nobody will merge them; returns how many."""
    deleted = 0
    for table in STAGING:
        rows = await session.execute(
            text(f"""
                DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM {table}
                    WHERE task_id = :task_id AND NOT {_WANTED.format(task_id=":task_id")}
                    LIMIT :limit
                ))
                RETURNING 1
            """),  # noqa: S608 (our own names)
            {"task_id": task_id, "limit": limit - deleted},
        )
        deleted += len(rows.all())
    return deleted


READ_COMPLETELY: Final = """(
        {scan}.status IN ('completed', 'completed_with_errors')
        AND {scan}.options ->> 'regions' IS NULL
        AND EXISTS (SELECT FROM scan_task WHERE scan_id = {scan}.id AND kind = 'discovery')
        AND NOT EXISTS (
            SELECT FROM scan_task
            WHERE scan_id = {scan}.id AND kind = 'discovery' AND status <> 'completed'
        )
    )"""
"""Whether a scan read all regions, and every type it knew of to the end."""

_UNSEEN: Final = f"""
    FROM account
    CROSS JOIN LATERAL (
        -- The last scan that could have seen everything.
        SELECT id, started_at, finished_at FROM scan
        WHERE scan.account_id = account.id
          AND {READ_COMPLETELY.format(scan="scan")}
        ORDER BY scan.id DESC LIMIT 1
    ) AS last
    JOIN type_coverage AS covered
        ON covered.account_id = account.id AND covered.at < last.started_at
    JOIN resource
        ON resource.account_id = account.id AND resource.type = covered.type
        AND resource.source = covered.source
        AND resource.gone_at IS NULL AND resource.seen_at < last.started_at
"""  # noqa: S608 (our own names)
"""An unchanged resource was last seen when its type was last read completely. Where the account was
read completely after that, and its type was not among what there is to read, it was not seen."""

_RESOURCES_UNSEEN: Final = text(f"""
    SELECT account.id, account.team_id, account.name, count(*) AS n,
           string_agg(DISTINCT resource.type, ', ') AS types
    {_UNSEEN}
    GROUP BY account.id ORDER BY account.id LIMIT :limit
""")

_MARK_GONE: Final = text(f"""
    UPDATE resource SET gone_at = :at, seen_at = unseen.seen_at
    FROM (
        SELECT resource.id, greatest(resource.seen_at, covered.at) AS seen_at
        {_UNSEEN}
        WHERE account.id = :account_id
        LIMIT :limit
    ) AS unseen
    WHERE resource.id = unseen.id AND resource.gone_at IS NULL
    RETURNING 1
""")  # noqa: S608 (our own words)


async def resources_unseen(session: AsyncSession, *, limit: int) -> list[Fault]:
    """Accounts with resources that their last complete discovery did not see: `account/<id>`."""
    return [
        Fault(
            subject=f"account/{row.id}",
            team_id=row.team_id,
            words=f"The last complete discovery of {row.name} did not see {row.n} resources "
            f"({row.types[:200]}), which were not marked as gone. Marked them.",
        )
        for row in await session.execute(_RESOURCES_UNSEEN, {"limit": limit})
    ]


async def mark_gone(session: AsyncSession, account_id: UUID, *, at: datetime, limit: int) -> int:
    """Mark up to so many of an account's unseen resources as gone; returns how many."""
    rows = await session.execute(_MARK_GONE, {"account_id": account_id, "at": at, "limit": limit})
    return len(rows.all())
