"""Scans: made once, one running for each account, their shards and how they end."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from contracts.accounts import AccountChange
from contracts.errors import Conflict, NotFound
from contracts.scans import (
    Coverage,
    NewScan,
    Problem,
    Scan,
    ScanEnd,
    ScanError,
    ScanTask,
    ScanTrigger,
)
from contracts.vocabulary import ErrorClass, ScanStatus, TaskKind, TaskStatus, TriggerKind
from storage import accounts
from storage.database import Database
from storage.scans import scan_resume, scan_state, scans
from storage.statistics import store_statistics
from tests.storage.lab import Lab, at_once, make_lab, observed

LOST = ScanError(code="scanner_crashed", message="It died.", fix="Look at its log.")


async def create(lab: Lab, key: str | None = None, **options: object) -> tuple[Scan, bool]:
    """A scan of the lab's account."""
    wanted = NewScan.model_validate({"account_id": lab.account_id, **options})
    async with lab.database.transaction() as session:
        return await scans.create_scan(
            session, lab.team_id, wanted, trigger=ScanTrigger(), idempotency_key=key, at=lab.clock()
        )


async def read(lab: Lab, scan_id: UUID) -> Scan:
    """The scan as people see it."""
    async with lab.database.transaction() as session:
        return await scans.get_scan(session, lab.team_id, scan_id)


