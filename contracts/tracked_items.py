"""Tracked items: what expires one day, and is looked at before it does."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.base import Contract, PlainText

ItemKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ItemName = Annotated[PlainText, Field(min_length=1, max_length=200)]
Owner = Annotated[PlainText, Field(max_length=200)]
LeadSeconds = Annotated[int, Field(ge=0, le=10 * 366 * 86_400)]
Attributes = Annotated[
    dict[
        Annotated[PlainText, Field(min_length=1, max_length=100)],
        Annotated[PlainText, Field(max_length=1000)],
    ],
    Field(max_length=50),
]


class NewTrackedItem(Contract):
    """An assessment, a piece of evidence, a credential, a certificate, an acceptance or the like.

    One per (kind, name) of a team.
    """

    kind: ItemKind = Field(examples=["certificate"])
    name: ItemName
    owner: Owner = ""
    expires_at: AwareDatetime
    lead_seconds: LeadSeconds = Field(0, description="How long before it expires it is due.")
    attributes: Attributes = Field(default_factory=dict)


class TrackedItemChange(Contract):
    """What may change; a later `expires_at` renews the item and arms its expiry again."""

    name: ItemName | None = None
    owner: Owner | None = None
    expires_at: AwareDatetime | None = None
    lead_seconds: LeadSeconds | None = None
    attributes: Attributes | None = None


class TrackedItem(NewTrackedItem):
    """A tracked item as the API shows it."""

    id: UUID
    due_at: datetime = Field(description="`lead_seconds` before it expires.")
    created_at: datetime
    updated_at: datetime
