"""What checks mean: stored once for each, and listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import NotFound
from contracts.findings import CheckText
from contracts.vocabulary import Provider, Severity
from storage import cursors
from storage.tables import CheckRow

KEY = (CheckRow.check_id, CheckRow.source, CheckRow.provider)
KEPT: Final = 2_000

CheckKey = tuple[str, str, str]
"""Source, provider and id of a check."""
_KEY: Final = tuple_(CheckRow.source, CheckRow.provider, CheckRow.check_id)


async def upsert_checks(session: AsyncSession, checks: Sequence[CheckText]) -> None:
    """Store these texts; a text that is stored already is not written again."""
    wanted = {(check.source, str(check.provider), check.check_id): check for check in checks}
    tools = {(source, provider) for source, provider, _ in wanted}
    known = await session.scalars(
        select(CheckRow)
        .where(tuple_(CheckRow.source, CheckRow.provider).in_(tools))
        .execution_options(populate_existing=True)
    )
    for row in known:
        key = (row.source, row.provider, row.check_id)
        if wanted.get(key) == _shown(row):
            del wanted[key]
    if not wanted:
        return
    new = insert(CheckRow)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["source", "provider", "check_id"],
            set_={
                column.name: new.excluded[column.name]
                for column in CheckRow.__table__.columns
                if not column.primary_key
            },
        ),
        # In the order of keys: two workers that store one catalogue at once do not deadlock.
        [_stored(wanted[key]) for key in sorted(wanted)],
    )


async def add_checks(session: AsyncSession, checks: Sequence[CheckText]) -> None:
    """Store the texts of checks that have none; a text that is stored stays as it is."""
    if checks:
        await session.execute(
            insert(CheckRow).on_conflict_do_nothing(),
            [_stored(each) for each in sorted(checks, key=lambda each: each.check_id)],
        )


async def list_checks(
    session: AsyncSession,
    *,
    source: Sequence[str] | None = None,
    provider: Sequence[Provider] | None = None,
    service: Sequence[str] | None = None,
    severity: Sequence[Severity] | None = None,
    framework: Sequence[str] | None = None,
    q: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[CheckText]:
    """Checks by id; `q` finds any part of the id or the title."""
    query = select(CheckRow)
    for column, values in (
        (CheckRow.source, source),
        (CheckRow.provider, provider),
        (CheckRow.service, service),
        (CheckRow.severity, severity),
    ):
        if values is not None:
            query = query.where(column.in_(values))
    if framework is not None:
        query = query.where(or_(*(CheckRow.frameworks.has_key(name) for name in framework)))
    if q is not None:
        query = query.where(_says(q))
    after = cursors.decode("checks", cursor, [str, str, str])
    if after is not None:
        query = query.where(tuple_(*KEY) > tuple_(*after))
    rows = (await session.scalars(query.order_by(*KEY).limit(limit + 1))).all()
    shown = [_shown(row) for row in rows[:limit]]
    last = shown[-1] if len(rows) > limit else None
    return Page(
        items=shown,
        next_cursor=cursors.encode("checks", last.check_id, last.source, last.provider)
        if last
        else None,
    )


async def get_check(session: AsyncSession, check_id: str) -> CheckText:
    """One check by its id; where several tools have one of this name, the first by source."""
    query = select(CheckRow).where(CheckRow.check_id == check_id).order_by(*KEY).limit(1)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no check {check_id}.", fix="Checks are known once a scan was planned."
        )
    return _shown(row)


async def find_check(
    session: AsyncSession, source: str, provider: str, check_id: str
) -> CheckText | None:
    """The text a finding points at, or None if its scanner never told it."""
    row = await session.get(CheckRow, (source, provider, check_id))
    return None if row is None else _shown(row)


class CheckTexts:
    """Texts of checks as an export comes to them: read once as long as `KEPT` are not exceeded, so
    that memory does not grow with the checks."""

    def __init__(self) -> None:
        self._known: dict[CheckKey, CheckText | None] = {}

    async def read(
        self, session: AsyncSession, keys: Collection[CheckKey]
    ) -> dict[CheckKey, CheckText | None]:
        """The texts of these; None where a scanner never told one."""
        if len(self._known.keys() | set(keys)) > KEPT:
            self._known.clear()
        wanted = set(keys) - self._known.keys()
        if wanted:
            self._known |= dict.fromkeys(wanted)
            found = await session.scalars(select(CheckRow).where(_KEY.in_(wanted)))
            self._known |= {(row.source, row.provider, row.check_id): _shown(row) for row in found}
        return {key: self._known[key] for key in keys}


async def check_ids_that_say(session: AsyncSession, q: str) -> list[str]:
    """The checks that have this text anywhere in their id or title, in whatever case."""
    query = select(CheckRow.check_id).where(_says(q)).distinct().order_by(CheckRow.check_id)
    return list(await session.scalars(query))


def _says(q: str) -> ColumnElement[bool]:
    return or_(
        CheckRow.check_id.icontains(q, autoescape=True),
        CheckRow.title.icontains(q, autoescape=True),
    )


def _stored(check: CheckText) -> dict[str, Any]:
    return {**check.model_dump(), "provider": str(check.provider)}


def _shown(row: CheckRow) -> CheckText:
    return CheckText(
        source=row.source,
        provider=Provider(row.provider),
        check_id=row.check_id,
        title=row.title,
        severity=row.severity,
        service=row.service,
        description=row.description,
        risk=row.risk,
        remediation=row.remediation,
        references=row.references,
        categories=row.categories,
        frameworks=row.frameworks,
    )
