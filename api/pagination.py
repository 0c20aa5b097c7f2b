"""Keyset pages: how many rows, and from where."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PageQuery(BaseModel):
    """The parameters of every list."""

    limit: int = Field(50, ge=1, le=500, description="Rows of one page.")
    cursor: str | None = Field(
        None,
        max_length=1000,
        pattern=r"^[A-Za-z0-9_.=-]+$",
        description="`next_cursor` of the page before; keep the other parameters as they were.",
    )
