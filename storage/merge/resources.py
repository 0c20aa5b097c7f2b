"""The statements that merge the resources a shard staged into the inventory."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.scans import FindingCounts

APPLY = text("""
    WITH place AS (
        SELECT type, bool_or(is_complete) AS is_complete
        FROM (
            SELECT check_id AS type, true AS is_complete
            FROM coverage_staging WHERE task_id = :task_id
            UNION ALL
            SELECT DISTINCT type, false FROM resource_staging WHERE task_id = :task_id
        ) AS touched
        GROUP BY type
    ), known AS (
        SELECT resource.*, place.is_complete
        FROM place JOIN resource USING (type)
        WHERE resource.account_id = :account_id AND resource.source = :source
    ), staged AS (
        -- A table may show one resource twice, once for each region it is seen from.
        SELECT DISTINCT ON (type, uid) *
        FROM resource_staging
        WHERE task_id = :task_id
        ORDER BY type, uid, region, name, tags, attributes
    ), difference AS MATERIALIZED (
        SELECT staged.*, known.id AS resource_id, staged.task_id IS NULL AS is_gone,
               known.type AS known_type
        FROM staged FULL JOIN known ON (known.type, known.uid) = (staged.type, staged.uid)
        WHERE known.id IS NULL
           OR staged.task_id IS NULL AND known.is_complete AND known.gone_at IS NULL
           OR staged.task_id IS NOT NULL AND (
               known.gone_at IS NOT NULL
               OR staged.name <> known.name
               OR staged.region <> known.region
               OR staged.tags <> known.tags
               OR staged.attributes <> known.attributes
           )
    ), added AS (
        INSERT INTO resource
            (id, team_id, account_id, source, provider, type, uid, name, region, tags, attributes,
             words, first_seen_at, seen_at)
        SELECT CAST(:id_time || substr(n, 1, 3) || '8' || substr(n, 4) || substr(md5(uid), 1, 10)
                    AS uuid),
               :team_id, :account_id, :source, :provider,
               type, uid, name, region, tags, attributes,
               search_words(uid, name), :at, :at
        FROM (
            SELECT *, lpad(to_hex(row_number() OVER (ORDER BY type, region)), 8, '0') AS n
            FROM difference
            WHERE resource_id IS NULL
        ) AS numbered
        RETURNING 1
    ), changed AS (
        UPDATE resource
        SET name = now.name, region = now.region, tags = now.tags, attributes = now.attributes,
            words = search_words(resource.uid, now.name),
            seen_at = :at, gone_at = NULL
        FROM difference AS now
        WHERE resource.id = now.resource_id AND NOT now.is_gone
        RETURNING 1
    ), gone AS (
        UPDATE resource
        SET gone_at = :at,
            -- Last seen when its type was last read completely before.
            seen_at = greatest(resource.seen_at, covered.at)
        FROM difference AS now LEFT JOIN type_coverage AS covered
            ON covered.account_id = :account_id AND covered.source = :source
            AND covered.type = now.known_type
        WHERE resource.id = now.resource_id AND now.is_gone
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM staged) AS seen,
           (SELECT count(*) FROM added) AS new,
           (SELECT count(*) FROM changed) AS changed,
           (SELECT count(*) FROM gone) AS resolved
""")
"""One pass over what is staged and what is known of its types; what is the same is not written."""


COMPLETE = text("""
    INSERT INTO type_coverage (account_id, source, type, scan_id, at)
    SELECT :account_id, :source, check_id, :scan_id, :at
    FROM coverage_staging
    WHERE task_id = :task_id
    ORDER BY check_id
    ON CONFLICT (account_id, source, type)
        DO UPDATE SET scan_id = excluded.scan_id, at = excluded.at
        WHERE type_coverage.at <= excluded.at
""")
"""From here on, what was not written was last seen now."""


async def merge_resources(session: AsyncSession, parameters: dict[str, Any]) -> FindingCounts:
    """Bring the inventory to what this shard saw; `resolved` counts the resources that are gone."""
    did = (await session.execute(APPLY, parameters)).one()
    await session.execute(COMPLETE, parameters)
    return FindingCounts(
        new=did.new,
        changed=did.changed,
        resolved=did.resolved,
        unchanged=did.seen - did.new - did.changed,
    )
