"""The base of every contract: frozen, strict about unknown fields, read from attributes."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

ItemT = TypeVar("ItemT")


class Contract(BaseModel):
    """A message that never changes after it was made and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class Page(Contract, Generic[ItemT]):
    """One page of a keyset-paged list; `next_cursor` is null on the last page."""

    items: list[ItemT]
    next_cursor: str | None = None
