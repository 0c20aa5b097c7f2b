"""The states of findings that people decide about: muted by rule, accepted with a vulnerability.

Everything here runs over sets of findings, guards each by the state that it leaves, and writes an
event for each that moved.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_OWN: Final = """CASE WHEN finding.status = 'pass' OR finding.gone_at IS NOT NULL
        THEN 'resolved' ELSE 'open' END"""
"""What a finding's state is when nobody decided about it."""

_MOVE: Final = """
    WITH {before} chosen AS MATERIALIZED ({{chosen}}), moved AS (
        UPDATE finding
        SET state = CAST({{state}} AS finding_state),
            resolved_at = CASE
                WHEN {{state}} = 'resolved' THEN coalesce(finding.resolved_at, :at)
                WHEN {{state}} <> 'open' THEN finding.resolved_at
            END
        FROM chosen
        WHERE finding.id = chosen.id AND finding.state = chosen.state
        RETURNING new.id, old.state AS before, new.state AS after, chosen.reason
    ), written AS (
        INSERT INTO finding_event (finding_id, at, transition, reason, before, after)
        SELECT id, :at, 'changed', reason,
               jsonb_build_object('state', before), jsonb_build_object('state', after)
        FROM moved
    )
    SELECT count(*) FROM moved
"""

TAGGED: Final = """tagged AS MATERIALIZED (
        SELECT DISTINCT rule.id AS rule_id, resource.account_id, resource.uid
        FROM rule JOIN resource
            ON resource.tags @> jsonb_build_object(
                split_part(rule.tag, ':', 1), substr(rule.tag, strpos(rule.tag, ':') + 1)
            )
            AND resource.team_id = :team_id
            AND (CAST(:account_id AS uuid) IS NULL OR resource.account_id = :account_id)
        WHERE rule.tag IS NOT NULL
    )"""
"""Resources of the inventory that have the tag that a `rule` names."""
LIKE: Final = r"""replace(replace(replace(replace(
                rule.resource, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')"""
MATCHES: Final = f"""
        (rule.account_id IS NULL OR rule.account_id = place.account_id)
        AND (rule.check_id IS NULL OR rule.check_id = place.check_id)
        AND (rule.region IS NULL OR rule.region = place.region)
        AND (rule.resource IS NULL
             OR finding.resource_uid LIKE {LIKE} OR finding.resource_name LIKE {LIKE})
        AND (rule.tag IS NULL OR EXISTS (
            SELECT FROM tagged
            WHERE tagged.rule_id = rule.id AND tagged.account_id = place.account_id
              AND tagged.uid = finding.resource_uid
        ))"""
"""Whether a `finding` at a `place` has everything that a `rule` names, its tag by `TAGGED`."""
_RULES: Final = """rule AS MATERIALIZED (
        SELECT * FROM mute_rule
        WHERE team_id = :team_id AND enabled AND (until IS NULL OR until > :at)
          AND (account_id IS NULL OR account_id = :account_id)
    )"""

_BY_RULES: Final = _MOVE.format(before=f"{_RULES}, {TAGGED},")
_MUTE: Final = text(
    _BY_RULES.format(
        state="'muted'",
        chosen=f"""
        SELECT DISTINCT ON (finding.id) finding.id, finding.state,
               'muted by ' || rule.created_by || ': ' || rule.reason AS reason
        FROM rule CROSS JOIN check_coverage AS place
            JOIN finding ON finding.coverage_id = place.id AND finding.state = 'open'
        WHERE place.account_id = :account_id AND {MATCHES}
        ORDER BY finding.id, rule.id
        """,  # noqa: S608 (our own names)
    )
)
_UNMUTE: Final = text(
    _BY_RULES.format(
        state=_OWN,
        chosen=f"""
        SELECT finding.id, finding.state, 'no mute rule matches any more' AS reason
        FROM check_coverage AS place JOIN finding ON finding.coverage_id = place.id
        WHERE place.account_id = :account_id
          AND finding.state IN ('muted', 'accepted') AND finding.state = 'muted'
          AND NOT EXISTS (SELECT FROM rule WHERE {MATCHES})
        """,  # noqa: S608 (our own names)
    )
)
_HAS_RULES: Final = text("SELECT EXISTS (SELECT FROM mute_rule WHERE team_id = :team_id)")

_SIMPLE: Final = _MOVE.format(before="")
_ACCEPT: Final = text(
    _SIMPLE.format(
        state="'accepted'",
        chosen="""
        SELECT finding.id, finding.state, CAST(:reason AS text) AS reason
        FROM vulnerability
            JOIN vulnerability_occurrence AS occurrence
                ON occurrence.vulnerability_id = vulnerability.id
            JOIN finding ON finding.id = occurrence.finding_id
        WHERE vulnerability.account_id = :account_id AND finding.state = 'open'
          AND vulnerability.status IN ('accepted', 'false_positive')
          AND (CAST(:ids AS uuid[]) IS NULL OR vulnerability.id = ANY(CAST(:ids AS uuid[])))
        """,
    )
)
_RELEASE: Final = text(
    _SIMPLE.format(
        state=_OWN,
        chosen="""
        SELECT finding.id, finding.state, CAST(:reason AS text) AS reason
        FROM vulnerability_occurrence AS occurrence
            JOIN finding ON finding.id = occurrence.finding_id
        WHERE occurrence.vulnerability_id = ANY(CAST(:ids AS uuid[]))
          AND finding.state = 'accepted'
        """,
    )
)
_PREVIEW: Final = text(f"""
    WITH rule AS (
        SELECT CAST(:check_id AS text) AS check_id, CAST(:resource AS text) AS resource,
               CAST(:region AS text) AS region, CAST(:tag AS text) AS tag,
               CAST(:account_id AS uuid) AS account_id, 1 AS id
    ), {TAGGED}
    SELECT finding.severity, count(*) AS n,
           array_agg(DISTINCT place.account_id) AS accounts
    FROM rule CROSS JOIN check_coverage AS place
        JOIN finding ON finding.coverage_id = place.id AND finding.state = 'open'
    WHERE place.team_id = :team_id AND {MATCHES}
    GROUP BY finding.severity
""")  # noqa: S608 (our own names)


async def apply_mute_rules(
    session: AsyncSession, team_id: UUID, account_id: UUID, *, at: datetime
) -> None:
    """Mute what an enabled rule of the team matches, and give the rest its own state back."""
    values = {"team_id": team_id, "account_id": account_id, "at": at}
    if await session.scalar(_HAS_RULES, values):
        await session.execute(_MUTE, values)
    await session.execute(_UNMUTE, values)


async def count_matches(
    session: AsyncSession, team_id: UUID, criteria: dict[str, Any]
) -> list[tuple[str, int, list[UUID]]]:
    """(severity, findings, accounts) of the open findings that a rule would mute."""
    rows = await session.execute(_PREVIEW, {"team_id": team_id, **criteria})
    return [(row.severity, row.n, row.accounts) for row in rows]


async def accept_findings(
    session: AsyncSession,
    account_id: UUID,
    ids: list[UUID] | None,
    reason: str,
    *,
    at: datetime,
) -> None:
    """Accept the open findings of these accepted vulnerabilities, or of all of an account."""
    values = {"account_id": account_id, "ids": ids, "reason": reason, "at": at}
    await session.execute(_ACCEPT, values)


async def release_findings(
    session: AsyncSession, ids: list[UUID], reason: str, *, at: datetime
) -> None:
    """Give the accepted findings of these vulnerabilities their own state back."""
    await session.execute(_RELEASE, {"ids": ids, "reason": reason, "at": at})
