"""The failures that users of scanners built on Celery report: none of them may happen here.

`TESTED` says where each is tested. Those that no other place was fit for are tested below.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.errors import StagingLost
from contracts.findings import FindingFilter
from contracts.observations import ObservedFinding
from contracts.scans import FindingCounts
from contracts.vocabulary import Severity
from storage.database import Database
from storage.findings import findings
from storage.merge import merge_shard, staging
from tests.storage.lab import FAIL, NOT_ASSESSED, PASS, Lab, make_lab, observed, places

TESTS = Path(__file__).parents[1]
HERE = Path(__file__).relative_to(TESTS).as_posix()

TESTED = {
    "a killed worker leaves the scan running for ever, and its account blocked": (
        "watchdog/test_scans.py::"
        "test_a_killed_worker_leaves_no_scan_running_for_ever_and_no_account_blocked",
        "system/test_watchdog.py::"
        "test_a_killed_worker_and_a_terminated_workflow_leave_no_scan_running_for_ever",
    ),
    "work that takes long is delivered again, and done several times": (
        "system/test_crashes.py::test_a_killed_worker_loses_and_doubles_nothing",
        "schedules/test_life.py::test_the_same_time_is_run_once_however_often_it_is_fired",
    ),
    "work is published before its row is committed; schedules of deleted accounts fire": (
        "api/test_scans.py::test_a_scan_whose_row_is_not_committed_starts_no_workflow",
        "watchdog/test_scans.py::"
        "test_publish_before_commit_cannot_happen_and_a_row_without_a_workflow_is_started",
        "schedules/test_life.py::test_a_schedule_whose_account_is_gone_pauses_itself_and_says_so",
        "schedules/test_outages.py::test_what_nobody_defined_is_removed_but_not_what_others_made",
    ),
    "a run that was cancelled or timed out leaves its schedule locked": (
        "schedules/test_life.py::test_a_run_that_ended_badly_never_locks_its_schedule",
    ),
    "after an outage every missed run fires at once": (
        "schedules/test_outages.py::"
        "test_after_an_outage_each_policy_catches_up_as_it_says_and_nothing_stampedes",
    ),
    "a changed cron fires a time again that already ran": (
        "schedules/test_life.py::test_a_change_fires_no_time_that_has_passed_and_keeps_it_paused",
    ),
    "parents that wait fill the slots that their children need": (
        "workflows/test_cloud_scan.py::test_scans_that_wait_take_no_slot_from_those_that_run",
    ),
    "a second scan on the same worker reports the results of the first account": (
        "system/test_isolation_and_faults.py::"
        "test_a_second_scan_on_the_same_worker_never_reports_the_results_of_the_first_account",
    ),
    "ids that are built from names, or cut after 300 characters, collide": (
        "storage/test_merge.py::"
        "test_ids_that_collide_by_name_or_differ_only_after_300_characters_are_two_findings",
        "storage/test_merge.py::test_findings_of_one_resource_are_told_apart_by_name_then_detail",
    ),
    "a missing permission is a FAIL; a failed or partial sync closes what is still there": (
        "system/test_isolation_and_faults.py::"
        "test_a_first_scan_with_a_denied_service_says_not_assessed",
        "system/test_isolation_and_faults.py::"
        "test_a_denied_service_resolves_nothing_and_turns_no_verdict",
        "system/test_isolation_and_faults.py::"
        "test_an_endpoint_that_dies_half_way_resolves_nothing_and_turns_no_verdict",
        "storage/test_vulnerability_sync.py::test_a_failed_or_partial_scan_closes_nothing",
        "storage/test_vulnerability_sync.py::test_a_sync_that_fails_closes_nothing",
    ),
    "a conflict silently drops a finding": (
        f"{HERE}::test_every_staged_finding_is_counted_as_what_became_of_it",
        "api/test_imports.py::test_a_wrong_file_is_refused_by_line_and_loses_nothing",
    ),
    "one account takes all memory, and its scan is lost": (
        "api/test_import_size.py::test_a_file_of_10_megabytes_grows_the_api_by_less_than_120",
        "system/test_crashes.py::test_a_killed_scanner_is_run_again",
    ),
    "filtered lists take minutes, and so does an import of 30,000 findings": (
        f"{HERE}::test_a_filtered_list_is_looked_up_in_indexes_and_never_read_row_by_row",
        f"{HERE}::test_thirty_thousand_findings_take_as_many_statements_as_thirty",
    ),
    "completed is said though a report is missing; what is delivered again is there twice": (
        f"{HERE}::test_a_scan_of_which_a_report_is_missing_is_never_completed",
        "storage/test_merge.py::test_merging_twice_changes_nothing",
        "workflows/test_import_merge.py::"
        "test_a_worker_killed_in_the_middle_of_a_merge_leaves_the_rows_of_an_undisturbed_one",
        "storage/test_sla.py::test_over_400_days_each_notice_is_told_once_and_null_never_breaches",
    ),
    "a running scan can be neither cancelled, resumed nor narrowed, and says not why it waits": (
        "system/test_steering.py::test_cancel_stops_the_scanners_and_resume_runs_only_the_rest",
        "system/test_steering.py::"
        "test_a_second_scan_of_an_account_says_what_it_waits_for_and_then_runs",
        "system/test_findings_over_time.py::test_a_scan_of_one_service_resolves_nothing_of_another",
        "api/test_scans.py::test_a_scan_that_nobody_works_on_says_so",
    ),
}


@pytest.mark.parametrize("failure", TESTED)
def test_every_failure_is_tested_where_it_is_said_to_be(failure: str) -> None:
    for place in TESTED[failure]:
        path, _, name = place.partition("::")
        defined = ast.walk(ast.parse((TESTS / path).read_text()))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {node.name for node in defined if isinstance(node, functions)}, place


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    database = Database.open(database_url, pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def lab(database: Database) -> Lab:
    """An account to scan."""
    return await make_lab(database)


async def test_every_staged_finding_is_counted_as_what_became_of_it(lab: Lab) -> None:
    rows = [
        observed("new"),
        observed("passes", PASS),
        observed("twice"),
        observed("twice"),  # the same to the last letter: one more finding all the same
        observed("alike", detail="The first of its rules is open."),
        observed("alike", detail="The second of its rules is open."),
        observed("alike", name="another name"),
        observed("unknown", NOT_ASSESSED),
    ]
    assert await lab.scan(rows) == FindingCounts(new=8)
    assert await lab.sql("SELECT count(*) FROM finding") == [(8,)]

    assert await lab.scan(rows) == FindingCounts(unchanged=8)

    again = [
        rows[0]._replace(status=PASS),
        rows[1]._replace(status=FAIL),
        *rows[2:7],
        observed("unknown", FAIL),
        observed("later"),
        observed("later"),
    ]
    counts = await lab.scan(again)
    assert counts == FindingCounts(new=2, changed=2, resolved=1, unchanged=5)
    assert counts.new + counts.changed + counts.resolved + counts.unchanged == len(again)
    assert await lab.sql("SELECT count(*) FROM finding") == [(10,)]


async def test_a_scan_of_which_a_report_is_missing_is_never_completed(lab: Lab) -> None:
    scan_id = await lab.begin("reported", "silent")
    await lab.stage(scan_id, [observed()], key="reported")
    await lab.merge(scan_id, "reported")
    with pytest.raises(StagingLost):
        await lab.merge(scan_id, "silent")
    await lab.end(scan_id)
    assert await lab.sql("SELECT status FROM scan") == [("completed_with_errors",)]
    assert await lab.sql("SELECT key, status FROM scan_task ORDER BY key") == [
        ("reported", "completed"),
        ("silent", "failed"),
    ]


Statement = tuple[str, Any]


@asynccontextmanager
async def watched(database: Database) -> AsyncIterator[tuple[AsyncSession, list[Statement]]]:
    """A transaction, and what is sent to PostgreSQL in it."""
    sent: list[Statement] = []
    async with database.transaction() as session:
        connection = (await session.connection()).sync_connection
        assert connection is not None

        def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            sent.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        yield session, sent


class Counting:
    """A connection whose calls are noted."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._connection, name)


