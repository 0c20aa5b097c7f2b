"""Cascades: rules that start a scan of targets from what another scan found new."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import Contract, PlainText
from contracts.native import PortList
from contracts.scans import ScopeName
from contracts.targets import ScopeRef
from contracts.vocabulary import MadeTarget, NetworkTool, Severity, TargetKind, TargetRule

MOST_TARGETS: Final = 100
"""Targets of one follow-up: as many as a native scan takes."""

RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,59}$", examples=["tls-port-testssl"])]
Pattern = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_.:*-]{1,200}$",
        description="`*` stands for any characters.",
        examples=["ssl-*"],
    ),
]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=50)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Pairs = Annotated[
    dict[
        Annotated[PlainText, Field(min_length=1, max_length=100)],
        Annotated[PlainText, Field(max_length=1000)],
    ],
    Field(max_length=20),
]


class WhenFinding(Contract):
    """A finding of a native scan that is new or came back, and is open."""

    on: Literal["finding"]
    source: Annotated[list[NetworkTool], Field(min_length=1)] = Field(description="Any of these.")
    check_id: Patterns = Field(description="Any of these.")
    severity: Annotated[list[Severity], Field(min_length=1)] | None = None
    ports: PortList | None = Field(None, description="Only on these.", examples=["443,8443"])


class WhenResource(Contract):
    """A resource of the inventory that the scan was the first to see."""

    on: Literal["resource"]
    types: Patterns = Field(description="Any of these.", examples=[["ec2_*_load_balancer"]])
    attributes: Pairs = Field(
        default_factory=dict,
        description="All of these.",
        examples=[{"scheme": "internet-facing"}],
    )
    tags: Pairs = Field(default_factory=dict, description="All of these.")
    host: Word = Field("dns_name", description="The attribute that has its name or address.")


When = Annotated[WhenFinding | WhenResource, Field(discriminator="on")]


class Then(Contract):
    """The scan that follows: which tools look at which targets, how hard."""

    tools: Annotated[list[ScopeName], Field(min_length=1, max_length=20)]
    policy: ScopeName = "normal"
    target: MadeTarget = MadeTarget.HOST_PORT
    scheme: Literal["http", "https"] = Field("https", description="Of a URL.")
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        None, description="Where what was met names none; else 443, or 80 for http."
    )


MaxTargets = Annotated[
    int, Field(ge=1, le=MOST_TARGETS, description="Targets in one chain at most.")
]


class NewCascade(Contract):
    """A rule. It does nothing until it is enabled."""

    name: RuleName
    enabled: bool = False
    when: When
    then: Then
    max_targets: MaxTargets = 20


class CascadeChange(Contract):
    """What may change on a rule; `when` and `then` are replaced as a whole."""

    name: RuleName | None = None
    enabled: bool | None = None
    when: When | None = None
    then: Then | None = None
    max_targets: MaxTargets | None = None


class Cascade(Contract):
    """A rule as the API shows it."""

    id: UUID
    team_id: UUID
    name: str
    enabled: bool
    predefined: bool = Field(description="It came with Cloudsweep, and cannot be deleted.")
    when: When
    then: Then
    max_targets: int
    created_at: datetime
    updated_at: datetime


class Cause(Contract):
    """The finding or resource that a target is made of."""

    on: Literal["finding", "resource"]
    id: UUID
    uid: str


class PlannedTarget(Contract):
    """A target that a follow-up would have, by its value alone: its addresses are looked up and
    judged when it is scanned."""

    kind: TargetKind
    value: str
    scope: ScopeRef
    because: Cause


class RefusedTarget(Contract):
    """What is never scanned, and by which rule."""

    kind: TargetKind
    value: str
    rule: TargetRule
    error: str
    fix: str | None
    because: Cause


class CascadePlan(Contract):
    """What one rule makes of one scan."""

    rule: str
    rule_id: UUID | None = Field(None, description="Null: it is not stored.")
    enabled: bool
    starts: bool = Field(description="Whether it starts a scan, if it is enabled.")
    why_not: str | None = Field(None, description="Why nothing would be started.")
    tools: list[str]
    policy: str
    targets: list[PlannedTarget] = Field(default_factory=list)
    left_out: int = Field(0, description="Targets above `max_targets`.")
    refused: list[RefusedTarget] = Field(default_factory=list)
    scan_id: UUID | None = Field(None, description="The scan that it started in this chain.")


class CascadePreviewRequest(Contract):
    """Which rules to try on a scan: a stored one, one that is proposed, or all of the team."""

    scan_id: UUID
    rule_id: UUID | None = None
    rule: NewCascade | None = None


class CascadePreview(Contract):
    """What would follow a scan. Nothing was started."""

    scan_id: UUID
    root_scan_id: UUID = Field(description="The scan that the chain began with.")
    rules: list[CascadePlan]


class CascadesStarted(Contract):
    """The scans that follow one that ended."""

    scan_ids: list[UUID] = Field(default_factory=list)


PREDEFINED: Final = (
    NewCascade(
        name="tls-port-testssl",
        when=WhenFinding(
            on="finding", source=[NetworkTool.NMAP], check_id=["ssl-cert", "ssl-enum-ciphers"]
        ),
        then=Then(tools=["testssl"], policy="normal", target=MadeTarget.HOST_PORT),
    ),
    NewCascade(
        name="public-load-balancer-tls",
        when=WhenResource(
            on="resource",
            types=["ec2_*_load_balancer"],
            attributes={"scheme": "internet-facing"},
        ),
        then=Then(tools=["sslyze"], policy="gentle", target=MadeTarget.HOST_PORT, port=443),
    ),
    NewCascade(
        name="public-load-balancer-zap",
        when=WhenResource(
            on="resource",
            types=["ec2_application_load_balancer", "ec2_classic_load_balancer"],
            attributes={"scheme": "internet-facing"},
        ),
        then=Then(tools=["zap"], policy="gentle", target=MadeTarget.URL),
    ),
)
"""Rules that every team sees, and may enable."""
