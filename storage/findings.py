"""Reading findings: keyset-paged lists, one with its history, counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from contracts.base import Page
from contracts.errors import NotFound
from contracts.findings import (
    Finding,
    FindingDetail,
    FindingEvent,
    FindingFilter,
    FindingResource,
    FindingSummary,
)
from contracts.vocabulary import FindingState, FindingStatus, Provider, Severity
from storage import cursors
from storage.checks import find_check, says
from storage.finding_tables import (
    SHOWN,
    CheckCoverageRow,
    FindingCountRow,
    FindingEventRow,
    FindingRow,
    FindingSubjectRow,
)
from storage.tables import SEVERITY, AccountRow, CheckRow

COUNTED = ("severity", "status", "state", "service", "region")
ROLLED_UP = ("account_id", "source", "service", "region", "severity", "status", "state")


async def list_findings(
    session: AsyncSession,
    team_id: UUID,
    filter: FindingFilter,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[Finding]:
    """Findings that match, worst first, then newest; passes of gone resources are left out."""
    query = select(FindingRow).where(*await _matches(session, team_id, filter))
    after = cursors.decode("findings", cursor, [Severity, UUID])
    if after is not None:
        key = tuple_(FindingRow.severity, FindingRow.id)
        query = query.where(key < tuple_(cast(literal(after[0].value), SEVERITY), after[1]))
    page = query.order_by(FindingRow.severity.desc(), FindingRow.id.desc()).limit(limit + 1)
    rows = (await session.execute(_with_names(page))).all()
    last = rows[limit - 1].FindingRow if len(rows) > limit else None
    return Page(
        items=[_shown(row) for row in rows[:limit]],
        next_cursor=cursors.encode("findings", last.severity.value, last.id) if last else None,
    )


async def get_finding(session: AsyncSession, team_id: UUID, finding_id: UUID) -> FindingDetail:
    """One finding with its check's text and its history, oldest first."""
    query = select(FindingRow).where(FindingRow.team_id == team_id, FindingRow.id == finding_id)
    row = (await session.execute(_with_names(query))).one_or_none()
    if row is None:
        raise NotFound("There is no such finding.")
    found: FindingRow = row.FindingRow
    events = await session.scalars(
        select(FindingEventRow)
        .where(FindingEventRow.finding_id == finding_id)
        .order_by(FindingEventRow.id)
    )
    return FindingDetail(
        **dict(_shown(row)),
        check=await find_check(session, found.source, found.provider, found.check_id),
        history=[FindingEvent.model_validate(event) for event in _plain(events.all())],
    )


async def summarize_findings(
    session: AsyncSession, team_id: UUID, filter: FindingFilter
) -> FindingSummary:
    """Counts of the findings that match; from running totals where the filter allows it."""
    asked = {name for name, value in filter if value is not None}
    if asked <= set(ROLLED_UP):
        rows = await session.execute(_from_totals(team_id, filter))
    else:
        columns = [getattr(FindingRow, name) for name in COUNTED]
        rows = await session.execute(
            select(*columns, func.count().label("n"))
            .where(*await _matches(session, team_id, filter))
            .group_by(*columns)
        )
    counts: dict[str, dict[str, int]] = {name: {} for name in COUNTED}
    total = 0
    for row in rows:
        n = int(row.n)
        total += n
        for name in COUNTED:
            value = str(getattr(row, name))
            counts[name][value] = counts[name].get(value, 0) + n
    return FindingSummary(total=total, **counts)


def _from_totals(team_id: UUID, filter: FindingFilter) -> Select[Any]:
    columns = [getattr(FindingCountRow, name) for name in COUNTED]
    where: list[ColumnElement[bool]] = [FindingCountRow.team_id == team_id]
    if filter.account_id is None:
        where.append(FindingCountRow.account_id.is_(None))
    for name in ROLLED_UP:
        values = getattr(filter, name)
        if values is not None:
            where.append(getattr(FindingCountRow, name).in_(values))
    n = func.sum(FindingCountRow.n)
    return select(*columns, n.label("n")).where(*where).group_by(*columns).having(n > 0)