async def tasks(lab: Lab, scan_id: UUID) -> list[ScanTask]:
    """All its shards, in pages of two."""
    found: list[ScanTask] = []
    cursor = None
    while True:
        async with lab.database.transaction() as session:
            page = await scans.list_tasks(session, lab.team_id, scan_id, limit=2, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def end(lab: Lab, scan_id: UUID, outcome: ScanStatus | None = None) -> ScanStatus:
    """End a scan; returns as what."""
    async with lab.database.transaction() as session:
        summary = await scan_state.end_scan(
            session, ScanEnd(scan_id=scan_id, outcome=outcome), at=lab.clock()
        )
    return summary.status


async def fail(lab: Lab, scan_id: UUID, key: str, status: TaskStatus = TaskStatus.FAILED) -> None:
    """Record that a shard failed."""
    async with lab.database.transaction() as session:
        await scan_state.fail_task(session, scan_id, key, status=status, error=LOST, at=lab.clock())


async def test_the_same_key_and_body_give_the_same_scan(lab: Lab) -> None:
    made = await at_once(*(create(lab, "key", services=["s3"]) for _ in range(4)))
    assert len({scan.id for scan, _ in made}) == 1
    assert sorted(is_new for _, is_new in made) == [False, False, False, True]
    with pytest.raises(Conflict, match=str(made[0][0].id)):
        await create(lab, "key", services=["iam"])
    assert (await create(lab))[0].id != (await create(lab))[0].id
    other = await make_lab(lab.database)
    assert (await create(other, "key", services=["s3"]))[1]


async def test_a_disabled_or_unknown_account_is_not_scanned(lab: Lab) -> None:
    first, _ = await create(lab, "key")
    async with lab.database.transaction() as session:
        await accounts.change_account(
            session, lab.team_id, lab.account_id, AccountChange(enabled=False), at=lab.clock()
        )
    with pytest.raises(Conflict, match="disabled"):
        await create(lab)
    assert (await create(lab, "key"))[0].id == first.id
    with pytest.raises(NotFound):
        await create(lab, account_id=uuid4())


async def test_a_new_scan_is_pending_and_says_what_it_is(lab: Lab) -> None:
    scan, _ = await create(lab, regions=["eu-west-1"], discovery=False)
    assert (scan.status, scan.progress, scan.counts.tasks.total) == (ScanStatus.PENDING, 0, 0)
    assert scan.options.regions == ["eu-west-1"]
    assert not scan.options.discovery
    assert scan.workflow_id == f"scan/{scan.id}"
    assert (scan.queue_seconds, scan.duration_seconds, scan.temporal_url) == (None, None, None)
    async with lab.database.transaction() as session:
        await scan_state.set_waiting(session, scan.id, "No worker.")
        record = await scan_state.load_scan(session, scan.id)
    assert (await read(lab, scan.id)).waiting_for == "No worker."
    assert record.options == scan.options


async def test_of_two_claims_at_once_one_gets_the_account(lab: Lab) -> None:
    made = [(await create(lab))[0].id for _ in range(4)]

    async def claim(scan_id: UUID) -> UUID | None:
        async with lab.database.transaction() as session:
            return await scan_state.claim_account(session, scan_id, at=lab.clock())

    holders = await at_once(*(claim(scan_id) for scan_id in made))
    assert holders.count(None) == 1
    winner = made[holders.index(None)]
    assert set(holders) == {None, winner}
    running = await read(lab, winner)
    assert await claim(winner) is None
    again = await read(lab, winner)
    assert (again.status, again.started_at) == (ScanStatus.RUNNING, running.started_at)
    other = await make_lab(lab.database, lab.team_id)
    assert await claim((await create(other))[0].id) is None
    async with lab.database.transaction() as session:
        summary = await scan_state.end_scan(session, ScanEnd(scan_id=winner), at=lab.clock())
    assert summary.next_scan_id == min(scan_id for scan_id in made if scan_id != winner)
    assert await claim(made[holders.index(winner)]) is None


@pytest.mark.parametrize("outcome", [each for each in ScanStatus if each.ended])
async def test_a_claim_that_comes_after_the_end_starts_nothing(
    lab: Lab, outcome: ScanStatus
) -> None:
    scan, _ = await create(lab)
    await end(lab, scan.id, outcome)
    ended = await read(lab, scan.id)
    holder = await lab.begin("shard")  # whether the account is free or not
    for _ in range(2):
        with pytest.raises(Conflict, match="ended"):
            async with lab.database.transaction() as session:
                await scan_state.claim_account(session, scan.id, at=lab.clock())
        assert await read(lab, scan.id) == ended
        await end(lab, holder)
    async with lab.database.transaction() as session:
        await scan_resume.reopen_scan(session, lab.team_id, scan.id, at=lab.clock())
        assert await scan_state.claim_account(session, scan.id, at=lab.clock()) is None
    assert (await read(lab, scan.id)).status is ScanStatus.RUNNING


async def test_a_paused_scan_keeps_its_account_and_its_pause(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    async with lab.database.transaction() as session:
        await scan_state.pause_scan(session, scan_id, True, at=lab.clock())
        assert await scan_state.claim_account(session, scan_id, at=lab.clock()) is None
        rival, _ = await create(lab)
        assert await scan_state.claim_account(session, rival.id, at=lab.clock()) == scan_id
    assert (await read(lab, scan_id)).status is ScanStatus.PAUSED
    async with lab.database.transaction() as session:
        await scan_state.pause_scan(session, scan_id, False, at=lab.clock())
    assert (await read(lab, scan_id)).status is ScanStatus.RUNNING
    await end(lab, scan_id)
    async with lab.database.transaction() as session:
        await scan_state.pause_scan(session, scan_id, True, at=lab.clock())
    assert (await read(lab, scan_id)).status.ended


async def test_a_plan_is_written_once_and_keeps_what_is_done(lab: Lab) -> None:
    scan_id = await lab.begin("a", "b", "c")
    await lab.stage(scan_id, [observed()], key="a")
    await lab.merge(scan_id, "a")
    await fail(lab, scan_id, "b")
    plan = [
        scan_state.PlannedShard(
            kind=TaskKind.COMPLIANCE, key=key, title=f"new {key}", batch=1, plan={"checks": [key]}
        )
        for key in ("a", "b", "c", "d")
    ]
    for _ in range(2):
        async with lab.database.transaction() as session:
            await scan_state.write_plan(session, scan_id, plan, ["A note."])
    found = {task.key: task for task in await tasks(lab, scan_id)}
    assert {key: task.status for key, task in found.items()} == {
        "a": TaskStatus.COMPLETED,
        "b": TaskStatus.PENDING,
        "c": TaskStatus.PENDING,
        "d": TaskStatus.PENDING,
    }
    assert (await read(lab, scan_id)).notes == ["A note."]
    async with lab.database.transaction() as session:
        undone = await scan_state.undone_shards(session, scan_id, kind=TaskKind.COMPLIANCE)
        assert undone is not None
        assert [shard.key for shard in undone] == ["b", "c", "d"]
        assert undone[0].plan == {"checks": ["b"]}
        assert await scan_state.undone_shards(session, scan_id, kind=TaskKind.DISCOVERY) is None


async def test_a_plan_that_comes_after_the_end_leaves_no_shard_pending_for_ever(lab: Lab) -> None:
    scan, _ = await create(lab)
    await end(lab, scan.id, ScanStatus.CANCELLED)
    shard = scan_state.PlannedShard(
        kind=TaskKind.COMPLIANCE, key="a", title="a", batch=0, plan={"checks": []}
    )
    with pytest.raises(Conflict, match="ended"):
        async with lab.database.transaction() as session:
            await scan_state.write_plan(session, scan.id, [shard], ["Late."])
    assert await tasks(lab, scan.id) == []


async def test_a_shard_shows_its_progress_until_it_is_merged(lab: Lab) -> None:
    scan_id = await lab.begin("a", "b")
    async with lab.database.transaction() as session:
        await scan_state.record_task_progress(session, scan_id, "a", progress=50, rows=7)
    (first, _) = await tasks(lab, scan_id)
    assert (first.status, first.progress, first.rows, first.attempt) == (
        TaskStatus.RUNNING,
        50,
        7,
        1,
    )
    assert (await read(lab, scan_id)).progress == 25
    async with lab.database.transaction() as session:
        await scan_state.start_task(session, scan_id, "a", at=lab.clock(), attempt=2)
    (first, _) = await tasks(lab, scan_id)
    assert (first.progress, first.rows, first.attempt) == (0, 0, 2)
    await lab.stage(scan_id, [observed("x"), observed("y")], key="a")
    async with lab.database.transaction() as session:  # a late word of the attempt before
        await scan_state.record_task_progress(session, scan_id, "a", progress=10, rows=1)
    await lab.merge(scan_id, "a")
    async with lab.database.transaction() as session:
        await scan_state.record_task_progress(session, scan_id, "a", progress=10, rows=1)
        await scan_state.start_task(session, scan_id, "a", at=lab.clock(), attempt=3)
    await fail(lab, scan_id, "a")
    (first, _) = await tasks(lab, scan_id)
    assert (first.status, first.progress, first.rows) == (TaskStatus.COMPLETED, 100, 2)
    assert first.counts is not None
    assert first.counts.new == 2
    live = await read(lab, scan_id)
    assert (live.progress, live.counts.findings.new, live.counts.tasks.done) == (50, 2, 1)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([], ScanStatus.COMPLETED),
        (["merged", "merged"], ScanStatus.COMPLETED),
        (["merged", "skipped"], ScanStatus.COMPLETED),
        (["skipped"], ScanStatus.COMPLETED),
        (["merged", "failed"], ScanStatus.COMPLETED_WITH_ERRORS),
        (["merged", "left"], ScanStatus.COMPLETED_WITH_ERRORS),
        (["failed", "failed"], ScanStatus.FAILED),
        (["failed", "skipped"], ScanStatus.FAILED),
    ],
)
async def test_how_a_scan_ended_follows_from_its_shards(
    lab: Lab, statuses: list[str], outcome: ScanStatus
) -> None:
    keys = [str(number) for number in range(len(statuses))]
    scan_id = await lab.begin(*keys)
    for key, status in zip(keys, statuses, strict=True):
        if status == "merged":
            await lab.stage(scan_id, [observed(key, check_id=f"s3_{key}")], key=key)
            await lab.merge(scan_id, key)
        elif status != "left":
            await fail(lab, scan_id, key, TaskStatus(status))
    assert await end(lab, scan_id) is outcome
    ended = await read(lab, scan_id)
    # The first end counts.
    assert await end(lab, scan_id, ScanStatus.CANCELLED) is outcome
    assert await read(lab, scan_id) == ended
    assert ended.counts.tasks.total == len(keys)
    assert ended.counts.findings.new == statuses.count("merged")
    assert ended.finished_at is not None
    assert (ended.progress == 100) is (outcome is not ScanStatus.FAILED or bool(statuses))


