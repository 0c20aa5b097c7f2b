"""The statements that merge the findings a shard staged into the store.

Each runs for one (scan, shard), in the transaction that holds the shard's row.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.scans import FindingCounts

TELL_APART = text("""
    UPDATE finding_staging AS staged
    SET identity = CAST(overlay(overlay(
            md5(staged.identity || '/' || numbered.ordinal) PLACING '8' FROM 13
        ) PLACING '8' FROM 17) AS uuid)
    FROM (
        SELECT ctid AS place,
               row_number() OVER (
                   PARTITION BY identity ORDER BY resource_name, detail, severity, status
               ) - 1 AS ordinal
        FROM finding_staging
        WHERE task_id = :task_id AND identity IN (
            SELECT identity FROM finding_staging
            WHERE task_id = :task_id
            GROUP BY identity HAVING count(*) > 1
        )
    ) AS numbered
    WHERE staged.ctid = numbered.place AND numbered.ordinal > 0
""")
"""Findings of one check on one resource: told apart by the resource's name, then by the detail.

The first keeps its identity; the others get one of that and their number.
"""

TOUCH = text("""
    WITH seen AS MATERIALIZED (
        SELECT check_id, region, max(service) AS service, count(*) AS n
        FROM finding_staging
        WHERE task_id = :task_id
        GROUP BY check_id, region
    ), touched AS (
        INSERT INTO coverage_staging (task_id, check_id, region, service, is_complete)
        SELECT :task_id, check_id, region, service, false FROM seen
        ON CONFLICT (task_id, check_id, region) DO UPDATE SET service = excluded.service
    )
    SELECT coalesce(sum(n), 0)::bigint FROM seen
""")
"""Where findings may be gone is staged already; this adds where some were seen all the same, and
counts what is staged: reading all of it once more would cost as much."""

PLACE = text("""
    INSERT INTO check_coverage
        (team_id, account_id, provider, source, check_id, region, service)
    SELECT :team_id, :account_id, :provider, :source, check_id, region, service
    FROM coverage_staging AS touched
    WHERE task_id = :task_id AND NOT EXISTS (
        SELECT FROM check_coverage AS known
        WHERE known.account_id = :account_id AND known.source = :source
          AND known.check_id = touched.check_id AND known.region = touched.region
          AND (known.service <> '' OR touched.service = '')
    )
    ORDER BY check_id, region
    -- The service is known once there is a finding, and then stays.
    ON CONFLICT (account_id, source, check_id, region)
        DO UPDATE SET service = excluded.service WHERE check_coverage.service = ''
