"""Service levels: within how many days a vulnerability has to be gone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.base import Contract
from contracts.vocabulary import NoticeKind, Severity

Days = Annotated[int, Field(ge=1, le=3650)]


class SlaDays(Contract):
    """Days from the first detection, per severity; null is never due, so never a breach."""

    critical: Days | None = 7
    high: Days | None = 30
    medium: Days | None = 90
    low: Days | None = 120
    informational: Days | None = None


class SlaPolicy(Contract):
    """A team's policy."""

    days: SlaDays = SlaDays()
    restart_on_reopen: bool = Field(
        True,
        description="Whether the days count anew when a vulnerability is reopened. If not, they go "
        "on from its first detection, without the time for which its risk was accepted.",
    )


class Notice(Contract):
    """Something that a person should hear of once."""

    id: int
    vulnerability_id: UUID
    kind: NoticeKind
    due_at: datetime = Field(description="The due date it is about, or the end of the acceptance.")
    at: datetime
    title: str
    severity: Severity
    resource_uid: str
    owner: str | None


class SlaStep(Contract):
    """One bounded step of an SLA check, as of this time."""

    at: datetime
    limit: int


class SlaDone(Contract):
    """What a step did, by kind of notice; fewer than its limit in all: nothing is left."""

    counts: dict[str, int]


class SlaCheckRequest(Contract):
    """Check due dates and acceptances; the counts carry on from the histories before."""

    counts: dict[str, int] = Field(default_factory=dict)


class DueDatesPlace(Contract):
    """Up to which vulnerability due dates were compared, in the order of their severity and id."""

    team_id: UUID
    severity: Severity = Severity.INFORMATIONAL
    id: UUID = UUID(int=0)


class DueDatesRequest(Contract):
    """Give vulnerabilities the due dates of their team's policy: of one team, or of all.

    The rest carries on from the histories before.
    """

    team_id: UUID | None = None
    after: DueDatesPlace | None = None
    changed: int = 0


class DueDatesStep(Contract):
    """One bounded step of that."""

    team_id: UUID | None
    after: DueDatesPlace | None
    limit: int


class DueDatesDone(Contract):
    """How many due dates a step changed, and where the next one begins; None: nothing is left."""

    changed: int
    after: DueDatesPlace | None
