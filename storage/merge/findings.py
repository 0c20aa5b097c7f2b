"""The statements that merge the findings a shard staged into the store.

Each runs for one (scan, shard), in the transaction that holds the shard's row.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.scans import FindingCounts

NUMBER_DUPLICATES = text("""
    UPDATE finding_staging AS staged
    SET ordinal = numbered.ordinal
    FROM (
        SELECT ctid AS place,
               row_number() OVER (PARTITION BY identity ORDER BY resource_name, detail) - 1
                   AS ordinal
        FROM finding_staging
        WHERE scan_id = :scan_id AND key = :key AND identity IN (
            SELECT identity FROM finding_staging
            WHERE scan_id = :scan_id AND key = :key
            GROUP BY identity HAVING count(*) > 1
        )
    ) AS numbered
    WHERE staged.ctid = numbered.place AND staged.ordinal <> numbered.ordinal
""")
"""Findings of one check on one resource: told apart by the resource's name, then by the detail."""

APPLY = text("""
    WITH place AS (
        -- Where findings may be gone, and where they may be new or changed only.
        SELECT source, check_id, region, true AS is_complete
        FROM coverage_staging
        WHERE scan_id = :scan_id AND key = :key
        UNION ALL
        SELECT DISTINCT source, check_id, region, false
        FROM finding_staging AS staged
        WHERE scan_id = :scan_id AND key = :key AND NOT EXISTS (
            SELECT FROM coverage_staging AS covered
            WHERE (covered.scan_id, covered.key, covered.source, covered.check_id, covered.region)
                = (staged.scan_id, staged.key, staged.source, staged.check_id, staged.region)
        )
    ), known AS (
        SELECT finding.*, place.is_complete
        FROM place JOIN finding USING (source, check_id, region)
        WHERE finding.account_id = :account_id
    ), staged AS (
        SELECT * FROM finding_staging WHERE scan_id = :scan_id AND key = :key
    ), difference AS MATERIALIZED (
        SELECT identity, ordinal,
               known.id AS finding_id,
               staged.scan_id IS NULL AS is_gone,
               coalesce(staged.source, known.source) AS source,
               coalesce(staged.check_id, known.check_id) AS check_id,
               coalesce(staged.region, known.region) AS region,
               coalesce(staged.service, known.service) AS service,
               coalesce(staged.severity, known.severity) AS severity,
               coalesce(staged.status, known.status) AS status,
               coalesce(staged.resource_uid, known.resource_uid) AS resource_uid,
               coalesce(staged.resource_name, known.resource_name) AS resource_name,
               coalesce(staged.resource_type, known.resource_type) AS resource_type,
               coalesce(staged.detail, known.detail) AS detail
        FROM staged FULL JOIN known USING (identity, ordinal)
        WHERE known.id IS NULL
           OR staged.scan_id IS NULL AND known.is_complete AND known.gone_at IS NULL
           OR staged.status <> 'not_assessed' AND (
               known.gone_at IS NOT NULL
               OR staged.status <> known.status
               OR staged.severity <> known.severity
               OR staged.detail <> known.detail
               OR staged.resource_name <> known.resource_name
               OR staged.resource_type <> known.resource_type
               OR staged.service <> known.service
           )
    ), opened AS (
        INSERT INTO finding
            (id, team_id, account_id, identity, ordinal, source, provider, check_id, service,
             region, severity, status, state, resource_uid, resource_name, resource_type, detail,
             first_scan_id, first_seen_at, seen_scan_id, seen_at)
        -- The id's time is at or after first_seen_at: newest first is the order of ids.
        SELECT uuidv7(CAST(:at AS timestamptz) - now()), :team_id, :account_id,
               identity, ordinal, source, :provider, check_id, service,
               region, severity, status,
               CASE WHEN status = 'pass' THEN 'resolved' ELSE 'open' END::finding_state,
               resource_uid, resource_name, resource_type, detail,
               :scan_id, :at, :scan_id, :at
        FROM difference
        WHERE finding_id IS NULL
        RETURNING id, severity, status
    ), moved AS (
        UPDATE finding
        SET severity = now.severity,
            status = now.status,
            service = now.service,
            resource_name = now.resource_name,
            resource_type = now.resource_type,
            detail = now.detail,
            -- What a person decided stays.
            state = CASE
                WHEN finding.state IN ('muted', 'accepted') THEN finding.state
                WHEN now.is_gone OR now.status = 'pass' THEN 'resolved'
                ELSE 'open'
            END,
            resolved_at = CASE
                WHEN finding.state IN ('muted', 'accepted') THEN finding.resolved_at
                WHEN NOT now.is_gone AND now.status <> 'pass' THEN NULL
                WHEN finding.state = 'open' THEN :at
                ELSE finding.resolved_at
            END,
            gone_at = CASE WHEN now.is_gone THEN CAST(:at AS timestamptz) END,
            -- Last seen here, or, if it is gone, when its check last completed before.
            seen_at = CASE
                WHEN NOT now.is_gone THEN :at
                WHEN covered.at > finding.seen_at THEN covered.at
                ELSE finding.seen_at
            END,
            seen_scan_id = CASE
                WHEN NOT now.is_gone THEN :scan_id
                WHEN covered.at > finding.seen_at THEN covered.scan_id
                ELSE finding.seen_scan_id
            END
        FROM difference AS now LEFT JOIN check_coverage AS covered
            ON covered.account_id = :account_id AND covered.source = now.source
            AND covered.check_id = now.check_id AND covered.region = now.region
        WHERE finding.id = now.finding_id
        RETURNING
            new.id, now.is_gone, old.gone_at IS NOT NULL AS was_gone,
            old.state AS old_state, new.state AS new_state,
            jsonb_build_object(
                'status', old.status, 'severity', old.severity, 'state', old.state,
                'detail', old.detail, 'service', old.service,
                'resource_name', old.resource_name, 'resource_type', old.resource_type
            ) AS old_fields,
            jsonb_build_object(
                'status', new.status, 'severity', new.severity, 'state', new.state,
                'detail', new.detail, 'service', new.service,
                'resource_name', new.resource_name, 'resource_type', new.resource_type
            ) AS new_fields
    ), transition AS (
        SELECT id, is_gone, was_gone, before, after,
               CASE
                   WHEN old_state = 'open' AND new_state = 'resolved' THEN 'resolved'
                   WHEN old_state = 'resolved' AND new_state = 'open' THEN 'reopened'
                   -- A pass that comes or goes tells nobody anything.
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
        SELECT id, CAST(:at AS timestamptz), CAST(:scan_id AS uuid), 'opened'::finding_transition,
               NULL, NULL::jsonb, jsonb_build_object('status', status, 'severity', severity)
        FROM opened
        UNION ALL
        SELECT id, :at, :scan_id, name,
               CASE WHEN is_gone THEN 'gone' WHEN was_gone THEN 'returned' END, before, after
        FROM transition
        WHERE name IS NOT NULL
    )
    SELECT (SELECT count(*) FROM opened) AS new,
           count(*) FILTER (WHERE name = 'resolved') AS resolved,
           count(*) FILTER (WHERE name IN ('changed', 'reopened')) AS changed,
           count(*) FILTER (WHERE NOT is_gone) AS staged_and_written
    FROM transition
""")
"""One pass over what is staged and what is known there. What is the same is not touched at all.

A staged `not_assessed` changes no finding that exists: its last verdict stands.
"""

REMEMBER_COVERAGE = text("""
    INSERT INTO check_coverage (account_id, source, check_id, region, scan_id, at)
    SELECT :account_id, source, check_id, region, :scan_id, :at
    FROM coverage_staging
    WHERE scan_id = :scan_id AND key = :key
    ORDER BY source, check_id, region
    ON CONFLICT (account_id, source, check_id, region)
        DO UPDATE SET scan_id = excluded.scan_id, at = excluded.at
        WHERE check_coverage.at <= excluded.at
""")


async def merge_findings(
    session: AsyncSession, staged: int, parameters: dict[str, Any]
) -> FindingCounts:
    """Bring the store to what this shard saw; returns what that did."""
    await _run(session, NUMBER_DUPLICATES, parameters)
    did = (await session.execute(APPLY, parameters)).one()
    return FindingCounts(
        new=did.new,
        changed=did.changed,
        resolved=did.resolved,
        unchanged=staged - did.new - did.staged_and_written,
    )


async def _run(session: AsyncSession, statement: TextClause, parameters: dict[str, Any]) -> None:
    await session.execute(statement, parameters)
