"""What is old, what a hold holds, what others still need: one SELECT for each kind of row.

Previews count the rows of these statements and batches delete them, so that both mean the same.
Each has the columns id, number (of an event), account_id, moment, is_held and is_needed, names
:team_id, :cutoff and :account_id (null: all), and reads the holds of the team as `rule`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from contracts.retention import ALL_CRITERIA, CRITERIA
from contracts.vocabulary import RetentionKind
from storage.findings.finding_states import LIKE, MATCHES, TAGGED
from storage.watchdog.drift import ENDED, READ_COMPLETELY


class Part(NamedTuple):
    """Rows of a table that go with a batch; `also` is a further column of the archive."""

    table: str
    where: str
    also: tuple[str, str] | None = None


class Source(NamedTuple):
    """Rows of one kind: which are old, and what goes with them, in the order of deletion."""

    kind: RetentionKind
    holds: str
    """What comes before a statement with `old`."""
    old: str
    parts: tuple[Part, ...]
    counted: str
    """The table whose rows count."""
    by_account: bool = False
    """A merge may find them returned: it waits, and only that of the same account."""
    locks: str | None = None
    """Locks of the chosen ids those that still are as they were, and leaves out locked ones."""


_IN_ACCOUNT: Final = "(CAST(:account_id AS uuid) IS NULL OR {account} = :account_id)"


def _holds(kind: RetentionKind, *with_it: RetentionKind, besides: str = "false") -> str:
    """Holds of a kind; also those of what is deleted `with_it`, which would go with its rows."""
    held = " OR ".join(f"'{each.value}' = ANY(kinds)" for each in (kind, *with_it))
    foreign = [f"{name} IS NULL" for name in ALL_CRITERIA if name not in CRITERIA[kind]]
    return f"""WITH rule AS MATERIALIZED (
        SELECT * FROM retention_hold
        WHERE team_id = :team_id AND lifted_at IS NULL AND (
            {besides}
            OR (kinds IS NULL OR {held}) AND {" AND ".join(foreign) or "true"}
        )
    ), {TAGGED}"""  # noqa: S608 (our own names)


_OF_SEVERITY: Final = "(rule.severity IS NULL OR CAST({row}.severity AS text) = ANY(rule.severity))"
_FINDING_HELD: Final = (
    f"EXISTS (SELECT FROM rule WHERE {MATCHES} AND {_OF_SEVERITY.format(row='finding')})"
)

_VULNERABILITY_HELD: Final = f"""EXISTS (
        SELECT FROM rule
        WHERE rule.region IS NULL
          AND (rule.account_id IS NULL OR rule.account_id = vulnerability.account_id)
          AND (rule.check_id IS NULL OR rule.check_id = vulnerability.weakness)
          AND (rule.resource IS NULL OR vulnerability.resource_uid LIKE {LIKE})
          AND {_OF_SEVERITY.format(row="vulnerability")}
          AND (rule.tag IS NULL OR EXISTS (
              SELECT FROM tagged
              WHERE tagged.rule_id = rule.id AND tagged.account_id = vulnerability.account_id
                AND tagged.uid = vulnerability.resource_uid
          ))
    )"""  # noqa: S608 (our own names)
"""By what it says itself; its findings may say more, as long as there are any."""

_WITH_EVENTS: Final = _holds(RetentionKind.RESOLVED_FINDINGS, RetentionKind.EVENTS)

_DECISIONS: Final = "('assigned', 'commented', 'in_progress', 'accepted', 'false_positive')"
_OLD_FINDINGS: Final = f"""
    SELECT finding.id, 0 AS number, place.account_id,
           greatest(
               finding.resolved_at, finding.gone_at,
               CASE WHEN finding.gone_at IS NULL THEN greatest(finding.seen_at, place.at) END
           ) AS moment,
           {_FINDING_HELD} AS is_held,
           EXISTS (
               SELECT FROM vulnerability_occurrence AS occurrence JOIN vulnerability
                   ON vulnerability.id = occurrence.vulnerability_id
               WHERE occurrence.finding_id = finding.id AND vulnerability.status <> 'closed'
           ) AS is_needed
    FROM check_coverage AS place CROSS JOIN LATERAL (
        SELECT * FROM finding
        WHERE finding.coverage_id = place.id AND finding.gone_at <= :cutoff
        UNION ALL
        -- What a scan still sees is never old: only where its check did not complete any more.
        SELECT * FROM finding
        WHERE finding.coverage_id = place.id AND finding.gone_at IS NULL
          AND finding.seen_at <= :cutoff AND (place.at IS NULL OR place.at <= :cutoff)
    ) AS finding
    WHERE place.team_id = :team_id AND {_IN_ACCOUNT.format(account="place.account_id")}
      AND finding.state = 'resolved'
      AND (finding.resolved_at IS NULL OR finding.resolved_at <= :cutoff)