def many(count: int) -> list[ObservedFinding]:
    """So many findings of 60 checks in 4 regions, of all severities; one in three fails."""
    severities = list(Severity)
    return [
        observed(
            f"thing-{number}",
            PASS if number % 3 else FAIL,
            f"service{number % 12}_check{number % 60}",
            region=f"region{number % 7}",
            severity=severities[number % 60 % len(severities)],
        )
        for number in range(count)
    ]


async def sent_for(lab: Lab, count: int) -> tuple[list[str], list[str]]:
    """What is called to stage so many findings, and the statements that merge them."""
    scan_id = await lab.begin("shard")
    rows = many(count)
    async with lab.database.copying() as raw:
        connection: Any = Counting(raw)
        await staging.stage_findings(connection, lab.target(scan_id), rows)
        await staging.stage_coverage(connection, lab.target(scan_id), places(rows))
    await lab.report(scan_id, "shard", count, len(places(rows)))
    async with watched(lab.database) as (session, sent):
        counts = await merge_shard(session, scan_id, "shard", at=lab.clock())
    assert counts == FindingCounts(new=count)
    await lab.end(scan_id)
    return connection.calls, [statement for statement, _ in sent]


async def test_thirty_thousand_findings_take_as_many_statements_as_thirty(
    database: Database, lab: Lab
) -> None:
    few_calls, few = await sent_for(lab, 30)
    many_calls, statements = await sent_for(await make_lab(database), 30_000)
    assert len(statements) == len(few) < 20
    copies = Counter(many_calls)["copy_records_to_table"]
    assert copies == 30_000 / staging.ROWS_AT_ONCE
    assert len(many_calls) - copies == len(few_calls) - 1


