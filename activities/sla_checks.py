"""The steps of an SLA check, and of giving vulnerabilities the due dates of a new policy."""

from __future__ import annotations

from temporalio import activity

from activities.progress import heartbeating
from contracts.sla import DueDatesDone, DueDatesStep, SlaDone, SlaStep
from storage.database import Database
from storage.findings import mute_rules
from storage.vulnerabilities import sla_checks


class SlaActivities:
    """What is noticed once is not noticed again, so that repeating a step changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def check_sla(self, step: SlaStep) -> SlaDone:
        """Expire acceptances and mute rules, and notice what is due or soon will be."""
        async with heartbeating(), self._database.transaction() as session:
            await mute_rules.end_expired_rules(session, at=step.at)
            return SlaDone(
                counts=await sla_checks.check_step(session, at=step.at, limit=step.limit)
            )

    @activity.defn
    async def redate(self, step: DueDatesStep) -> DueDatesDone:
        """Give some vulnerabilities the due dates that their team's policy says now."""
        async with heartbeating(), self._database.transaction() as session:
            return await sla_checks.redate_step(session, step)