"""  # noqa: S608 (our own names)
"""As old as the last that was said of it: that it was resolved, is gone, or still passed."""

CLOSED_WITH: Final = f"""
    {_WITH_EVENTS}
    SELECT DISTINCT vulnerability.id
    FROM vulnerability_occurrence AS gone JOIN vulnerability
        ON vulnerability.id = gone.vulnerability_id
    WHERE gone.finding_id = ANY(:ids)
      AND vulnerability.status = 'closed' AND vulnerability.owner IS NULL
      AND NOT EXISTS (
          SELECT FROM vulnerability_occurrence AS other JOIN finding
              ON finding.id = other.finding_id
          WHERE other.vulnerability_id = vulnerability.id AND finding.id <> ALL(:ids)
      )
      AND NOT EXISTS (
          SELECT FROM vulnerability_event AS event
          WHERE event.vulnerability_id = vulnerability.id AND event.transition IN {_DECISIONS}
      )
      AND NOT {_VULNERABILITY_HELD}
"""  # noqa: S608 (our own names)
"""Closed vulnerabilities that lose their last finding, and that no person ever decided about.
The others stay, with their occurrences, so that no decision is lost."""


def _first_of(field: str, table: str, owner: str) -> str:
    """Whether an event is the first that says what a field was before."""
    return f"""(jsonb_exists(event.before, '{field}') AND NOT EXISTS (
                SELECT FROM {table} AS earlier
                WHERE earlier.{owner} = event.{owner} AND earlier.id < event.id
                  AND jsonb_exists(earlier.before, '{field}')
            ))"""


def _last(table: str, owner: str, more: str = "") -> str:
    return f"""NOT EXISTS (
                SELECT FROM {table} AS later
                WHERE later.{owner} = event.{owner} AND later.id > event.id {more}
            )"""


def _any_first(fields: tuple[str, ...], table: str, owner: str) -> str:
    return " OR ".join(_first_of(field, table, owner) for field in fields)


_FINDING_EVENT: Final = ("finding_event", "finding_id")
_OLD_FINDING_EVENTS: Final = f"""
    SELECT event.finding_id AS id, event.id AS number, place.account_id, event.at AS moment,
           {_FINDING_HELD} AS is_held,
           coalesce({_last(*_FINDING_EVENT)}
            OR event.transition = 'reopened'
            AND {_last(*_FINDING_EVENT, "AND later.transition = 'reopened'")}
            OR {_any_first(("status", "severity"), *_FINDING_EVENT)}, false) AS is_needed
    FROM check_coverage AS place
        JOIN finding ON finding.coverage_id = place.id
        JOIN finding_event AS event ON event.finding_id = finding.id
    WHERE place.team_id = :team_id AND {_IN_ACCOUNT.format(account="place.account_id")}
      AND event.at <= :cutoff
"""  # noqa: S608 (our own names)
"""Of a finding there stay its last event and its last reopening, which its state follows from, and
the first that tells what its status and severity were before, which its opening follows from."""

_VULNERABILITY_EVENT: Final = ("vulnerability_event", "vulnerability_id")
_SYNCED: Final = ("severity", "open_occurrences", "total_occurrences")
_OLD_VULNERABILITY_EVENTS: Final = f"""
    SELECT event.vulnerability_id AS id, event.id AS number, vulnerability.account_id,
           event.at AS moment,
           EXISTS (
               SELECT FROM vulnerability_occurrence AS occurrence
                   JOIN finding ON finding.id = occurrence.finding_id
                   JOIN check_coverage AS place ON place.id = finding.coverage_id
               WHERE occurrence.vulnerability_id = vulnerability.id AND {_FINDING_HELD}
           ) OR {_VULNERABILITY_HELD} AS is_held,
           -- What a person decided says nothing of these: it stays.
           NOT coalesce(jsonb_exists_any(event.before, ARRAY{list(_SYNCED)}), false)
            OR {_last(*_VULNERABILITY_EVENT)}
            OR coalesce({_any_first(("status", *_SYNCED), *_VULNERABILITY_EVENT)}, false)
            AS is_needed
    FROM vulnerability JOIN vulnerability_event AS event
        ON event.vulnerability_id = vulnerability.id
    WHERE vulnerability.team_id = :team_id
      AND {_IN_ACCOUNT.format(account="vulnerability.account_id")} AND event.at <= :cutoff
