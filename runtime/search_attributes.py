"""The typed search attributes of our workflows: one table, registered once, used for filters."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)

TEAM: Final = SearchAttributeKey.for_keyword("CloudsweepTeam")
ACCOUNT: Final = SearchAttributeKey.for_keyword("CloudsweepAccount")

TYPES: Final[dict[str, str]] = {TEAM.name: "Keyword", ACCOUNT.name: "Keyword"}
"""Name -> type, as `temporal server start-dev --search-attribute` takes them."""


def of_account(team_id: UUID, account_id: UUID) -> TypedSearchAttributes:
    """The attributes of a workflow that works on one account."""
    return TypedSearchAttributes(
        [SearchAttributePair(TEAM, str(team_id)), SearchAttributePair(ACCOUNT, str(account_id))]
    )
