"""Service levels: within how many days a vulnerability has to be gone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.base import Contract

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