async def test_cancelling_keeps_what_was_merged_and_resume_runs_only_the_rest(lab: Lab) -> None:
    scan_id = await lab.begin("a", "b", "c")
    await lab.stage(scan_id, [observed()], key="a")
    await lab.merge(scan_id, "a")
    await fail(lab, scan_id, "b")
    await lab.stage(scan_id, [observed("staged")], key="c")
    assert await end(lab, scan_id, ScanStatus.CANCELLED) is ScanStatus.CANCELLED
    assert [task.status for task in await tasks(lab, scan_id)] == [
        TaskStatus.COMPLETED,
        TaskStatus.FAILED,
        TaskStatus.CANCELLED,
    ]
    assert await lab.sql("SELECT 1 FROM finding_staging") == []
    assert len(await lab.list()) == 1
    async with lab.database.transaction() as session:
        reopened = await scan_resume.reopen_scan(session, lab.team_id, scan_id, at=lab.clock())
        undone = await scan_state.undone_shards(session, scan_id, kind=TaskKind.COMPLIANCE)
    assert (reopened.status, reopened.error, reopened.finished_at) == (
        ScanStatus.PENDING,
        None,
        None,
    )
    assert reopened.counts.tasks.done == 1
    assert [shard.key for shard in undone or []] == ["b", "c"]
    with pytest.raises(Conflict, match="has not ended"):
        async with lab.database.transaction() as session:
            await scan_resume.reopen_scan(session, lab.team_id, scan_id, at=lab.clock())


