"""Findings by the million for `benchmarks/api.py`, spread as real ones are, made by SQL."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import asyncpg

from storage.database import Database
from storage.finding_counts import fold_counts

BATCH = 100_000
DAYS = 180
SCANS = 10

ACCOUNTS = """
INSERT INTO account (team_id, name, provider, uid, credentials, enabled, created_at, updated_at)
SELECT (SELECT id FROM team LIMIT 1), 'account-' || n, 'aws', lpad(n::text, 12, '0'),
       '{"kind": "environment"}', true, now(), now()
FROM generate_series(1, 20) AS n
"""

CHECKS = """
INSERT INTO check_definition
    (source, provider, check_id, title, severity, service, description, risk, remediation,
     "references", categories, frameworks)
SELECT 'prowler', 'aws', service || '_check_' || n,
       'Ensure that ' || service || CASE n % 4
           WHEN 0 THEN ' resources are not publicly accessible'
           WHEN 1 THEN ' resources are encrypted at rest with a customer-managed key'
           WHEN 2 THEN ' logging is enabled and kept for a year'
           ELSE ' permissions follow least privilege' END || ' (' || n || ')',
       (CASE WHEN n % 50 < 3 THEN 'critical' WHEN n % 50 < 14 THEN 'high'
             WHEN n % 50 < 38 THEN 'medium' WHEN n % 50 < 48 THEN 'low'
             ELSE 'informational' END)::severity,
       service, repeat('What it means. ', 20), repeat('What may happen. ', 20),
       repeat('What to do. ', 30), '{}', '{}', '{"CIS-5.0": ["1.1"]}'
FROM (
    -- A few services have most of the checks, as EC2 and IAM do.
    SELECT n, 'service' || lpad((1 + floor(66 * power((n - 1) / 660.0::float8, 1.7)))::text, 2, '0')
        AS service
    FROM generate_series(1, 660) AS n
) AS named
"""

SCAN_ROWS = """
INSERT INTO scan (team_id, account_id, kind, status, options, trigger_kind, queued_at, started_at,
                  finished_at, progress, counts)
SELECT account.team_id, account.id, 'cloud', 'completed', '{}', 'manual', at, at,
       at + interval '5 minutes', 100, '{}'
FROM account, generate_series(1, $1) AS n,
     LATERAL (SELECT now() - make_interval(days => $2) * (1 - n::float / $1) AS at) AS moment
ORDER BY n, account.id
"""

COVERAGE = """
INSERT INTO check_coverage (account_id, source, check_id, region, scan_id, at)
SELECT account.id, 'prowler', check_definition.check_id, 'region-' || lpad(r::text, 2, '0'),
       last.id, now()
FROM account, check_definition, generate_series(1, 17) AS r,
     LATERAL (SELECT id FROM scan WHERE scan.account_id = account.id ORDER BY id DESC LIMIT 1)
        AS last
"""

PREPARE = """
CREATE TEMP TABLE numbered_account AS
    SELECT row_number() OVER (ORDER BY id) AS n, * FROM account;
CREATE TEMP TABLE numbered_check AS
    SELECT dense_rank() OVER (ORDER BY service) AS s,
           row_number() OVER (PARTITION BY service ORDER BY check_id) AS n,
           count(*) OVER (PARTITION BY service) AS of, *
    FROM check_definition;
CREATE TEMP TABLE numbered_scan AS
    SELECT row_number() OVER (PARTITION BY account_id ORDER BY id) AS n, id, account_id FROM scan;
CREATE UNIQUE INDEX ON numbered_account (n);
CREATE UNIQUE INDEX ON numbered_check (s, n);
CREATE UNIQUE INDEX ON numbered_scan (account_id, n);
ANALYZE numbered_account, numbered_check, numbered_scan;
SELECT setseed(0.5);
"""

# A resource has eight findings, of checks of one service. The biggest account has 20 % of them,
# the smallest 1 %; two regions have half; six in ten pass. Oldest first, as scans write them.
FINDINGS = """
WITH drawn AS MATERIALIZED (
    SELECT i, random() AS of_check, random() AS of_status, random() AS of_state,
           i / 8 AS resource
    FROM generate_series($1::bigint, $2::bigint) AS i
), chosen AS (
    SELECT i, of_check, of_status, of_state, resource,
           1 + floor(20 * power((resource * 7919 % 1000) / 1000.0::float8, 1.8))::bigint AS account,
           1 + floor(services * power((resource * 31337 % 1000) / 1000.0::float8, 1.7))::bigint
               AS s,
           CASE WHEN resource * 104729 % 100 < 30 THEN 1 WHEN resource * 104729 % 100 < 50 THEN 2
                ELSE 3 + resource * 104729 % 15 END AS region,
           make_interval(secs => -86400.0 * $4 * (1 - i::float / $3)) AS shift,
           greatest(1, ceil(i::float / $3 * $5))::bigint AS scan
    FROM drawn, (SELECT max(s) AS services FROM numbered_check) AS counted
)
INSERT INTO finding
    (id, team_id, account_id, identity, first_scan_id, seen_scan_id, first_seen_at, seen_at,
     resolved_at, gone_at, severity, status, state, ordinal, source, provider, check_id, service,
     region, resource_uid, resource_name, resource_type, detail)
