"""A store with something old in it, and cycles of retention at any time."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.retention import RetentionActivities
from contracts.retention import Hold, NewHold, RetentionStep
from contracts.vocabulary import RetentionKind
from storage.database import Database
from storage.retention import retention, retention_holds, retention_policies
from tests.storage.lab import Lab, make_lab


@dataclass
class Keeper:
    """A team whose rows are kept for a time."""

    lab: Lab
    archive: Path | None = None

    @property
    def now(self) -> datetime:
        """Where the lab's clock stands."""
        return self.lab.clock.now

    def pass_days(self, days: float) -> None:
        """Let real days pass."""
        self.lab.clock.now += timedelta(days=days)

    async def cycle(
        self, *, at: datetime | None = None, limit: int = 100, cycle: UUID | None = None
    ) -> dict[str, int]:
        """What one cycle deletes of the team, by kind."""
        step = RetentionStep(
            cycle=cycle or uuid4(), team_id=self.lab.team_id, at=at or self.now, limit=limit
        )
        activities = RetentionActivities(self.lab.database, self.archive)
        done = await ActivityEnvironment().run(activities.delete_old, step)
        return dict(done.counts)

    async def preview(
        self, at: datetime | None = None, **proposed: int | None
    ) -> dict[str, tuple[int, int, int]]:
        """(deletes, held, needed) of each kind that has any old row."""
        days = {RetentionKind(kind): number for kind, number in proposed.items()}
        async with self.lab.database.transaction() as session:
            shown = await retention.preview(session, self.lab.team_id, days, at=at or self.now)
        counts = {each.kind.value: (each.deletes, each.held, each.needed) for each in shown.kinds}
        return {kind: numbers for kind, numbers in counts.items() if any(numbers)}

    async def keep(self, **days: int | None) -> None:
        """Change policies of the team."""
        async with self.lab.database.transaction() as session:
            for kind, number in days.items():
                await retention_policies.save_policy(
                    session, self.lab.team_id, RetentionKind(kind), number, who="alice", at=self.now
                )

    async def hold(self, **fields: Any) -> Hold:
        """A person holds rows back."""
        new = NewHold(**{"name": f"hold {uuid4()}", "reason": "The court asked.", **fields})
        async with self.lab.database.transaction() as session:
            return await retention_holds.create_hold(
                session, self.lab.team_id, new, who="alice", at=self.now
            )

    async def lift(self, hold: Hold) -> None:
        """A person lifts a hold."""
        async with self.lab.database.transaction() as session:
            await retention_holds.lift_hold(
                session, self.lab.team_id, hold.id, who="bob", at=self.now
            )

    def files(self) -> list[Path]:
        """Every file of the archive."""
        assert self.archive is not None
        return sorted(path for path in self.archive.rglob("*") if path.is_file())

    def archived(self) -> dict[str, list[dict[str, Any]]]:
        """Every archived row, by its table."""
        found: dict[str, list[dict[str, Any]]] = {}
        for path in self.files():
            for line in gzip.decompress(path.read_bytes()).decode().splitlines():
                document = json.loads(line)
                found.setdefault(document["table"], []).append(document["row"])
        return found

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, as JSON."""
        found = await self.lab.sql(f"SELECT to_jsonb({table}) FROM {table}")  # noqa: S608
        return [row for (row,) in found]

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        ((number,),) = await self.lab.sql(f"SELECT count(*) FROM {table}")  # noqa: S608
        return int(number)

    async def beside(self) -> Keeper:
        """The same of another account of the team, with the same clock."""
        other = await make_lab(self.lab.database, self.lab.team_id)
        return replace(self, lab=replace(other, clock=self.lab.clock))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def keeper(database: Database) -> Keeper:
    """A team with an account, and the default policies."""
    return Keeper(await make_lab(database))


@pytest.fixture
def archiving(keeper: Keeper, tmp_path: Path) -> Keeper:
    """The same, with an archive."""
    keeper.archive = tmp_path / "archive"
    keeper.archive.mkdir()
    return keeper


def utc(*parts: int) -> datetime:
    """A moment in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]
