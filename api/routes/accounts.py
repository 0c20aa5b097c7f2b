"""Accounts: create, list, change, remove, and check their credentials."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response, status

from api import examples, problems
from api.auth import Admin, Operator, Viewer
from api.filters import AccountListQuery
from api.problems import Refusal, described
from api.routes import BASE
from api.state import EngineOf, Now, Session, Shared
from contracts.accounts import (
    CREDENTIAL_KINDS,
    Account,
    AccountChange,
    AccountCheck,
    Credentials,
    NewAccount,
)
from contracts.base import Page
from contracts.vocabulary import Provider
from runtime import task_queues
from storage import accounts

AWS_UID = re.compile(r"[0-9]{12}")

router = APIRouter(prefix=f"{BASE}/accounts", tags=["accounts"])


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=described(409, 413), summary="Add an account"
)
async def create_account(
    account: Annotated[NewAccount, Body(openapi_examples=examples.ACCOUNTS)],
    caller: Operator,
    session: Session,
    now: Now,
    response: Response,
) -> Account:
    """Register an account to scan. Credentials are a reference, never the secret itself.

    Check them with `POST /accounts/{id}/check` before the first scan.
    """
    _refuse_mismatch(account.provider, account.credentials, account.endpoint_url, account.uid)
    created = await accounts.create_account(session, caller.team_id, account, at=now)
    response.headers["Location"] = f"{BASE}/accounts/{created.id}"
    return created


@router.get("", responses=described(), summary="List accounts")
async def list_accounts(
    query: Annotated[AccountListQuery, Query()], caller: Viewer, session: Session
) -> Page[Account]:
    """The team's accounts, oldest first."""
    return await accounts.list_accounts(
        session,
        caller.team_id,
        provider=query.provider,
        enabled=query.enabled,
        limit=query.limit,
        cursor=query.cursor,
    )


@router.get("/{account_id}", responses=described(404), summary="Show an account")
async def get_account(account_id: UUID, caller: Viewer, session: Session) -> Account:
    """One account of the team."""
    return await accounts.get_account(session, caller.team_id, account_id)


@router.patch("/{account_id}", responses=described(404, 409, 413), summary="Change an account")
async def change_account(
    account_id: UUID, change: AccountChange, caller: Operator, session: Session, now: Now
) -> Account:
    """Change only the fields that are sent; null clears `regions` and `endpoint_url`.

    A disabled account takes no new scans; its findings stay.
    """
    _refuse_nulls(change)
    current = await accounts.get_account(session, caller.team_id, account_id)
    _refuse_mismatch(current.provider, change.credentials, change.endpoint_url)
    return await accounts.change_account(session, caller.team_id, account_id, change, at=now)


@router.delete(
    "/{account_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=described(404, 409),
    summary="Remove an account",
)
async def delete_account(account_id: UUID, caller: Admin, session: Session) -> None:
    """Remove an account with its scans, findings and resources; 409 while a scan runs."""
    await accounts.delete_account(session, caller.team_id, account_id)


@router.post("/{account_id}/check", responses=described(404), summary="Check credentials")
async def check_account(account_id: UUID, caller: Operator, shared: Shared) -> AccountCheck:
    """Ask the provider, from a worker, who we are: the identity, or exactly what is missing.

    Answers within about 30 s. Nothing in the account is changed.
    """
    async with shared.database.transaction() as session:
        account = await accounts.get_account(session, caller.team_id, account_id)
    await require_worker(shared.engine)
    result = await shared.engine.check_account(account)
    if result is None:
        raise Refusal(
            503,
            f"The check of {account.name} has not answered yet; it goes on.",
            code="check_running",
            fix="Ask again in a moment. If it stays so, the provider's endpoint does not answer "
            "from the worker, or the worker is busy.",
        )
    return result


async def require_worker(engine: EngineOf) -> None:
    """Raise a 503 that names the fix when no worker would take the work up."""
    if not await engine.is_polled(task_queues.SCANS):
        raise problems.Refusal(
            503,
            f"No worker polls the task queue {task_queues.SCANS}, so nobody can do this.",
            code="no_worker",
            fix="Start one: `cloudsweep up` on one machine, or `python worker.py`.",
        )


def _refuse_mismatch(
    provider: Provider,
    credentials: Credentials | None,
    endpoint_url: str | None,
    uid: str | None = None,
) -> None:
    errors = []
    kinds = sorted(CREDENTIAL_KINDS[provider])
    if provider is Provider.NATIVE:
        errors.append(("provider", "Native scans have targets: `cloudsweep target add`."))
    elif credentials is not None and credentials.kind not in kinds:
        errors.append(
            (
                "credentials.kind",
                f"`{credentials.kind}` is not for {provider}. Allowed: {', '.join(kinds)}.",
            )
        )
    if endpoint_url is not None and provider is not Provider.AWS:
        errors.append(("endpoint_url", "Only aws accounts take an endpoint. Leave it out."))
    if uid is not None and provider is Provider.AWS and not AWS_UID.fullmatch(uid):
        errors.append(("uid", "An AWS account id has 12 digits. Leave it out to learn it."))
    if errors:
        raise Refusal(422, "These do not fit the account's provider.", errors=errors)


def _refuse_nulls(change: AccountChange) -> None:
    nulls = [
        name
        for name in ("name", "credentials", "enabled")
        if name in change.model_fields_set and getattr(change, name) is None
    ]
    if nulls:
        raise Refusal(
            422,
            "A field that every account has was set to null.",
            errors=[(name, "It cannot be null. Leave it out to keep it.") for name in nulls],
        )
