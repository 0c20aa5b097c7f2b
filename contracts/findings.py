"""Findings: what a scanner observes, what the store keeps, what the API shows."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.vocabulary import (
    FindingState,
    FindingStatus,
    FindingTransition,
    Provider,
    Severity,
)


class CheckText(Contract):
    """What a check means, stored once; findings point at it by (source, provider, check_id)."""

    source: str
    provider: Provider
    check_id: str
    title: str
    severity: Severity
    service: str
    description: str = ""
    risk: str = ""
    remediation: str = ""
    references: list[str] = Field(default_factory=list)
    categories: list[str] = Field(default_factory=list)
    frameworks: dict[str, list[str]] = Field(
        default_factory=dict, description='{"CIS-5.0": ["1.1", ...]}: requirements per framework.'
    )


class FindingResource(Contract):
    """The resource a finding is about."""

    uid: str
    name: str
    type: str


class Finding(Contract):
    """The current state of one check on one resource."""

    id: UUID
    source: str
    provider: Provider
    account_id: UUID
    account_uid: str
    region: str
    service: str
    check_id: str
    title: str
    severity: Severity
    status: FindingStatus
    state: FindingState
    resource: FindingResource
    detail: str
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    first_scan_id: UUID
    last_scan_id: UUID


class FindingEvent(Contract):
    """One transition; append-only. `before` and `after` hold the fields that differ."""

    at: datetime
    scan_id: UUID | None
    transition: FindingTransition
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class FindingDetail(Finding):
    """A finding with its check's text and its history, oldest first."""

    check: CheckText | None
    history: list[FindingEvent]


class FindingFilter(Contract):
    """Filters of `GET /findings`; lists mean any of, different fields mean all of."""

    account_id: list[UUID] | None = None
    scan_id: UUID | None = None
    source: list[str] | None = None
    status: list[FindingStatus] | None = None
    state: list[FindingState] | None = None
    severity: list[Severity] | None = None
    service: list[str] | None = None
    region: list[str] | None = None
    check_id: list[str] | None = None
    resource_uid: list[str] | None = None
    q: str | None = None
    first_seen_after: datetime | None = None


class FindingSummary(Contract):
    """Counts of the findings that match a filter."""

    total: int
    severity: dict[str, int]
    status: dict[str, int]
    state: dict[str, int]
    service: dict[str, int]
    region: dict[str, int]