"""  # noqa: S608 (our own names)

_COMPLETE: Final = "('completed', 'completed_with_errors')"
_OLD_SCANS: Final = f"""
    SELECT scan.id, 0 AS number, scan.account_id, scan.finished_at AS moment,
           EXISTS (
               SELECT FROM rule WHERE rule.account_id IS NULL OR rule.account_id = scan.account_id
           ) AS is_held,
           -- The last that ended, the last complete one, and the last that saw everything;
           NOT EXISTS (
               SELECT FROM scan AS later
               WHERE later.account_id = scan.account_id
                 AND (later.finished_at, later.id) > (scan.finished_at, scan.id)
           )
            OR scan.status IN {_COMPLETE} AND NOT EXISTS (
               SELECT FROM scan AS later
               WHERE later.account_id = scan.account_id AND later.id > scan.id
                 AND later.status IN {_COMPLETE}
            )
            OR {READ_COMPLETELY.format(scan="scan")} AND NOT EXISTS (
               SELECT FROM scan AS later
               WHERE later.account_id = scan.account_id AND later.id > scan.id
                 AND {READ_COMPLETELY.format(scan="later")}
            )
            -- the last in which a check completed or a type was read; one that a run waits for.
            OR EXISTS (
               SELECT FROM check_coverage AS place
               WHERE place.account_id = scan.account_id AND place.scan_id = scan.id
            )
            OR EXISTS (
               SELECT FROM type_coverage AS covered
               WHERE covered.account_id = scan.account_id AND covered.scan_id = scan.id
            )
            OR EXISTS (
               SELECT FROM job_run
               WHERE job_run.scan_id = scan.id AND job_run.outcome IN ('queued', 'running')
            ) AS is_needed
    FROM scan
    WHERE scan.team_id = :team_id AND {_IN_ACCOUNT.format(account="scan.account_id")}
      AND scan.status IN {ENDED} AND scan.finished_at <= :cutoff
"""  # noqa: S608 (our own names)

_LOCK_SCANS: Final = f"""
    SELECT id FROM scan WHERE id = ANY(:ids) AND status IN {ENDED} FOR UPDATE SKIP LOCKED
"""  # noqa: S608 (our own names)

_LATER_RUN: Final = "(later.queued_at, later.id) > (run.queued_at, run.id)"
_OLD_RUNS: Final = f"""
    SELECT run.id, 0 AS number, CAST(NULL AS uuid) AS account_id,
           coalesce(run.ended_at, run.queued_at) AS moment,
           EXISTS (
               SELECT FROM rule
               WHERE (rule.job IS NULL OR rule.job = run.job)
                 AND (rule.account_id IS NULL
                      OR CAST(rule.account_id AS text) = run.params ->> 'account_id')
           ) AS is_held,
           -- The last of a job, the last and the last completed of a schedule that there is,
           NOT EXISTS (
               SELECT FROM job_run AS later
               WHERE later.team_id = run.team_id AND later.job = run.job AND {_LATER_RUN}
           )
            OR EXISTS (SELECT FROM schedule WHERE schedule.id = run.schedule_id) AND (
               NOT EXISTS (
                   SELECT FROM job_run AS later
                   WHERE later.schedule_id = run.schedule_id AND {_LATER_RUN}
               )
               OR run.outcome = 'completed' AND NOT EXISTS (
                   SELECT FROM job_run AS later
                   WHERE later.schedule_id = run.schedule_id AND later.outcome = 'completed'
                     AND {_LATER_RUN}
               )
            )
            -- and one whose scan was resumed.
            OR EXISTS (
               SELECT FROM scan WHERE scan.id = run.scan_id AND scan.status NOT IN {ENDED}
            ) AS is_needed
    FROM job_run AS run
    WHERE run.team_id = :team_id AND run.outcome NOT IN ('queued', 'running')
      AND run.queued_at <= :cutoff AND coalesce(run.ended_at, run.queued_at) <= :cutoff
      AND CAST(:account_id AS uuid) IS NULL
