"""The inventory: what discovery observes and what the API shows."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.base import Contract
from contracts.vocabulary import Provider


class Resource(Contract):
    """One cloud resource; `gone_at` is set when a complete discovery no longer sees it."""

    id: UUID
    provider: Provider
    account_id: UUID
    uid: str
    type: str
    name: str
    region: str
    tags: dict[str, str]
    attributes: dict[str, Any]
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None


class ResourceFilter(Contract):
    """Filters of `GET /resources`; `tag` holds `key:value` pairs that must all be present."""

    account_id: list[UUID] | None = None
    type: list[str] | None = None
    region: list[str] | None = None
    q: str | None = None
    tag: list[str] | None = None
