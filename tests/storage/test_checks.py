"""Check texts: stored once, written only when they differ."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from contracts.errors import NotFound, ScopeInvalid
from contracts.findings import CheckText
from contracts.vocabulary import Provider, Severity
from storage import cursors
from storage.checks import get_check, list_checks, upsert_checks
from storage.database import Database
from tests.storage.lab import at_once

TEXTS = [
    CheckText(
        source="prowler", provider=provider, check_id=check_id, title=title, severity=severity,
        service=check_id.split("_")[0], frameworks=frameworks, references=["https://example.org"],
    )
    for check_id, title, severity, provider, frameworks in (
        ("s3_public", "Buckets are not public", Severity.CRITICAL, Provider.AWS, {"CIS": ["1.1"]}),
        ("s3_log_50%", "Buckets log 100% of calls", Severity.LOW, Provider.AWS, {"ISO": ["A.1"]}),
        ("iam_mfa", "Users have MFA", Severity.HIGH, Provider.AWS, {"CIS": ["2"], "ISO": []}),
        ("vm_public", "Machines are not public", Severity.HIGH, Provider.AZURE, {}),
    )
]  # fmt: skip
ROWS = "SELECT check_id, ctid::text, xmin::text FROM check_definition ORDER BY 1"


async def _store(database: Database, texts: list[CheckText]) -> list[tuple[object, ...]]:
    async with database.transaction() as session:
        await upsert_checks(session, texts)
    async with database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(ROWS))]


async def test_texts_that_are_the_same_are_not_written_again(database: Database) -> None:
    first = await _store(database, TEXTS)
    assert len(first) == 4
    assert await _store(database, TEXTS) == first
    changed = TEXTS[0].model_copy(update={"title": "Buckets are private"})
    second = await _store(database, [changed, *TEXTS[1:]])
    assert [row for row in second if row not in first] == [
        row for row in second if row[0] == "s3_public"
    ]
    async with database.transaction() as session:
        assert await get_check(session, "s3_public") == changed
        assert await get_check(session, "iam_mfa") == TEXTS[2]
        with pytest.raises(NotFound, match="nothing"):
            await get_check(session, "nothing")


async def test_two_workers_store_one_catalogue_at_once(database: Database) -> None:
    done = await at_once(
        *(_store(database, order) for order in (TEXTS, TEXTS[::-1], TEXTS, TEXTS[::-1]))
    )
    assert [len(each) for each in done if isinstance(each, list)] == [4] * 4


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({}, ["iam_mfa", "s3_log_50%", "s3_public", "vm_public"]),
        ({"service": ["s3", "vm"], "provider": [Provider.AWS]}, ["s3_log_50%", "s3_public"]),
        ({"severity": [Severity.HIGH]}, ["iam_mfa", "vm_public"]),
        ({"framework": ["ISO"]}, ["iam_mfa", "s3_log_50%"]),
        ({"framework": ["CIS", "none"]}, ["iam_mfa", "s3_public"]),
        ({"source": ["other"]}, []),
        ({"q": "PUBLIC"}, ["s3_public", "vm_public"]),
        ({"q": "50%"}, ["s3_log_50%"]),
        ({"q": "_"}, ["iam_mfa", "s3_log_50%", "s3_public", "vm_public"]),
    ],
)
async def test_checks_are_filtered_and_paged(
    database: Database, filter: dict[str, list[str]], expected: list[str]
) -> None:
    await _store(database, TEXTS)
    found, cursor = [], None
    async with database.transaction() as session:
        while True:
            page = await list_checks(session, limit=1, cursor=cursor, **filter)  # type: ignore[arg-type]  # the lists are of their own kinds
            found += [check.check_id for check in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == expected


async def test_a_cursor_that_holds_what_no_row_can_is_refused(database: Database) -> None:
    cursor = cursors.encode("checks", "s3_public\0", "prowler", "aws")
    async with database.transaction() as session:
        with pytest.raises(ScopeInvalid) as refused:
            await list_checks(session, limit=1, cursor=cursor)
    assert refused.value.field == "cursor"
