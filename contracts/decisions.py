"""What people decide: about one vulnerability, or by a rule about the findings that it matches."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from contracts.base import Contract, PlainText

LAST_YEAR: Final = 9990


def _storable(moment: datetime) -> datetime:
    if moment.year > LAST_YEAR:
        raise ValueError(f"Choose a time before the year {LAST_YEAR}.")
    return moment


Until = Annotated[AwareDatetime, AfterValidator(_storable)]
Reason = Annotated[PlainText, Field(min_length=1, max_length=1000)]
Owner = Annotated[PlainText, Field(min_length=1, max_length=200)]
Pattern = Annotated[PlainText, Field(min_length=1, max_length=500)]
Name = Annotated[PlainText, Field(min_length=1, max_length=300)]


class Assign(Contract):
    """Say whose it is; null takes the owner away."""

    action: Literal["assign"]
    owner: Owner | None
    reason: Reason | None = None


class Comment(Contract):
    """Add to the history."""

    action: Literal["comment"]
    comment: Annotated[PlainText, Field(min_length=1, max_length=4000)]


class Begin(Contract):
    """Somebody works on it."""

    action: Literal["in_progress"]
    reason: Reason | None = None


class Accept(Contract):
    """Accept the risk until a time: until then nobody has to act, and no scan changes that."""

    action: Literal["accept"]
    reason: Reason
    until: Until


class Dismiss(Contract):
    """It is none: nobody has to act until a person reopens it."""

    action: Literal["false_positive"]
    reason: Reason


class Reopen(Contract):
    """Undo what was decided."""

    action: Literal["reopen"]
    reason: Reason | None = None


Decision = Annotated[
    Assign | Comment | Begin | Accept | Dismiss | Reopen, Field(discriminator="action")
]


class MuteCriteria(Contract):
    """Findings that a rule matches: those that match everything that is given."""

    check_id: Name | None = None
    resource: Pattern | None = Field(
        None, description="UID or name of the resource; * stands for any text."
    )
    region: Name | None = None
    tag: Annotated[Pattern, Field(pattern=r"^[^:]+:.*$")] | None = Field(
        None, description="A tag of the resource, such as env:test, as the inventory has it."
    )
    account_id: UUID | None = None

    @model_validator(mode="after")
    def _names_something(self) -> MuteCriteria:
        if all(getattr(self, name) is None for name in MuteCriteria.model_fields):
            raise ValueError("Name at least one of check_id, resource, region, tag, account_id.")
        return self


class NewMuteRule(MuteCriteria):
    """Mute the findings that match, those that are stored and those to come."""

    reason: Reason
    until: Until | None = Field(None, description="Null: until the rule is deleted.")


class MuteRule(NewMuteRule):
    """A rule as the API shows it; not enabled once its time has passed."""

    id: UUID
    created_by: str
    created_at: datetime
    enabled: bool


class MutePreview(Contract):
    """What a rule would mute now: open findings by severity, and the accounts they are in."""

    total: int
    severity: dict[str, int]
    accounts: int
