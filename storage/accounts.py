"""Accounts: created, listed, changed and deleted by people; loaded and named by workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.accounts import (
    Account,
    AccountChange,
    Credentials,
    NewAccount,
    NoCredentials,
)
from contracts.base import Page
from contracts.errors import Conflict, NotFound
from contracts.vocabulary import CLOUDS, Provider, ScanStatus
from storage import cursors
from storage.findings.finding_counts import fold_counts
from storage.retention.retention_holds import refuse_held_account
from storage.tables import AccountRow, ScanRow

NATIVE_NAME: Final = "native scans"

_CREDENTIALS: TypeAdapter[Credentials] = TypeAdapter(Credentials)


async def create_account(
    session: AsyncSession, team_id: UUID, account: NewAccount, *, at: datetime
) -> Account:
    """A new account of the team; Conflict when the name is taken."""
    fields = account.model_dump(mode="json")
    row = (
        await session.scalars(
            insert(AccountRow)
            .values(team_id=team_id, enabled=True, created_at=at, updated_at=at, **fields)
            .on_conflict_do_nothing(index_elements=["team_id", "name"])
            .returning(AccountRow)
        )
    ).one_or_none()
    if row is None:
        raise _name_taken(account.name)
    return _shown(row)


async def native_account(session: AsyncSession, team_id: UUID, *, at: datetime) -> Account:
    """The account that a team's native scans run in, one after the other; made when first asked
    for."""
    mine = select(AccountRow).where(
        AccountRow.team_id == team_id, AccountRow.provider == Provider.NATIVE
    )
    row = await session.scalar(mine)
    if row is not None:
        return _shown(row)
    await session.execute(
        insert(AccountRow)
        .values(
            team_id=team_id,
            name=NATIVE_NAME,
            provider=Provider.NATIVE,
            uid=Provider.NATIVE,
            credentials=NoCredentials().model_dump(mode="json"),
            enabled=True,
            created_at=at,
            updated_at=at,
        )
        .on_conflict_do_nothing(index_elements=["team_id", "name"])
    )
    row = await session.scalar(mine)
    if row is None:
        raise Conflict(
            f"An account of this team is named {NATIVE_NAME}, as that of native scans would be.",
            fix="Rename it.",
        )
    return _shown(row)


async def list_accounts(
    session: AsyncSession,
    team_id: UUID,
    *,
    provider: Sequence[Provider] | None = None,
    enabled: bool | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Account]:
    """The team's accounts, oldest first; that of native scans only if it is asked for."""
    query = select(AccountRow).where(
        AccountRow.team_id == team_id,
        AccountRow.provider.in_(CLOUDS if provider is None else provider),
    )
    if enabled is not None:
        query = query.where(AccountRow.enabled == enabled)
    after = cursors.decode_id("accounts", cursor)
    if after is not None:
        query = query.where(AccountRow.id > after)
    rows = (await session.scalars(query.order_by(AccountRow.id).limit(limit + 1))).all()
    more = len(rows) > limit
    return Page(
        items=[_shown(row) for row in rows[:limit]],
        next_cursor=cursors.encode("accounts", rows[limit - 1].id) if more else None,
    )


async def get_account(session: AsyncSession, team_id: UUID, account_id: UUID) -> Account:
    """One account of the team."""
    return _shown(await _row(session, team_id, account_id))


async def change_account(
    session: AsyncSession, team_id: UUID, account_id: UUID, change: AccountChange, *, at: datetime
) -> Account:
    """Only fields that were given change; a null clears `regions` or `endpoint_url`."""
    clearable = {"regions", "endpoint_url"}
    fields: dict[str, Any] = {
        name: value
        for name, value in change.model_dump(mode="json", exclude_unset=True).items()
        if value is not None or name in clearable
    }
    await _row(session, team_id, account_id)
    try:
        row = (
            await session.scalars(
                update(AccountRow)
                .where(AccountRow.id == account_id, AccountRow.team_id == team_id)
                .values(updated_at=at, **fields)
                .returning(AccountRow)
                .execution_options(populate_existing=True)
            )
        ).one_or_none()
    except IntegrityError:  # of what may change, only the name is unique
        raise _name_taken(str(fields.get("name"))) from None
    if row is None:
        raise _not_found()
    return _shown(row)


