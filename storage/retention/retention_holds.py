"""Legal holds: made, read and lifted by people; retention reads them with every batch."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.base import Page
from contracts.errors import Conflict, NotFound, ScopeInvalid
from contracts.retention import CRITERIA, Hold, NewHold
from contracts.vocabulary import RetentionKind
from storage import cursors
from storage.retention.retention_locks import pause_batches
from storage.retention.retention_tables import RetentionHoldRow
from storage.tables import AccountRow


async def create_hold(
    session: AsyncSession, team_id: UUID, new: NewHold, *, who: str, at: datetime
) -> Hold:
    """A new hold: from here on no batch deletes what it matches. Conflict if the name is taken,
    ScopeInvalid if it could match nothing."""
    _require_sense(new)
    if new.account_id is not None:
        account = select(AccountRow.id).where(
            AccountRow.id == new.account_id, AccountRow.team_id == team_id
        )
        if await session.scalar(account) is None:
            raise NotFound("There is no such account in this team.")
    await pause_batches(session, team_id)
    try:
        row = (
            await session.scalars(
                insert(RetentionHoldRow)
                .values(
                    **new.model_dump(mode="python"), team_id=team_id, created_by=who, created_at=at
                )
                .returning(RetentionHoldRow)
            )
        ).one()
    except IntegrityError:  # only the name is unique
        raise Conflict(
            f"A hold named {new.name} exists already.", fix="Choose another name, or lift it."
        ) from None
    return _shown(row)


async def list_holds(
    session: AsyncSession,
    team_id: UUID,
    *,
    lifted: bool = False,
    limit: int,
    cursor: str | None = None,
) -> Page[Hold]:
    """The team's holds, newest first; those that were lifted instead, if asked for."""
    is_lifted = RetentionHoldRow.lifted_at.is_not(None)
    query = select(RetentionHoldRow).where(
        RetentionHoldRow.team_id == team_id, is_lifted if lifted else ~is_lifted
    )
    before = cursors.decode_id("holds", cursor)
    if before is not None:
        query = query.where(RetentionHoldRow.id < before)
    rows = (
        await session.scalars(query.order_by(RetentionHoldRow.id.desc()).limit(limit + 1))
    ).all()
    shown = [_shown(row) for row in rows[:limit]]
    return Page(
        items=shown,
        next_cursor=cursors.encode("holds", shown[-1].id) if len(rows) > limit else None,
    )


async def get_hold(session: AsyncSession, team_id: UUID, hold_id: UUID) -> Hold:
    """One hold of the team, also when it was lifted."""
    row = await session.scalar(
        select(RetentionHoldRow)
        .where(RetentionHoldRow.id == hold_id, RetentionHoldRow.team_id == team_id)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("There is no such hold in this team.")
    return _shown(row)


async def lift_hold(
    session: AsyncSession, team_id: UUID, hold_id: UUID, *, who: str, at: datetime
) -> Hold:
    """Lift a hold; the next cycle deletes what only it held. One that was lifted stays so."""
    await get_hold(session, team_id, hold_id)
    await session.execute(
        update(RetentionHoldRow)
        .where(RetentionHoldRow.id == hold_id, RetentionHoldRow.lifted_at.is_(None))
        .values(lifted_at=at, lifted_by=who)
    )
    return await get_hold(session, team_id, hold_id)


async def refuse_held_account(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Conflict while a hold may hold rows of an account back: deleting it would delete them."""
    await pause_batches(session, team_id)
    name = await session.scalar(
        select(RetentionHoldRow.name)
        .where(
            RetentionHoldRow.team_id == team_id,
            RetentionHoldRow.lifted_at.is_(None),
            or_(
                RetentionHoldRow.account_id.is_(None),
                RetentionHoldRow.account_id == account_id,
            ),
            # Runs outlive the account that they were for.
            RetentionHoldRow.job.is_(None),
            or_(
                RetentionHoldRow.kinds.is_(None),
                RetentionHoldRow.kinds != [RetentionKind.RUNS.value],
            ),
        )
        .order_by(RetentionHoldRow.id)
        .limit(1)
    )
    if name is not None:
        raise Conflict(
            f"The legal hold {name} may hold rows of this account, which would be deleted with it.",
            fix="Lift the hold first, or replace it by one that names other accounts. To only stop "
            "scans, disable the account.",
        )


def _require_sense(new: NewHold) -> None:
    named = new.named()
    for kind in new.kinds or ():
        for lacking in sorted(named - CRITERIA[kind]):
            raise ScopeInvalid(
                f"Of {kind.value} there is no {lacking} to name.",
                field=lacking,
                fix=f"They have {', '.join(sorted(CRITERIA[kind]))}. Make a hold of its own for "
                "what differs.",
            )
    if not any(named <= has for has in CRITERIA.values()):
        raise ScopeInvalid(
            f"No kind of row has all of {', '.join(sorted(named))}.",
            field=max(named),
            fix="Make a hold for each.",
        )


def _shown(row: RetentionHoldRow) -> Hold:
    return Hold.model_validate({name: getattr(row, name) for name in Hold.model_fields})
