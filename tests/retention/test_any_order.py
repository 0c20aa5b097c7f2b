"""Whatever happened before, a cycle breaks nothing of what should live on."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from contracts.errors import Conflict
from storage.findings import findings
from storage.watchdog import vulnerability_drift
from storage.watchdog.count_drift import counts_lack, totals_lack
from tests.retention.conftest import Keeper
from tests.storage.lab import FAIL, PASS, observed, places
from tests.storage.vulnerability_lab import (
    accept,
    add_rule,
    decide,
    listed,
    remove_rule,
    sync,
    versions,
)

CHECKS = ("s3_public", "iam_mfa")
EVERYWHERE = places([observed(check_id=check) for check in CHECKS])


async def step(keeper: Keeper, by: random.Random, rules: list[Any]) -> None:
    """Something that happens to an account."""
    match by.choice(["scan", "scan", "scan", "sync", "decide", "rule", "days", "days"]):
        case "scan":
            rows = [
                observed(f"r{n}", by.choice([PASS, FAIL]), check, detail=by.choice("ab"))
                for check in CHECKS
                for n in range(4)
                if by.random() < 0.6
            ]
            await keeper.lab.scan(rows, EVERYWHERE)
        case "sync":
            await sync(keeper.lab)
        case "decide":
            for each in (await listed(keeper.lab))[:2]:
                with suppress(Conflict):
                    match by.choice(["accept", "comment", "reopen", "assign"]):
                        case "accept":
                            await accept(keeper.lab, each.id, days=1000)
                        case "comment":
                            await decide(keeper.lab, each.id, "comment", comment="So.")
                        case "reopen":
                            await decide(keeper.lab, each.id, "reopen")
                        case "assign":
                            await decide(keeper.lab, each.id, "assign", owner="ops")
        case "rule" if rules:
            await remove_rule(keeper.lab, rules.pop())
        case "rule":
            rules.append(await add_rule(keeper.lab, resource=f"r{by.randrange(4)}"))
        case _:
            keeper.pass_days(by.randrange(5, 60))


async def openings(keeper: Keeper) -> dict[str, Any]:
    """How each finding began, as its history tells."""
    rows = await keeper.lab.sql("SELECT id FROM finding")
    async with keeper.lab.database.transaction() as session:
        shown = [await findings.get_finding(session, keeper.lab.team_id, row[0]) for row in rows]
    return {str(each.id): each.history[0] for each in shown}


async def decisions(keeper: Keeper) -> list[dict[str, Any]]:
    """Everything that a person decided."""
    return [row for row in await keeper.rows("vulnerability_event") if row["who"] == "alice"]


@pytest.mark.parametrize("seed", range(2))
async def test_any_sequence_of_events_survives_cycles(keeper: Keeper, seed: int) -> None:
    by = random.Random(seed)  # noqa: S311 (the same in each run)
    rules: list[Any] = []
    deleted: dict[str, int] = {}
    await keeper.keep(events=30, resolved_findings=10, scans=20)
    for _ in range(6):
        for _ in range(10):
            await step(keeper, by, rules)
        await sync(keeper.lab, full=True)
        living = [row for row in await keeper.rows("finding") if row["state"] != "resolved"]
        began, decided = await openings(keeper), await decisions(keeper)
        shown = await keeper.preview()

        did = await keeper.cycle(limit=3)

        assert did == {kind: numbers[0] for kind, numbers in shown.items() if numbers[0]}
        left = await keeper.rows("finding")
        assert [row for row in left if row["state"] != "resolved"] == living
        assert (await openings(keeper)).items() <= began.items()
        assert await decisions(keeper) == decided
        async with keeper.lab.database.transaction() as session:
            assert await counts_lack(session, keeper.lab.account_id) == 0
            assert await totals_lack(session, keeper.lab.team_id) == 0
            at, account_id = keeper.lab.clock.now, keeper.lab.account_id
            assert await vulnerability_drift.disagreement(session, account_id, at=at) is None
        before = await versions(keeper.lab)
        await sync(keeper.lab, full=True)
        after = await versions(keeper.lab)
        assert {**after, "vulnerability_cursor": []} == {**before, "vulnerability_cursor": []}
        assert await keeper.cycle() == {}
        for kind, number in did.items():
            deleted[kind] = deleted.get(kind, 0) + number
    assert set(deleted) == {"events", "resolved_findings", "scans"}