""")

APPLY = """
    WITH place AS (
        SELECT known.id AS coverage_id, known.at AS covered_at, known.scan_id AS covered_by,
               touched.is_complete, check_id, region
        FROM coverage_staging AS touched JOIN check_coverage AS known USING (check_id, region)
        WHERE touched.task_id = :task_id
          AND known.account_id = :account_id AND known.source = :source
    ), known AS (
        SELECT finding.*, place.is_complete, place.covered_at, place.covered_by
        FROM {known}
    ), staged AS NOT MATERIALIZED (
        SELECT * FROM finding_staging WHERE task_id = :task_id
    ), difference AS MATERIALIZED (
        SELECT staged.identity, known.id AS finding_id, staged.identity IS NULL AS is_gone,
               known.covered_at, known.covered_by
        FROM staged FULL JOIN known ON known.id = staged.identity
        WHERE known.id IS NULL
           OR staged.identity IS NULL AND known.is_complete AND known.gone_at IS NULL
           OR staged.status <> 'not_assessed' AND (
               known.gone_at IS NOT NULL
               OR staged.status <> known.status
               OR staged.severity <> known.severity
               OR staged.detail <> known.detail
               OR staged.resource_name <> known.resource_name
               OR staged.resource_type <> known.resource_type
           )
    ), opened AS (
        INSERT INTO finding
            (id, team_id, coverage_id, severity, status, state,
             resource_uid, resource_name, resource_type, detail,
             first_scan_id, first_seen_at, seen_scan_id, seen_at)
        SELECT identity, :team_id, coverage_id, severity, status,
               CASE WHEN status = 'pass' THEN 'resolved' ELSE 'open' END::finding_state,
               resource_uid, resource_name, resource_type, detail,
               :scan_id, :at, :scan_id, :at
        FROM difference JOIN staged USING (identity) JOIN place USING (check_id, region)
        WHERE finding_id IS NULL
        -- In the order of the indexes over ids: each of their pages is visited once.
        ORDER BY identity
    ), moved AS (
        UPDATE finding
        SET severity = coalesce(seen.severity, finding.severity),
            status = coalesce(seen.status, finding.status),
            resource_name = coalesce(seen.resource_name, finding.resource_name),
            resource_type = coalesce(seen.resource_type, finding.resource_type),
            detail = coalesce(seen.detail, finding.detail),
            -- What a person decided stays.
            state = CASE
                WHEN finding.state IN ('muted', 'accepted') THEN finding.state
                WHEN now.is_gone OR seen.status = 'pass' THEN 'resolved'
                ELSE 'open'
            END,
            resolved_at = CASE
                WHEN finding.state IN ('muted', 'accepted') THEN finding.resolved_at
                WHEN NOT now.is_gone AND seen.status <> 'pass' THEN NULL
                WHEN finding.state = 'open' THEN :at
                ELSE finding.resolved_at
            END,
            gone_at = CASE WHEN now.is_gone THEN CAST(:at AS timestamptz) END,
            -- Last seen here, or, if it is gone, when its check last completed before.
            seen_at = CASE
                WHEN NOT now.is_gone THEN :at
                WHEN now.covered_at > finding.seen_at THEN now.covered_at
                ELSE finding.seen_at
            END,
            seen_scan_id = CASE
                WHEN NOT now.is_gone THEN :scan_id
                WHEN now.covered_at > finding.seen_at THEN now.covered_by
                ELSE finding.seen_scan_id
            END
        FROM difference AS now LEFT JOIN staged AS seen USING (identity)
        WHERE finding.id = now.finding_id
          AND finding.id = ANY(ARRAY(
              SELECT finding_id FROM difference WHERE finding_id IS NOT NULL
          ))
        RETURNING
            new.id, now.is_gone, old.gone_at IS NOT NULL AS was_gone,
            old.state AS old_state, new.state AS new_state,
            jsonb_build_object(
                'status', old.status, 'severity', old.severity, 'state', old.state,
                'detail', old.detail,
                'resource_name', old.resource_name, 'resource_type', old.resource_type
            ) AS old_fields,
            jsonb_build_object(
                'status', new.status, 'severity', new.severity, 'state', new.state,
                'detail', new.detail,
                'resource_name', new.resource_name, 'resource_type', new.resource_type
            ) AS new_fields
    ), transition AS (
        SELECT id, is_gone, was_gone, before, after,
               CASE
                   WHEN old_state = 'open' AND new_state = 'resolved' THEN 'resolved'
                   WHEN old_state = 'resolved' AND new_state = 'open' THEN 'reopened'
                   -- A pass that goes or comes back tells nobody anything.
                   WHEN before IS NULL AND new_state = 'resolved' THEN NULL
                   ELSE 'changed'
               END::finding_transition AS name
        FROM moved, LATERAL (
            SELECT jsonb_object_agg(field, value) AS before,
                   jsonb_object_agg(field, new_fields -> field) AS after
            FROM jsonb_each(old_fields) AS old_field (field, value)
            WHERE value <> new_fields -> field
        ) AS differing
    ), written AS (
        INSERT INTO finding_event (finding_id, at, scan_id, transition, reason, before, after)
        SELECT id, :at, :scan_id, name,
               CASE WHEN is_gone THEN 'gone' WHEN was_gone THEN 'returned' END, before, after
        FROM transition
        WHERE name IS NOT NULL
    )
    SELECT (SELECT count(*) FROM difference WHERE finding_id IS NULL) AS new,
           count(*) FILTER (WHERE name = 'resolved') AS resolved,
           count(*) FILTER (WHERE name IN ('changed', 'reopened')) AS changed,
           count(*) FILTER (WHERE NOT is_gone) AS staged_and_moved
    FROM transition
"""
"""One pass over what is staged and what is known there. What is the same is not touched at all.

A staged `not_assessed` changes no finding that exists: its last verdict stands.
"""

READ_ALL = "place JOIN finding USING (coverage_id)"
LOOK_UP = """place CROSS JOIN LATERAL (
            SELECT * FROM finding WHERE finding.coverage_id = place.coverage_id OFFSET 0
        ) AS finding"""
"""Where `known` comes from: all findings of the store, or places looked up one by one, which
OFFSET 0 keeps the planner from turning into the former."""

STORED = text("SELECT reltuples FROM pg_class WHERE oid = 'finding'::regclass")
LARGE_SHARE: Final = 0.05
"""Of all that is stored. Above it, reading all findings costs less than looking up so many."""

COMPLETE = text("""
    UPDATE check_coverage AS known
    SET scan_id = :scan_id, at = :at
    FROM coverage_staging AS touched
    WHERE touched.task_id = :task_id AND touched.is_complete
      AND known.account_id = :account_id AND known.source = :source
      AND known.check_id = touched.check_id AND known.region = touched.region
      AND (known.at IS NULL OR known.at <= :at)
""")
"""From here on, what was not written was last seen now."""


async def touch_places(session: AsyncSession, parameters: dict[str, Any]) -> int:
    """Stage the places of what this shard saw, too; returns how many findings it saw."""
    return int((await session.execute(TOUCH, parameters)).scalar_one())


async def merge_findings(
    session: AsyncSession, staged: int, parameters: dict[str, Any]
) -> FindingCounts:
    """Bring the store to what this shard saw, whose places are touched; returns what that did."""
    for statement in (TELL_APART, PLACE):
        await session.execute(statement, parameters)
    stored = (await session.execute(STORED)).scalar_one()
    known = READ_ALL if staged > LARGE_SHARE * stored else LOOK_UP
    did = (await session.execute(text(APPLY.format(known=known)), parameters)).one()
    await session.execute(COMPLETE, parameters)
    return FindingCounts(
        new=did.new,
        changed=did.changed,
        resolved=did.resolved,
        unchanged=staged - did.new - did.staged_and_moved,
    )
