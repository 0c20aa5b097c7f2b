"""The typed search attributes of our workflows: one table, registered once, used for filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)

TEAM: Final = SearchAttributeKey.for_keyword("CloudsweepTeam")
ACCOUNT: Final = SearchAttributeKey.for_keyword("CloudsweepAccount")
SCHEDULE: Final = SearchAttributeKey.for_keyword("CloudsweepSchedule")

TYPES: Final[dict[str, str]] = {key.name: "Keyword" for key in (TEAM, ACCOUNT, SCHEDULE)}
"""Name -> type, as `temporal server start-dev --search-attribute` takes them."""


def of(values: Mapping[str, str]) -> TypedSearchAttributes:
    """The attributes with these names."""
    keys = {key.name: key for key in (TEAM, ACCOUNT, SCHEDULE)}
    return TypedSearchAttributes(
        [SearchAttributePair(keys[name], value) for name, value in values.items()]
    )


def of_account(team_id: UUID, account_id: UUID) -> TypedSearchAttributes:
    """The attributes of a workflow that works on one account."""
    return of({TEAM.name: str(team_id), ACCOUNT.name: str(account_id)})


def of_schedule(team_id: UUID, schedule_id: UUID | None) -> TypedSearchAttributes:
    """The attributes of a run of a job."""
    values = {TEAM.name: str(team_id)}
    if schedule_id is not None:
        values[SCHEDULE.name] = str(schedule_id)
    return of(values)