async def _matches(
    session: AsyncSession, team_id: UUID, filter: FindingFilter
) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [
        FindingRow.team_id == team_id,
        literal_column(f"({SHOWN.text})"),
    ]
    for name in (*ROLLED_UP, "check_id", "resource_uid"):
        values = getattr(filter, name)
        if values is not None:
            where.append(getattr(FindingRow, name).in_(values))
    if filter.first_seen_after is not None:
        where.append(FindingRow.first_seen_at > filter.first_seen_after)
    if filter.scan_id is not None:
        where.append(_of_scan(filter.scan_id))
    if filter.q is not None:
        where.append(await _says(session, team_id, filter.q))
    return where


def _of_scan(scan_id: UUID) -> ColumnElement[bool]:
    """The scan was the last to see it, or opened, changed, resolved or reopened it."""
    return or_(
        FindingRow.id.in_(
            select(FindingEventRow.finding_id).where(FindingEventRow.scan_id == scan_id)
        ),
        and_(
            FindingRow.gone_at.is_(None),
            tuple_(
                FindingRow.account_id, FindingRow.source, FindingRow.check_id, FindingRow.region
            ).in_(
                select(
                    CheckCoverageRow.account_id,
                    CheckCoverageRow.source,
                    CheckCoverageRow.check_id,
                    CheckCoverageRow.region,
                ).where(CheckCoverageRow.scan_id == scan_id)
            ),
        ),
    )


async def _says(session: AsyncSession, team_id: UUID, q: str) -> ColumnElement[bool]:
    """Any part of the check's id or title, or words that the resource's name and uid begin with."""
    checks = (await session.scalars(select(CheckRow.check_id).where(says(q)))).all()
    words = [word for word in re.split(r"[\W_]+", q.lower()) if word]
    by_check = FindingRow.check_id.in_(checks)
    if not words:
        return by_check
    asked = cast(literal(" & ".join(f"'{word}':*" for word in words)), TSQUERY)
    return or_(
        by_check,
        tuple_(FindingRow.account_id, FindingRow.resource_uid).in_(
            select(FindingSubjectRow.account_id, FindingSubjectRow.resource_uid).where(
                FindingSubjectRow.team_id == team_id, FindingSubjectRow.words.op("@@")(asked)
            )
        ),
    )


def _with_names(page: Select[Any]) -> Select[Any]:
    """Those findings with what other tables know of them, looked up for the page alone."""
    found = page.subquery("found")
    row = aliased(FindingRow, found, name="FindingRow")
    return (
        select(
            row,
            AccountRow.uid.label("account_uid"),
            CheckRow.title,
            CheckCoverageRow.at.label("covered_at"),
            CheckCoverageRow.scan_id.label("covered_scan_id"),
        )
        .join(AccountRow, AccountRow.id == row.account_id)
        .outerjoin(
            CheckRow,
            and_(
                CheckRow.source == row.source,
                CheckRow.provider == row.provider,
                CheckRow.check_id == row.check_id,
            ),
        )
        .outerjoin(
            CheckCoverageRow,
            and_(
                row.gone_at.is_(None),
                CheckCoverageRow.account_id == row.account_id,
                CheckCoverageRow.source == row.source,
                CheckCoverageRow.check_id == row.check_id,
                CheckCoverageRow.region == row.region,
            ),
        )
        .order_by(row.severity.desc(), row.id.desc())
    )


def _plain(events: Sequence[FindingEventRow]) -> list[dict[str, Any]]:
    return [{name: getattr(event, name) for name in FindingEvent.model_fields} for event in events]


def _shown(row: Row[Any]) -> Finding:
    found: FindingRow = row.FindingRow
    is_covered = row.covered_at is not None and row.covered_at >= found.seen_at
    return Finding(
        id=found.id,
        source=found.source,
        provider=Provider(found.provider),
        account_id=found.account_id,
        account_uid=row.account_uid or "",
        region=found.region,
        service=found.service,
        check_id=found.check_id,
        title=row.title or found.check_id,
        severity=found.severity,
        status=FindingStatus(found.status),
        state=FindingState(found.state),
        resource=FindingResource(
            uid=found.resource_uid, name=found.resource_name, type=found.resource_type
        ),
        detail=found.detail,
        first_seen_at=found.first_seen_at,
        last_seen_at=row.covered_at if is_covered else found.seen_at,
        resolved_at=found.resolved_at,
        first_scan_id=found.first_scan_id,
        last_scan_id=row.covered_scan_id if is_covered else found.seen_scan_id,
    )
