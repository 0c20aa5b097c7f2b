"""Targets of native scans, and the scopes that say what a team may scan."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from contracts.base import Contract, PlainText
from contracts.vocabulary import ScopeKind, TargetKind, TargetRule

YEARS: Final = range(1990, 9991)


def _in_these_years(moment: datetime) -> datetime:
    if moment.year not in YEARS:
        raise ValueError(f"Choose a time between the years {YEARS[0]} and {YEARS[-1]}")
    return moment


Value = Annotated[PlainText, Field(min_length=1, max_length=2000)]
Tags = Annotated[
    dict[
        Annotated[PlainText, Field(min_length=1, max_length=100, pattern=r"^[^:,]+$")],
        Annotated[PlainText, Field(max_length=1000)],
    ],
    Field(max_length=50),
]
ScopeName = Annotated[PlainText, Field(min_length=1, max_length=100)]
Approver = Annotated[PlainText, Field(min_length=1, max_length=200)]
Note = Annotated[PlainText, Field(max_length=1000)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_these_years)]


class NewTarget(Contract):
    """Something to scan, one per (kind, value) of a team; it has to lie in a scope."""

    kind: TargetKind
    value: Value = Field(
        description="host: a name or an address, with or without a port. cidr: at most a /24 or "
        "/120. url: http or https. image: a reference. repository: an absolute path on the "
        "workers. cluster: its name.",
        examples=["www.example.com:443"],
    )
    tags: Tags = Field(default_factory=dict)
    enabled: bool = True


class TargetChange(Contract):
    """What may change on a target; another value is another target."""

    tags: Tags | None = None
    enabled: bool | None = None


class ScopeRef(Contract):
    """Names a scope."""

    id: UUID
    name: str


class Target(Contract):
    """A target as the API shows it; `value` is in its canonical form."""

    id: UUID
    team_id: UUID
    kind: TargetKind
    value: str
    tags: dict[str, str]
    enabled: bool
    scope: ScopeRef | None = Field(
        None,
        description="The scope that it lies in by its value alone, before its addresses are looked "
        "up; null when none allows it any more.",
    )
    created_at: datetime
    updated_at: datetime


class ScopeEntry(Contract):
    """One thing that a scope allows to scan."""

    kind: ScopeKind
    value: Value = Field(
        description="cidr: a network. domain: a name. image: a registry, or the beginning of image "
        "names in it up to a slash. path: an absolute directory. cluster: a name.",
        examples=["203.0.113.0/24"],
    )
    subdomains: bool = Field(
        False, description="Only for a domain: also every name below it, at any depth."
    )


Entries = Annotated[list[ScopeEntry], Field(min_length=1, max_length=100)]


class NewScope(Contract):
    """An approval: what the team may scan, who said so, and until when."""

    name: ScopeName
    allows: Entries
    approved_by: Approver | None = Field(
        None, description="Who approved it; the name of the key that creates it when left out."
    )
    note: Note = ""
    valid_until: Moment | None = Field(None, description="Null: until it is changed or deleted.")


class ScopeChange(Contract):
    """What may change on a scope; null clears `valid_until`, a time that has passed ends it."""

    name: ScopeName | None = None
    allows: Entries | None = None
    approved_by: Approver | None = None
    note: Note | None = None
    valid_until: Moment | None = None


class Scope(Contract):
    """A scope as the API shows it; its entries are in their canonical form."""

    id: UUID
    team_id: UUID
    name: str
    allows: list[ScopeEntry]
    approved_by: str
    note: str
    valid_until: datetime | None
    created_by: str = Field(description="The key that created it.")
    created_at: datetime
    updated_at: datetime

    def ref(self) -> ScopeRef:
        """Its name for those who look it up."""
        return ScopeRef(id=self.id, name=self.name)

    def is_valid(self, at: datetime) -> bool:
        """True until its time has come."""
        return self.valid_until is None or at < self.valid_until


class PinnedTarget(Contract):
    """A target whose every address was checked: only these may be connected to.

    Checked again at execution and at each retry, since scopes end and names move.
    """

    target_id: UUID
    team_id: UUID
    kind: TargetKind
    value: str
    name: str | None = Field(None, description="The host name that was looked up, if there is one.")
    port: int | None = None
    addresses: list[str] = Field(
        default_factory=list,
        description="Every address of the name, the address itself, or the one network of a cidr; "
        "none of a path or a cluster.",
    )
    closed_ports: list[int] = Field(
        default_factory=list,
        description="Ports of our own servers on loopback, to be left out; else their addresses "
        "are refused.",
    )
    path: str | None = Field(None, description="Of a repository, with symbolic links followed.")
    scope: ScopeRef
    pinned_at: datetime


class TargetCheck(Contract):
    """Whether a target may be scanned now: by which scope and where, or which rule refuses it."""

    ok: bool
    kind: TargetKind
    value: str
    scope: ScopeRef | None = None
    addresses: list[str] = Field(default_factory=list, description="Every one was checked.")
    closed_ports: list[int] = Field(default_factory=list)
    path: str | None = None
    rule: TargetRule | None = None
    error: str | None = None
    fix: str | None = None
