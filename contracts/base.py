"""The base of every contract: frozen, strict about unknown fields, read from attributes."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

ItemT = TypeVar("ItemT")


def _one_plain_line(text: str) -> str:
    # PostgreSQL stores no NUL, and a terminal that shows the text would obey the others.
    if not text.isprintable() or text != text.strip():
        raise ValueError("no control characters or line breaks, and no space at either end")
    return text


PlainText = Annotated[str, AfterValidator(_one_plain_line)]
"""One line of text that people typed: any script, no control characters."""


class Contract(BaseModel):
    """A message that never changes after it was made and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class Page(Contract, Generic[ItemT]):
    """One page of a keyset-paged list; `next_cursor` is null on the last page."""

    items: list[ItemT]
    next_cursor: str | None = None
