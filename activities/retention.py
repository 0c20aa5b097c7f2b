"""The steps of a retention cycle."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from temporalio import activity

from activities.progress import heartbeating
from contracts.retention import RetentionDone, RetentionPage, RetentionStep, RetentionTeams
from contracts.vocabulary import RetentionKind
from storage.database import Database
from storage.retention import archive, retention, retention_policies
from storage.retention.retention_rules import SOURCES, Source


class RetentionActivities:
    """A batch that was deleted is not found again, so that repeating a step changes nothing."""

    def __init__(self, database: Database, archive_directory: Path | None) -> None:
        self._database = database
        self._archive = archive_directory

    @activity.defn
    async def list_teams(self, page: RetentionPage) -> RetentionTeams:
        """Whose rows to look at."""
        async with self._database.transaction() as session:
            found = await retention_policies.teams_after(session, page.after, limit=page.limit)
        return RetentionTeams(team_ids=found)

    @activity.defn
    async def delete_old(self, step: RetentionStep) -> RetentionDone:
        """Delete, kind by kind, what a team need not keep; a kind that fails stops no other."""
        failure: Exception | None = None
        async with heartbeating():
            if self._archive is not None:
                await asyncio.to_thread(archive.check, self._archive)
            for source in SOURCES:
                try:
                    await self._delete(source, step)
                except Exception as error:
                    activity.logger.warning("%s cannot be deleted: %s", source.counted, error)
                    failure = failure or error
            if failure is not None:
                raise failure
            async with self._database.transaction() as session:
                days = await retention_policies.keep_days(session, step.team_id)
                runs = days[RetentionKind.RUNS]
                if runs is not None:
                    before = step.at - timedelta(days=runs)
                    await retention_policies.forget_old(session, step.team_id, before=before)
                return RetentionDone(
                    team=await retention_policies.team_name(session, step.team_id),
                    counts=await retention_policies.deleted_by(session, step.team_id, step.cycle),
                )

    async def _delete(self, source: Source, step: RetentionStep) -> None:
        async with self._database.transaction() as session:
            accounts = await retention.split(session, source, step.team_id, at=step.at)
        for account_id in accounts:
            after: retention.Cursor | None = retention.START
            while after is not None:
                after = await self._delete_batch(source, step, account_id, after)
            async with self._database.transaction() as session:
                await retention.finish(session, source, step.team_id, account_id)

    async def _delete_batch(
        self, source: Source, step: RetentionStep, account_id: UUID | None, after: retention.Cursor
    ) -> retention.Cursor | None:
        """One transaction: choose, archive, delete, count. None: nothing was left."""
        async with self._database.transaction() as session:
            batch = await retention.take(
                session, source, step.team_id, account_id,
                after=after, limit=step.limit, at=step.at,
            )  # fmt: skip
            if batch is None:
                return None
            if not batch:
                return batch.after
            if self._archive is not None:
                lines = await retention.lines(session, batch)
                await asyncio.to_thread(
                    archive.write, self._archive, step.team_id, source.kind, lines,
                    first=batch.first, last=batch.last,
                )  # fmt: skip
            await retention.delete(session, batch, cycle=step.cycle, at=step.at)
            return batch.after