"""  # noqa: S608 (our own names)

_RESOURCE_LIKE: Final = f"resource.uid LIKE {LIKE} OR resource.name LIKE {LIKE}"
_OLD_RESOURCES: Final = f"""
    SELECT resource.id, 0 AS number, resource.account_id, resource.gone_at AS moment,
           EXISTS (
               SELECT FROM rule
               WHERE (rule.account_id IS NULL OR rule.account_id = resource.account_id)
                 AND CASE
                     -- By its tags also its findings are held.
                     WHEN rule.tag IS NOT NULL THEN resource.tags @> jsonb_build_object(
                         split_part(rule.tag, ':', 1), substr(rule.tag, strpos(rule.tag, ':') + 1)
                     )
                     ELSE (rule.region IS NULL OR rule.region = resource.region)
                      AND (rule.resource IS NULL OR {_RESOURCE_LIKE})
                 END
           ) AS is_held,
           -- By its tags a mute rule may match a finding that is not resolved.
           EXISTS (
               SELECT FROM finding JOIN check_coverage AS place ON place.id = finding.coverage_id
               WHERE finding.resource_hash = hashtext(resource.uid)
                 AND finding.resource_uid = resource.uid AND finding.state <> 'resolved'
                 AND place.account_id = resource.account_id
           ) AS is_needed
    FROM resource
    WHERE resource.team_id = :team_id AND {_IN_ACCOUNT.format(account="resource.account_id")}
      AND resource.gone_at <= :cutoff
"""  # noqa: S608 (our own names)

_EVENTS: Final = (
    "({owner}, id) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS bigint[])))"
)
_PLACE: Final = "(SELECT to_json(place) FROM check_coverage AS place WHERE place.id = coverage_id)"

SOURCES: Final = (
    Source(
        RetentionKind.EVENTS,
        _holds(RetentionKind.EVENTS),
        _OLD_FINDING_EVENTS,
        (Part("finding_event", _EVENTS.format(owner="finding_id")),),
        counted="finding_event",
    ),
    Source(
        RetentionKind.EVENTS,
        _holds(RetentionKind.EVENTS),
        _OLD_VULNERABILITY_EVENTS,
        (Part("vulnerability_event", _EVENTS.format(owner="vulnerability_id")),),
        counted="vulnerability_event",
    ),
    Source(
        RetentionKind.RESOLVED_FINDINGS,
        _WITH_EVENTS,
        _OLD_FINDINGS,
        (
            Part("notice", "vulnerability_id = ANY(:closed)"),
            Part("vulnerability_event", "vulnerability_id = ANY(:closed)"),
            Part("vulnerability_occurrence", "vulnerability_id = ANY(:closed)"),
            Part("vulnerability", "id = ANY(:closed)"),
            Part("finding_event", "finding_id = ANY(:ids)"),
            Part("finding", "id = ANY(:ids)", also=("place", _PLACE)),
        ),
        counted="finding",
        by_account=True,
    ),
    Source(
        RetentionKind.SCANS,
        _holds(RetentionKind.SCANS),
        _OLD_SCANS,
        (
            Part("import_file", "scan_id = ANY(:ids)"),
            Part("scan_task", "scan_id = ANY(:ids)"),
            Part("scan", "id = ANY(:ids)"),
        ),
        counted="scan",
        locks=_LOCK_SCANS,
    ),
    Source(
        RetentionKind.RUNS,
        _holds(RetentionKind.RUNS),
        _OLD_RUNS,
        (Part("job_run", "id = ANY(:ids)"),),
        counted="job_run",
    ),
    Source(
        RetentionKind.GONE_RESOURCES,
        _holds(RetentionKind.GONE_RESOURCES, besides="tag IS NOT NULL"),
        _OLD_RESOURCES,
        (Part("resource", "id = ANY(:ids)"),),
        counted="resource",
        by_account=True,
    ),
)