async def test_a_scan_with_nothing_left_to_do_is_not_resumed(lab: Lab) -> None:
    scan_id = await lab.begin("a")
    await lab.stage(scan_id, [observed()], key="a")
    await lab.merge(scan_id, "a")
    await end(lab, scan_id)
    with pytest.raises(Conflict, match="done"):
        async with lab.database.transaction() as session:
            await scan_resume.reopen_scan(session, lab.team_id, scan_id, at=lab.clock())
    unplanned, _ = await create(lab)
    await end(lab, unplanned.id, ScanStatus.FAILED)
    async with lab.database.transaction() as session:
        again = await scan_resume.reopen_scan(session, lab.team_id, unplanned.id, at=lab.clock())
    assert again.status is ScanStatus.PENDING


async def test_resume_runs_what_was_throttled_or_cut_off_and_not_what_was_denied(lab: Lab) -> None:
    scan_id = await lab.begin(*ErrorClass, "whole")
    for each in ErrorClass:
        rows = [observed(each, check_id=f"s3_{each}")]
        await lab.stage(scan_id, rows, [], key=each, coverage=lacking(each))
        await lab.merge(scan_id, each)
    await lab.stage(scan_id, [observed()], key="whole", coverage=lacking(ErrorClass.THROTTLED, 0))
    await lab.merge(scan_id, "whole")
    await end(lab, scan_id)
    assert (await read(lab, scan_id)).status is ScanStatus.COMPLETED_WITH_ERRORS
    async with lab.database.transaction() as session:
        await scan_resume.reopen_scan(session, lab.team_id, scan_id, at=lab.clock())
        undone = await scan_state.undone_shards(session, scan_id, kind=TaskKind.COMPLIANCE)
        await scan_state.claim_account(session, scan_id, at=lab.clock())
    assert {shard.key for shard in undone or []} == {ErrorClass.THROTTLED, ErrorClass.UNREACHABLE}
    for again in (ErrorClass.THROTTLED, ErrorClass.UNREACHABLE):
        async with lab.database.transaction() as session:
            await scan_state.start_task(session, scan_id, again, at=lab.clock(), attempt=1)
        rows = [observed(name, check_id=f"s3_{again}") for name in (again, "b")]
        await lab.stage(scan_id, rows, key=again)
        await lab.merge(scan_id, again)
    await end(lab, scan_id)
    counts = (await read(lab, scan_id)).counts
    assert (counts.findings.new, counts.findings.unchanged) == (len(ErrorClass) + 1 + 2, 0)
    with pytest.raises(Conflict, match="another try would lack"):
        async with lab.database.transaction() as session:
            await scan_resume.reopen_scan(session, lab.team_id, scan_id, at=lab.clock())