SELECT uuidv7(shift + interval '1 second'), a.team_id, a.id, md5(i::text)::uuid, s.id, s.id,
       now() + shift, now() + shift,
       CASE WHEN of_status < 0.62 THEN now() + shift END,
       CASE WHEN of_state < 0.02 THEN now() END,
       c.severity,
       (CASE WHEN of_status < 0.62 THEN 'pass' WHEN of_status < 0.97 THEN 'fail'
             ELSE 'manual' END)::finding_status,
       (CASE WHEN of_status < 0.62 OR of_state < 0.02 THEN 'resolved'
             WHEN of_state < 0.05 THEN 'muted' ELSE 'open' END)::finding_state,
       0, 'prowler', 'aws', c.check_id, c.service, 'region-' || lpad(region::text, 2, '0'),
       'arn:aws:' || c.service || ':region-' || region || ':' || a.uid || ':thing/'
           || (ARRAY['payments', 'billing', 'search', 'images', 'frontend', 'etl', 'ml', 'audit',
                     'legacy', 'internal'])[1 + resource % 10] || '-' || resource,
       (ARRAY['payments', 'billing', 'search', 'images', 'frontend', 'etl', 'ml', 'audit',
              'legacy', 'internal'])[1 + resource % 10] || '-' || resource,
       'thing',
       'The resource does not have what the check asks for, as its configuration of '
           || to_char(now() + shift, 'YYYY-MM-DD') || ' says.'
FROM chosen
JOIN numbered_account AS a ON a.n = account
JOIN numbered_check AS first ON first.s = chosen.s AND first.n = 1
JOIN numbered_check AS c ON c.s = chosen.s AND c.n = 1 + floor(of_check * first.of)::bigint
JOIN numbered_scan AS s ON s.account_id = a.id AND s.n = scan
"""

EVENTS = """
INSERT INTO finding_event (finding_id, at, scan_id, transition)
SELECT id, first_seen_at, first_scan_id, 'opened' FROM finding
"""


async def fill(url: str, data_dir: Path, rows: int) -> str:
    """Migrate and fill, once; returns the admin key. A directory filled before is used as it is."""
    began = time.perf_counter()
    environment = {
        **os.environ,
        "CLOUDSWEEP_DATABASE_URL": url,
        "CLOUDSWEEP_DATA_DIR": str(data_dir),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "storage.bootstrap", env=environment
    )
    if await process.wait() != 0:
        raise RuntimeError("storage.bootstrap failed.")
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT count(*) FROM account"):
            await _insert(connection, rows)
            await connection.execute("ANALYZE finding_count")
            await _fold(connection, url)
            await connection.execute("VACUUM ANALYZE")
            print(f"Filled in {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        await connection.close()
    return (data_dir / "admin.key").read_text().strip()


async def _insert(connection: asyncpg.Connection[asyncpg.Record], rows: int) -> None:
    await connection.execute(ACCOUNTS)
    await connection.execute(CHECKS)
    await connection.execute(SCAN_ROWS, SCANS, DAYS)
    await connection.execute(COVERAGE)
    await connection.execute(PREPARE)
    for first in range(1, rows + 1, BATCH):
        last = min(first + BATCH - 1, rows)
        await connection.execute(FINDINGS, first, last, rows, DAYS, SCANS)
    await connection.execute(EVENTS)


async def _fold(connection: asyncpg.Connection[asyncpg.Record], url: str) -> None:
    """What the end of each scan does."""
    database = Database.open(url)
    try:
        for account in await connection.fetch("SELECT id, team_id FROM account"):
            async with database.transaction() as session:
                await fold_counts(session, account["team_id"], account["id"])
    finally:
        await database.close()
