"""`cloudsweep finding export` and `cloudsweep import`: files out and in again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from contracts.vocabulary import FindingStatus
from storage.database import Database
from tests.api.conftest import Team
from tests.api.scripted import Script
from tests.api.stored import make_account, observed, store_scan
from tests.cli.conftest import Command


@pytest.fixture
async def stored(script: Script, database: Database, team: Team) -> str:
    """An account with findings, and workers to merge more."""
    account = await make_account(database, team.id)
    findings = [
        observed("iam_user_mfa", "alice"),
        observed("iam_user_mfa", "bob", FindingStatus.PASS),
    ]
    await store_scan(database, team.id, account, findings)
    return str(account)


def names_in(directory: Path) -> list[str]:
    """The files of a directory."""
    return [path.name for path in directory.iterdir() if path.is_file()]


async def test_what_is_exported_is_imported_again_unchanged(
    stored: str, cloudsweep: Command, tmp_path: Path
) -> None:
    file = tmp_path / "findings.ndjson"
    ran = await cloudsweep("finding export --format ocsf -o", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert names_in(tmp_path) == [file.name]  # no half file beside it
    ran = await cloudsweep("import --account production --json", str(file))
    assert ran.code == 0
    assert ran.json["counts"]["findings"]["unchanged"] == 2
    again = await cloudsweep("import --account production", str(file))
    assert (again.code, "was imported before" in again.err) == (0, True)
    told = await cloudsweep("import --account production --complete", str(file))
    assert "0 new, 0 changed, 0 resolved, 2 unchanged" in told.out


async def test_an_export_without_a_file_goes_to_the_output(
    stored: str, cloudsweep: Command
) -> None:
    ran = await cloudsweep("finding export --format csv --status fail --account production")
    assert [row["resource_name"] for row in csv.DictReader(ran.out.splitlines())] == ["alice"]
    ran = await cloudsweep("finding export --format ndjson")
    assert len([json.loads(line) for line in ran.out.splitlines()]) == 2


async def test_a_wrong_file_is_told_by_line_and_a_missing_one_by_name(
    stored: str, cloudsweep: Command, tmp_path: Path
) -> None:
    file = tmp_path / "broken.json"
    file.write_text('[{"class_uid": 2004},\n')
    ran = await cloudsweep("import --account production", str(file))
    assert (ran.code, "Finding 1 (line 1)" in ran.err, "Nothing was merged" in ran.err) == (
        2, True, True,
    )  # fmt: skip
    missing = await cloudsweep("import --account production /nowhere/x.json")
    assert (missing.code, "/nowhere/x.json cannot be read" in missing.err) == (2, True)
    unwritable = await cloudsweep("finding export --format csv -o /nowhere/x.csv")
    assert (unwritable.code, "/nowhere/x.csv cannot be written" in unwritable.err) == (2, True)
