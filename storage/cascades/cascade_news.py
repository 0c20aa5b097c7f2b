"""What a scan found new: findings that were opened or came back, resources seen first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.scans import Scan
from contracts.targets import PinnedTarget
from contracts.vocabulary import Severity, TaskKind
from storage.tables import ScanTaskRow

LOOKED_AT: Final = 5_000
"""Findings or resources that a rule looks at of one scan, the worst first."""


class NewFinding(NamedTuple):
    """An open finding that the scan opened or reopened."""

    id: UUID
    source: str
    check_id: str
    severity: Severity
    uid: str


class NewResource(NamedTuple):
    """A resource that the scan was the first to see."""

    id: UUID
    type: str
    uid: str
    tags: dict[str, str]
    attributes: dict[str, object]


_FINDINGS = text("""
    SELECT finding.id, place.source, place.check_id, finding.severity, finding.resource_uid AS uid
    FROM (
        SELECT id FROM finding WHERE first_scan_id = :scan_id
        UNION
        SELECT finding_id FROM finding_event
        WHERE scan_id = :scan_id AND transition = 'reopened'
    ) AS new
        JOIN finding USING (id)
        JOIN check_coverage AS place ON place.id = finding.coverage_id
    WHERE finding.team_id = :team_id AND finding.state = 'open' AND finding.status = 'fail'
      AND place.source = ANY(:sources) AND place.check_id LIKE ANY(:checks)
    ORDER BY finding.severity DESC, finding.id
    LIMIT :limit
""")

_RESOURCES = text("""
    SELECT id, type, uid, tags, attributes
    FROM resource
    WHERE team_id = :team_id AND account_id = :account_id AND gone_at IS NULL
      AND type LIKE ANY(:types)
      -- An account has one running scan, so what is of that time is of this scan.
      AND first_seen_at >= :begin AND first_seen_at <= :end
    ORDER BY id
    LIMIT :limit
""")


async def new_findings(
    session: AsyncSession,
    team_id: UUID,
    scan_id: UUID,
    *,
    sources: Sequence[str],
    checks: Sequence[str],
) -> list[NewFinding]:
    """Open findings of these sources and patterns of checks, which the scan opened or reopened."""
    rows = await session.execute(
        _FINDINGS,
        {
            "team_id": team_id,
            "scan_id": scan_id,
            "sources": list(sources),
            "checks": list(map(_like, checks)),
            "limit": LOOKED_AT,
        },
    )
    return [
        NewFinding(row.id, row.source, row.check_id, Severity(row.severity), row.uid)
        for row in rows
    ]


async def new_resources(
    session: AsyncSession, team_id: UUID, scan: Scan, *, types: Sequence[str]
) -> list[NewResource]:
    """Resources of these patterns of types, which the scan was the first to see."""
    if scan.started_at is None or scan.finished_at is None:
        return []
    rows = await session.execute(
        _RESOURCES,
        {
            "team_id": team_id,
            "account_id": scan.account_id,
            "types": list(map(_like, types)),
            "begin": scan.started_at,
            "end": scan.finished_at,
            "limit": LOOKED_AT,
        },
    )
    return [NewResource(*row) for row in rows]


async def pinned_by(session: AsyncSession, scan_id: UUID) -> list[PinnedTarget]:
    """The targets of a native scan as they were pinned when it was planned."""
    plans = await session.scalars(
        select(ScanTaskRow.plan["pinned"])
        .where(ScanTaskRow.scan_id == scan_id, ScanTaskRow.kind == TaskKind.NATIVE)
        .distinct()
    )
    return [PinnedTarget.model_validate(plan) for plan in plans if plan is not None]


def _like(pattern: str) -> str:
    """The pattern in the words of LIKE, where only `*` has a meaning."""
    escaped = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%")
