"""How repairs are tried: bounded, each on its own, recorded first, given up after some tries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from temporalio import activity

from activities.failures import safe_words
from contracts.consistency import Fault, RepairKind
from contracts.errors import DatabaseUnavailable
from contracts.runs import JobSummary
from storage.database import Database
from storage.watchdog import repairs

MENDED_AT_ONCE: Final = 500
"""Repairs of one kind in one cycle; the next one goes on."""

FOUND_AT_ONCE: Final = 2_000
"""Faults of one kind that a cycle looks at: those that were given up are among them."""

NOTES: Final = 20

SubjectT = TypeVar("SubjectT")


class Found(NamedTuple, Generic[SubjectT]):
    """A fault, and what its repair works on."""

    fault: Fault
    subject: SubjectT


class Mending:
    """One cycle's repairs, and what came of them."""

    def __init__(self, database: Database, at: datetime) -> None:
        self._database = database
        self.at = at
        self._counts: Counter[str] = Counter()
        self._notes: list[str] = []

    async def mend(
        self,
        kind: RepairKind,
        found: Iterable[Found[SubjectT]],
        repair: Callable[[SubjectT], Awaitable[None]],
        *,
        among: Collection[str] | None = None,
    ) -> None:
        """Try to repair what was found; a repair that fails does not keep the others from it.

        `among`: the subjects that were looked at, if that were not all.
        """
        faults = list(found)
        self._counts[kind] += 0
        if len(faults) < FOUND_AT_ONCE:  # else there may be more, which are not settled
            async with self._database.transaction() as session:
                subjects = {each.fault.subject for each in faults}
                await repairs.settle(session, kind, besides=subjects, among=among, at=self.at)
        tried = 0
        for fault, subject in faults:
            if tried == MENDED_AT_ONCE:
                return
            # Recorded first: a repair that kills this process counts as a try.
            async with self._database.transaction() as session:
                may_try = await repairs.note_attempt(session, kind, fault, at=self.at)
            if not may_try:
                self._give_up(kind, fault)
                continue
            tried += 1
            try:
                await repair(subject)
            except DatabaseUnavailable:
                raise
            except Exception as error:
                activity.logger.warning("%s of %s cannot be mended: %s", kind, fault.subject, error)
                self._counts["failed"] += 1
                async with self._database.transaction() as session:
                    words = safe_words(error).message
                    await repairs.note_error(session, kind, fault.subject, words)
            else:
                self._counts[kind] += 1

    def _give_up(self, kind: RepairKind, fault: Fault) -> None:
        self._counts["given_up"] += 1
        if len(self._notes) < NOTES:
            self._notes.append(
                f"Given up until tomorrow after {repairs.ATTEMPTS} tries: {kind} of "
                f"{fault.subject}. {fault.words}"
            )

    def summary(self) -> JobSummary:
        """Repairs by kind, those that failed, and what was given up."""
        return JobSummary(counts=dict(self._counts), notes=self._notes)
