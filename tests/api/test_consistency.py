"""What the watchdog did, as each team may see it, over HTTP and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text

from contracts.consistency import Fault, RepairKind
from contracts.vocabulary import Role
from storage.database import Database
from storage.schedules import schedules
from storage.watchdog import repairs
from tests.api.conftest import Caller, Team

NOW = datetime.now(UTC)


async def repaired(
    database: Database,
    team_id: UUID,
    kind: RepairKind = RepairKind.SCAN_LOST,
    *,
    attempts: int = 1,
    error: str | None = None,
    settled: bool = False,
) -> str:
    """A repair of the team, recorded as the watchdog records it: its subject."""
    subject = f"scan/{uuid4()}"
    fault = Fault(subject=subject, team_id=team_id, words="It was lost. Ended it.")
    async with database.transaction() as session:
        for _ in range(attempts):
            assert await repairs.note_attempt(session, kind, fault, at=datetime.now(UTC))
        if error:
            await repairs.note_error(session, kind, subject, error)
        if settled:
            await repairs.settle(session, kind, besides=[], among=[subject], at=datetime.now(UTC))
    return subject


async def ran(database: Database, started: datetime, ended: datetime) -> None:
    """A run of the watchdog that completed."""
    async with database.transaction() as session:
        await session.execute(
            text("""
                INSERT INTO job_run (id, team_id, job, params, trigger, nominal_at, overlap,
                    overlap_key, outcome, queued_at, started_at, ended_at)
                VALUES (uuidv7(), :team_id, 'data_sync_watchdog', '{}', 'schedule', :started,
                    'skip', 'x', 'completed', :started, :started, :ended)
            """),
            {
                "team_id": await schedules.installation(session),
                "started": started,
                "ended": ended,
            },
        )


async def test_a_team_sees_its_own_repairs_the_last_run_and_what_is_given_up(
    viewer: httpx.AsyncClient, call: Caller, team: Team, stranger: Team, database: Database
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    settled = await repaired(database, team.id, settled=True)
    failed = await repaired(
        database, team.id, RepairKind.COUNTS_WRONG, attempts=repairs.ATTEMPTS, error="It broke."
    )
    await repaired(database, stranger.id)
    await ran(database, before, datetime.now(UTC))

    shown = (await viewer.get("health/consistency")).json()

    run = shown["last_run"]
    assert run["outcome"] == "completed"
    assert run["counts"] == {"counts_wrong": 1, "scan_lost": 1}
    assert [each["subject"] for each in shown["repairs"]] == [failed, settled]
    assert shown["repairs"][1]["settled_at"] is not None
    (given_up,) = shown["given_up"]
    assert (given_up["subject"], given_up["error"]) == (failed, "It broke.")
    until = datetime.fromisoformat(given_up["given_up_until"])
    assert until == datetime.fromisoformat(given_up["first_at"]) + timedelta(days=1)
    theirs = (await call(stranger.keys[Role.VIEWER]).get("health/consistency")).json()
    assert theirs["last_run"]["counts"] == {"scan_lost": 1}
    assert len(theirs["repairs"]) == 1
    assert theirs["given_up"] == []


async def test_nobody_sees_it_without_a_key(anonymous: httpx.AsyncClient) -> None:
    for path in ("health/consistency", "http://api/health/consistency"):
        assert (await anonymous.get(path)).status_code == 401
