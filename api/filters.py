"""Filters as the query string has them: comma lists, repeated or not, checked value by value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    ValidationInfo,
    field_validator,
)

from api.pagination import PageQuery
from contracts.assets import AssetFilter
from contracts.findings import FindingFilter
from contracts.resources import ResourceFilter
from contracts.vocabulary import (
    ExportFormat,
    NoticeKind,
    Provider,
    RunOutcome,
    RunTrigger,
    ScanKind,
    ScanStatus,
    ScheduleStatus,
    Severity,
    TargetKind,
    TriggerKind,
)
from contracts.vulnerabilities import VulnerabilityFilter

VALUES_LIMIT = 100


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("Control characters are not allowed.")
    return text


Word = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_printable)]
Search = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


def _in_the_calendar(moment: datetime) -> datetime:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("Choose a time between the years 1 and 9999, in UTC.") from None
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_the_calendar)]


class CommaLists(BaseModel):
    """`?severity=critical,high` and `?severity=critical&severity=high` mean the same."""

    @field_validator("*", mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list):
            return value
        parts = [part for text in value for part in (text.split(",") if text else [""])]
        if "" in parts:
            raise ValueError("A value is empty. Leave the parameter out to not filter by it.")
        if len(parts) > VALUES_LIMIT:
            raise ValueError(f"At most {VALUES_LIMIT} values.")
        return list(dict.fromkeys(parts))


class FindingQuery(CommaLists, FindingFilter):
    """The filters of findings and of their summary."""

    account_id: list[UUID] | None = Field(None, description="Accounts the findings are of.")
    scan_id: UUID | None = Field(None, description="Findings that this scan last saw or changed.")
    source: list[Word] | None = Field(None, description="Scanners, such as prowler.")
    service: list[Word] | None = Field(None, description="Cloud services, such as s3.")
    region: list[Word] | None = Field(None, description="Regions, such as eu-west-1.")
    check_id: list[Word] | None = Field(None, description="Checks.")
    resource_uid: list[Word] | None = Field(None, description="Resources by ARN or id.")
    q: Search | None = Field(None, description="Text in title, detail or resource.")
    first_seen_after: Moment | None = Field(
        None, description="RFC 3339 time; a + is written %2B in a URL."
    )

    def filter(self) -> FindingFilter:
        """The contract alone, without what only the query string has."""
        return FindingFilter(**{name: getattr(self, name) for name in FindingFilter.model_fields})


class FindingListQuery(FindingQuery, PageQuery):
    """One page of findings."""


class VulnerabilityQuery(CommaLists, VulnerabilityFilter):
    """The filters of vulnerabilities and of their summary."""

    account_id: list[UUID] | None = Field(None, description="Accounts they are in.")
    owner: list[Word] | None = Field(None, description="Whose they are.")
    weakness: list[Word] | None = Field(None, description="Checks or CVEs.")
    q: Search | None = Field(
        None, description="Text in the weakness or its title, or words of the resource."
    )

    def filter(self) -> VulnerabilityFilter:
        """The contract alone, without what only the query string has."""
        return VulnerabilityFilter(
            **{name: getattr(self, name) for name in VulnerabilityFilter.model_fields}
        )


class VulnerabilityListQuery(VulnerabilityQuery, PageQuery):
    """One page of vulnerabilities."""


class NoticeListQuery(CommaLists, PageQuery):
    """One page of notices."""

    kind: list[NoticeKind] | None = Field(None, description="What they are about.")


class HoldListQuery(PageQuery):
    """One page of legal holds."""

    lifted: bool = Field(False, description="Those that were lifted, instead of those that hold.")


class ExportQuery(BaseModel):
    """How an export is written."""

    format: ExportFormat = Field(ExportFormat.CSV, description="How they are written.")


class FindingExportQuery(FindingQuery, ExportQuery):
    """The filters of an export of findings, and how it is written."""


class VulnerabilityExportQuery(VulnerabilityQuery, ExportQuery):
    """The filters of an export of vulnerabilities, and how it is written."""


class ResourceListQuery(CommaLists, ResourceFilter, PageQuery):
    """One page of resources."""

    account_id: list[UUID] | None = Field(None, description="Accounts the resources are of.")
    type: list[Word] | None = Field(None, description="Types, such as s3_bucket.")
    region: list[Word] | None = Field(None, description="Regions.")
    q: Search | None = Field(None, description="Text in name or uid.")
    tag: list[Annotated[Word, Field(pattern=r"^[^:]+:.*$")]] | None = Field(
        None, description="Pairs that must all be present, such as env:prod."
    )

    def filter(self) -> ResourceFilter:
        """The contract alone, without what only the query string has."""
        return ResourceFilter(**{name: getattr(self, name) for name in ResourceFilter.model_fields})


class ScanListQuery(CommaLists, PageQuery):
    """One page of scans."""

    status: list[ScanStatus] | None = Field(None, description="Where the scans stand.")
    account_id: list[UUID] | None = Field(None, description="Accounts that were scanned.")
    kind: list[ScanKind] | None = Field(None, description="What the scans look at.")
    trigger: list[TriggerKind] | None = Field(None, description="What started the scans.")


class AccountListQuery(CommaLists, PageQuery):
    """One page of accounts."""

    provider: list[Provider] | None = Field(None, description="Clouds.")
    enabled: bool | None = Field(None, description="Only enabled, or only disabled accounts.")


class CheckListQuery(CommaLists, PageQuery):
    """One page of checks."""

    source: list[Word] | None = Field(None, description="The scanner that has the check.")
    provider: list[Provider] | None = Field(None, description="Clouds.")
    service: list[Word] | None = Field(None, description="Cloud services.")
    severity: list[Severity] | None = Field(None, description="Severities.")
    framework: list[Word] | None = Field(None, description="Frameworks, such as cis_5.0_aws.")
    q: Search | None = Field(None, description="Text in id or title.")


class ScheduleListQuery(CommaLists, PageQuery):
    """One page of schedules."""

    status: list[ScheduleStatus] | None = Field(None, description="Whether they fire.")
    job: list[Word] | None = Field(None, description="Jobs that they start, such as cloud_scan.")
    account_id: list[UUID] | None = Field(None, description="Accounts that they are for.")
    trigger: list[Literal["cron", "interval", "one_time", "expiry"]] | None = Field(
        None, description="What makes them fire."
    )


class ScheduleRunsQuery(CommaLists, PageQuery):
    """One page of the runs of a schedule."""

    outcome: list[RunOutcome] | None = Field(None, description="Where they stand, how they ended.")
    trigger: list[RunTrigger] | None = Field(None, description="Why they were due.")


class JobRunsQuery(ScheduleRunsQuery):
    """One page of the runs of a job."""

    schedule_id: list[UUID] | None = Field(None, description="Schedules that started them.")


class RunListQuery(JobRunsQuery):
    """One page of runs."""

    job: list[Word] | None = Field(None, description="Jobs that were run, such as cloud_scan.")


class ItemListQuery(CommaLists, PageQuery):
    """One page of tracked items."""

    kind: list[Word] | None = Field(None, description="What they are, such as certificate.")
    owner: list[Word] | None = Field(None, description="Whose they are.")
    expires_before: Moment | None = Field(
        None, description="RFC 3339 time; a + is written %2B in a URL."
    )


class TargetListQuery(CommaLists, PageQuery):
    """One page of targets."""

    kind: list[TargetKind] | None = Field(None, description="What they are.")
    enabled: bool | None = Field(None, description="Only enabled, or only disabled targets.")
    tag: list[Annotated[Word, Field(pattern=r"^[^:]+:.*$")]] | None = Field(
        None, description="Pairs that must all be present, such as env:prod."
    )
    q: Search | None = Field(None, description="Text in the value.")


class AssetQuery(CommaLists, AssetFilter):
    """Filters of assets, as the query string has them."""

    q: Search | None = Field(None, description="Text in the address or its names.")

    def filter(self) -> AssetFilter:
        """The contract alone, without what only the query string has."""
        return AssetFilter(**{name: getattr(self, name) for name in AssetFilter.model_fields})


class AssetListQuery(AssetQuery, PageQuery):
    """One page of assets."""


class ScopeListQuery(CommaLists, PageQuery):
    """One page of scopes."""

    valid: bool | None = Field(None, description="Only those that are valid, or that have ended.")


async def refuse_unknown_parameters(request: Request) -> None:
    """A misspelt filter must not silently list everything: 422, naming those that exist."""
    # In the event loop, not a thread: FastAPI cannot describe its routes while it reads a request.
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    operation = request.app.openapi()["paths"][route.path][request.method.lower()]
    known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        context = {"known": ", ".join(known) or "none"}
        raise RequestValidationError(
            [
                {"type": "extra_forbidden", "loc": ("query", name), "msg": "", "ctx": context}
                for name in unknown
            ]
        )
