"""`cloudsweep health`: what is up, what was repaired, and an exit code that scripts can use."""

from __future__ import annotations

from contracts.consistency import RepairKind
from storage.database import Database
from storage.watchdog import repairs
from tests.api.conftest import Team
from tests.api.scripted import Script
from tests.api.test_consistency import repaired
from tests.cli.conftest import InProcess, run


async def test_a_healthy_installation_is_said_to_be_so(
    script: Script, in_process: InProcess
) -> None:
    shown = await in_process("health")
    assert shown.code == 0, shown.err
    assert "postgresql" in shown.out
    assert "Watchdog" in shown.out
    assert "Nothing had to be repaired." in shown.err


async def test_repairs_are_listed_and_what_was_given_up_makes_it_fail(
    script: Script, in_process: InProcess, team: Team, database: Database
) -> None:
    subject = await repaired(database, team.id)
    shown = await in_process("health")
    assert shown.code == 0
    assert subject in shown.out

    given_up = await repaired(
        database, team.id, RepairKind.SCAN_STUCK, attempts=repairs.ATTEMPTS, error="No worker."
    )
    shown = await in_process("health")
    assert shown.code == 1
    line = next(line for line in shown.out.splitlines() if given_up in line)
    assert "given up until tomorrow" in line
    assert "No worker." in line
    document = (await in_process("health --json")).json
    assert document["readiness"]["status"] == "ready"
    assert document["consistency"]["given_up"][0]["subject"] == given_up


async def test_without_workers_it_says_what_to_start(in_process: InProcess) -> None:
    shown = await in_process("health")
    assert shown.code == 1
    assert "worker.py" in shown.out


async def test_without_a_server_it_ends_with_3() -> None:
    environment = {"CLOUDSWEEP_API_URL": "http://127.0.0.1:9", "CLOUDSWEEP_API_KEY": "csk_x"}
    shown = await run("health", **environment)
    assert shown.code == 3
    assert "cannot be reached" in shown.err
