"""While a cycle deletes, everybody else goes on; what they say meanwhile is heard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from contracts.errors import Conflict, DatabaseUnavailable
from contracts.vocabulary import RunOutcome
from storage import accounts
from storage.retention import archive
from storage.retention.retention_locks import lock_merge
from tests.retention.conftest import Keeper
from tests.retention.test_scans_and_runs import a_run, thing
from tests.storage.lab import PASS, make_lab, observed, places
from tests.storage.vulnerability_lab import sync
from tests.support.waiting import until

BUCKETS = places([observed()])


async def fill(keeper: Keeper, number: int = 6) -> None:
    """Findings that are old."""
    await keeper.lab.scan([observed(f"r{n}") for n in range(number)])
    await keeper.lab.scan([], BUCKETS)
    await keeper.keep(scans=None)
    keeper.pass_days(500)


class Gate:
    """Where a batch stands still in the middle of its transaction."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()


@contextmanager
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """The first batch that is archived waits until it is let go."""
    gate, write = Gate(), archive.write

    def waiting(*arguments: Any, **more: Any) -> Any:
        gate.reached.set()
        assert gate.opened.wait(120)
        return write(*arguments, **more)

    monkeypatch.setattr(archive, "write", waiting)
    try:
        yield gate
    finally:
        gate.opened.set()


async def waits(keeper: Keeper) -> bool:
    """Whether anybody waits for a lock that is ours to give."""
    ((number,),) = await keeper.lab.sql(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    return bool(number)


async def test_reads_and_merges_go_on_while_a_batch_is_open(
    archiving: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(archiving)
    other = await archiving.beside()
    with stopping(monkeypatch) as gate:
        cycle = asyncio.create_task(archiving.cycle())
        await until(gate.reached.is_set)
        assert len(await archiving.lab.list(state=["resolved"])) == 6
        assert (await other.lab.scan([observed("fresh")])).new == 1
        await sync(other.lab)
        scan_id = await archiving.lab.begin("shard")
        await archiving.lab.stage(scan_id, [observed("r0"), observed("new")])
        merge = asyncio.create_task(archiving.lab.merge(scan_id))
        await until(lambda: waits(archiving))  # of the same account, for this one batch
    done, counts = await asyncio.gather(cycle, merge)
    assert done["resolved_findings"] == 6
    await archiving.lab.end(scan_id)
    shown = await archiving.lab.list(state=["open"], account_id=[archiving.lab.account_id])
    assert sorted(each.resource.name for each in shown) == ["new", "r0"]
    assert counts.new == 2


async def test_what_a_merge_needs_is_not_waited_for_for_long_and_stops_no_other_kind(
    keeper: Keeper,
) -> None:
    await fill(keeper)
    for _ in range(2):
        await a_run(keeper, RunOutcome.COMPLETED)
    keeper.pass_days(500)
    async with keeper.lab.database.transaction() as session:
        await lock_merge(session, keeper.lab.account_id)
        with pytest.raises(DatabaseUnavailable, match="others hold what is needed"):
            await keeper.cycle()
    assert (await keeper.count("job_run"), await keeper.count("finding")) == (1, 6)
    assert (await keeper.cycle())["resolved_findings"] == 6


async def test_a_hold_is_answered_when_no_batch_is_left_that_has_not_seen_it(
    archiving: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(archiving)
    with stopping(monkeypatch) as gate:
        cycle = asyncio.create_task(archiving.cycle(limit=2))
        await until(gate.reached.is_set)
        holding = asyncio.create_task(archiving.hold(kinds=["resolved_findings"]))
        await until(lambda: waits(archiving))
    await holding
    left = await archiving.count("finding")
    await cycle
    assert await archiving.count("finding") == left > 0
    assert await archiving.cycle() == {}


async def test_what_a_person_wants_kept_from_now_on_is_kept_from_now_on(
    archiving: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(archiving)
    with stopping(monkeypatch) as gate:
        cycle = asyncio.create_task(archiving.cycle(limit=2))
        await until(gate.reached.is_set)
        saving = asyncio.create_task(archiving.keep(resolved_findings=None))
        await until(lambda: waits(archiving))
    await saving
    left = await archiving.count("finding")
    await cycle
    assert await archiving.count("finding") == left > 0


async def test_scans_that_somebody_holds_are_left_to_the_next_cycle(keeper: Keeper) -> None:
    for _ in range(4):
        await keeper.lab.scan([observed()])
    keeper.pass_days(500)
    async with keeper.lab.database.transaction() as session:
        await session.execute(text("SELECT FROM scan ORDER BY id LIMIT 1 FOR UPDATE"))
        assert await keeper.cycle() == {"scans": 2}
    assert await keeper.cycle() == {"scans": 1}


async def test_two_cycles_at_once_delete_each_row_once(keeper: Keeper) -> None:
    await fill(keeper, 20)
    both = await asyncio.gather(keeper.cycle(limit=3), keeper.cycle(limit=3))
    assert sum(each.get("resolved_findings", 0) for each in both) == 20


async def test_a_second_cycle_deletes_and_writes_nothing(keeper: Keeper) -> None:
    await fill(keeper)
    await keeper.lab.discover([thing("one")], ["bucket"])
    await keeper.cycle()
    tables = ("retention_tally", "finding", "finding_event", "finding_count", "scan", "resource")
    query = " UNION ALL ".join(
        f"SELECT '{table}', ctid::text, xmin::text FROM {table}"  # noqa: S608
        for table in tables
    )
    before = sorted(await keeper.lab.sql(query))
    assert await keeper.cycle() == {}
    assert sorted(await keeper.lab.sql(query)) == before


async def test_other_teams_go_by_their_own_policies(keeper: Keeper) -> None:
    await fill(keeper)
    stranger = Keeper(await make_lab(keeper.lab.database))
    await fill(stranger)
    await keeper.keep(resolved_findings=10)
    await keeper.hold(kinds=["resolved_findings", "events"])
    await stranger.keep(resolved_findings=None)
    assert (await keeper.preview())["resolved_findings"] == (0, 6, 0)
    assert "resolved_findings" not in await stranger.preview()
    await stranger.keep(resolved_findings=20)
    assert (await stranger.cycle())["resolved_findings"] == 6
    assert "resolved_findings" not in await keeper.cycle()
    assert await keeper.count("finding") == 6


async def test_an_account_of_which_rows_are_held_cannot_be_deleted(keeper: Keeper) -> None:
    await keeper.lab.scan([observed(status=PASS)])

    async def delete() -> None:
        async with keeper.lab.database.transaction() as session:
            await accounts.delete_account(session, keeper.lab.team_id, keeper.lab.account_id)

    hold = await keeper.hold(name="case 4711", severity=["critical"])
    with pytest.raises(Conflict, match="case 4711"):
        await delete()
    await keeper.lift(hold)
    await keeper.hold(job="sla_check")
    await keeper.hold(kinds=["runs"])
    await keeper.hold(account_id=(await keeper.beside()).lab.account_id)
    await delete()
    assert await keeper.count("finding") == 0