async def delete_account(session: AsyncSession, team_id: UUID, account_id: UUID) -> None:
    """Delete an account and everything known of it; Conflict while a scan of it is not ended, or a
    legal hold may hold rows of it back.

    One transaction, so that nobody ever sees half of it and a crash leaves all or nothing; whole
    sets at a time. Readers and writers of other accounts wait for nothing: it locks only
    rows of this account.
    """
    await _row(session, team_id, account_id)
    await refuse_held_account(session, team_id, account_id)
    found = await session.execute(
        select(AccountRow.id)
        .where(AccountRow.id == account_id, AccountRow.team_id == team_id)
        .with_for_update()
    )
    if found.one_or_none() is None:
        raise _not_found()
    live = await session.execute(
        select(ScanRow.id)
        .where(
            ScanRow.account_id == account_id,
            ScanRow.status.in_([ScanStatus.PENDING, ScanStatus.RUNNING, ScanStatus.PAUSED]),
        )
        .limit(1)
    )
    scan_id = live.scalar_one_or_none()
    if scan_id is not None:
        raise Conflict(f"Scan {scan_id} of this account has not ended.", fix="Cancel it first.")
    for statement in _DELETIONS:
        await session.execute(text(statement), {"account_id": account_id})
    await fold_counts(session, team_id, account_id)
    await session.execute(delete(ScanRow).where(ScanRow.account_id == account_id))
    await session.execute(delete(AccountRow).where(AccountRow.id == account_id))


_DELETIONS = (
    *(
        f"DELETE FROM {table} WHERE task_id IN (SELECT scan_task.id FROM scan_task"  # noqa: S608
        " JOIN scan ON scan.id = scan_task.scan_id WHERE scan.account_id = :account_id)"
        for table in ("finding_staging", "resource_staging", "coverage_staging")
    ),
    # A resource that another account's findings are about, too, is still to be found.
    "DELETE FROM finding_subject AS subject USING finding JOIN check_coverage AS place"
    " ON place.id = finding.coverage_id"
    " WHERE place.account_id = :account_id AND finding.resource_uid = subject.resource_uid"
    " AND finding.team_id = subject.team_id AND NOT EXISTS ("
    "  SELECT FROM finding AS other JOIN check_coverage AS elsewhere"
    "  ON elsewhere.id = other.coverage_id"
    "  WHERE other.resource_uid = subject.resource_uid AND other.team_id = subject.team_id"
    "  AND elsewhere.account_id <> :account_id)",
    "DELETE FROM finding_event USING finding JOIN check_coverage AS place"
    " ON place.id = finding.coverage_id"
    " WHERE place.account_id = :account_id AND finding_event.finding_id = finding.id",
    "DELETE FROM finding USING check_coverage AS place"
    " WHERE place.account_id = :account_id AND place.id = finding.coverage_id",
    "DELETE FROM check_coverage WHERE account_id = :account_id",
    "DELETE FROM vulnerability_event AS event USING vulnerability"
    " WHERE vulnerability.account_id = :account_id AND event.vulnerability_id = vulnerability.id",
    "DELETE FROM vulnerability_occurrence WHERE account_id = :account_id",
    "DELETE FROM vulnerability WHERE account_id = :account_id",
    # What was found in images of a cluster is an occurrence elsewhere, which the next sync closes.
    "UPDATE vulnerability_cursor AS cursor SET asked = asked + 1"
    " FROM account JOIN account AS home USING (team_id) WHERE account.id = :account_id"
    " AND account.provider = 'kubernetes' AND home.provider = 'native'"
    " AND cursor.account_id = home.id",
    "DELETE FROM type_coverage WHERE account_id = :account_id",
    "DELETE FROM resource WHERE account_id = :account_id",
)


async def load_account(session: AsyncSession, account_id: UUID) -> Account:
    """An account as a worker sees it, of whatever team."""
    row = await session.get(AccountRow, account_id, populate_existing=True)
    if row is None:
        raise NotFound("This account does not exist any more.")
    return _shown(row)


async def record_identity(
    session: AsyncSession, account_id: UUID, *, uid: str, home_region: str | None, at: datetime
) -> None:
    """Learn who the account is: each is set once and then stays, so that identities hold.

    Conflict when the credentials belong to another account than the one recorded.
    """
    row = await session.get(AccountRow, account_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("This account does not exist any more.")
    if row.uid is not None and row.uid != uid:
        raise Conflict(
            f"The credentials of account {row.name} belong to {uid}, not to {row.uid}.",
            fix="Put credentials of the right account in, or add this one as another account.",
        )
    if row.uid is None or (row.home_region is None and home_region is not None):
        row.uid = uid
        row.home_region = row.home_region or home_region
        row.updated_at = at
        await session.flush()


async def _row(session: AsyncSession, team_id: UUID, account_id: UUID) -> AccountRow:
    query = select(AccountRow).where(AccountRow.id == account_id, AccountRow.team_id == team_id)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise _not_found()
    return row


def _not_found() -> NotFound:
    return NotFound("There is no such account in this team.")


def _name_taken(name: str) -> Conflict:
    return Conflict(f"An account named {name} exists already.", fix="Choose another name.")


def _shown(row: AccountRow) -> Account:
    return Account(
        id=row.id,
        team_id=row.team_id,
        name=row.name,
        provider=Provider(row.provider),
        uid=row.uid,
        credentials=_CREDENTIALS.validate_python(row.credentials),
        regions=row.regions,
        endpoint_url=row.endpoint_url,
        home_region=row.home_region,
        enabled=row.enabled,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
