"""What a scanner adapter yields: plain named tuples, cheap enough for millions of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from contracts.vocabulary import FindingStatus, Severity


class ObservedFinding(NamedTuple):
    """One verdict of one check on one resource, in one region."""

    check_id: str
    service: str
    region: str
    resource_uid: str
    resource_name: str
    resource_type: str
    severity: Severity
    status: FindingStatus
    detail: str


class ObservedResource(NamedTuple):
    """One inventory row; `type` is the discovery table's name without its plugin's prefix."""

    uid: str
    type: str
    name: str
    region: str
    tags: dict[str, str]
    attributes: dict[str, Any]


class CoveredCheck(NamedTuple):
    """A check that completed in a region: what it did not report there again is gone."""

    check_id: str
    region: str