FILTERS = {
    "status": {"status": [FAIL]},
    "severity": {"severity": [Severity.CRITICAL]},
    "service": {"service": ["service7"]},
    "region": {"region": ["region5"]},
    "check": {"check_id": ["service7_check19"]},
    "resource": {"resource_uid": ["arn:aws:s3:::thing-777"]},
    "text": {"q": "thing-777"},
    "several": {"status": [FAIL], "region": ["region5"], "service": ["service6"]},
    "nothing": {"region": ["nowhere"]},
}
READ_AT_MOST = 1_500
"""Blocks for a page of 50, one that is read twice counted twice; each finding read by itself would
be twenty times as many."""


@pytest.fixture
async def filled(lab: Lab) -> Lab:
    """30,000 findings of one scan."""
    scan_id = await lab.begin("shard")
    await lab.stage(scan_id, many(30_000))
    await lab.merge(scan_id)
    await lab.end(scan_id)
    await lab.sql("ANALYZE")
    return lab


async def test_a_filtered_list_is_looked_up_in_indexes_and_never_read_row_by_row(
    filled: Lab,
) -> None:
    columns = "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_name = "
    kinds = {kind for (kind,) in await filled.sql(f"{columns}'finding'")}
    assert not {"json", "jsonb"} & kinds
    for name, fields in FILTERS.items():
        async with watched(filled.database) as (session, sent):
            page = await findings.list_findings(
                session, filled.team_id, FindingFilter.model_validate(fields), limit=50
            )
            blocks = 0
            for statement, parameters in list(sent):
                plan = await explained(session, statement, parameters)
                blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
                assert "finding" not in read_whole(plan), (name, statement)
        assert bool(page.items) is (name != "nothing"), name
        assert blocks < READ_AT_MOST, name


async def explained(session: AsyncSession, statement: str, parameters: Any) -> dict[str, Any]:
    """How PostgreSQL went about a statement."""
    connection = await session.connection()
    answer = await connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", parameters
    )
    (plan,) = answer.scalar_one()
    found: dict[str, Any] = plan["Plan"]
    return found


def read_whole(plan: dict[str, Any]) -> set[str]:
    """Tables that were read from one end to the other."""
    own = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return own.union(*map(read_whole, plan.get("Plans", [])))
