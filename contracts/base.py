"""The base of every contract: frozen, strict about unknown fields, read from attributes."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

ItemT = TypeVar("ItemT")


def _without_control_characters(text: str) -> str:
    # PostgreSQL stores no NUL, and a terminal that shows the text would obey the others.
    if not text.isprintable():
        raise ValueError("control characters and line breaks are not allowed")
    return text


PlainText = Annotated[str, AfterValidator(_without_control_characters)]
"""One line of text that people typed: any script, no control characters."""


class Contract(BaseModel):
    """A message that never changes after it was made and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class Page(Contract, Generic[ItemT]):
    """One page of a keyset-paged list; `next_cursor` is null on the last page."""

    items: list[ItemT]
    next_cursor: str | None = None