def lacking(error_class: ErrorClass, not_assessed: int = 1) -> Coverage:
    """Of a shard that met errors of this class."""
    problem = Problem(service="s3", region=None, error_class=error_class, count=1)
    return Coverage(planned=1, run=1, not_assessed=not_assessed, problems=[problem])


async def test_a_failed_scan_says_why(lab: Lab) -> None:
    scan_id = await lab.begin("a")
    async with lab.database.transaction() as session:
        await scan_state.end_scan(
            session, ScanEnd(scan_id=scan_id, outcome=ScanStatus.FAILED, error=LOST), at=lab.clock()
        )
    failed = await read(lab, scan_id)
    assert (failed.status, failed.error) == (ScanStatus.FAILED, LOST)
    assert [task.status for task in await tasks(lab, scan_id)] == [TaskStatus.FAILED]


@pytest.mark.parametrize(
    ("coverage", "status"),
    [
        (Coverage(planned=3, run=3), TaskStatus.COMPLETED),
        (Coverage(planned=3, run=2), TaskStatus.COMPLETED_WITH_ERRORS),
        (Coverage(planned=3, run=3, not_assessed=1), TaskStatus.COMPLETED_WITH_ERRORS),
    ],
)
async def test_a_shard_is_whole_when_everything_planned_was_assessed(
    lab: Lab, coverage: Coverage, status: TaskStatus
) -> None:
    scan_id = await lab.begin("a")
    async with lab.database.transaction() as session:
        await scan_state.report_task(session, scan_id, "a", coverage=coverage, rows=0, covered=0)
    await lab.merge(scan_id, "a")
    (task,) = await tasks(lab, scan_id)
    assert (task.status, task.coverage) == (status, coverage)


async def test_scans_are_listed_newest_first_by_what_they_are(database: Database, lab: Lab) -> None:
    other = await make_lab(database, lab.team_id)
    done = await lab.begin("a")
    await end(lab, done)
    pending = (await create(lab))[0].id
    theirs = (await create(other))[0].id
    stranger = (await create(await make_lab(database)))[0].id

    async def listed(**fields: object) -> list[UUID]:
        found: list[UUID] = []
        cursor = None
        while True:
            async with database.transaction() as session:
                page = await scans.list_scans(
                    session, lab.team_id, limit=1, cursor=cursor, **fields  # type: ignore[arg-type]  # the lists are of their own kinds
                )  # fmt: skip
            found += [scan.id for scan in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    assert await listed() == [theirs, pending, done]
    assert await listed(status=[ScanStatus.PENDING]) == [theirs, pending]
    assert await listed(account_id=[lab.account_id]) == [pending, done]
    assert await listed(trigger=[TriggerKind.SCHEDULE]) == []
    async with database.transaction() as session:
        for call in (
            scans.get_scan(session, lab.team_id, stranger),
            scans.list_tasks(session, lab.team_id, stranger, limit=5),
            scan_resume.reopen_scan(session, lab.team_id, stranger, at=lab.clock()),
            scan_state.load_scan(session, uuid4()),
            scan_state.start_task(session, done, "none", at=lab.clock(), attempt=1),
        ):
            with pytest.raises(NotFound):
                await call


async def test_statistics_count_what_there_is(lab: Lab) -> None:
    await lab.scan([observed("a"), observed("b")])
    await create(lab)
    async with lab.database.transaction() as session:
        numbers = await store_statistics(session)
    assert numbers.scans == {"completed": 1, "pending": 1}
    assert numbers.open_findings == {"high": 2}
    assert numbers.staging_rows >= 0
