"""`cloudsweep vuln`: the API's words, for people and for machines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api import exports, vulnerability_export
from contracts.errors import DatabaseUnavailable
from contracts.vocabulary import FindingStatus
from storage.database import Database
from tests.api.conftest import Team
from tests.api.stored import make_account, observed, store_scan
from tests.api.test_vulnerabilities import sync
from tests.cli.conftest import InProcess
from tests.cli.test_files import names_in


@pytest.fixture
async def account(database: Database, team: Team) -> UUID:
    """An account with three vulnerabilities, one of them closed."""
    account = await make_account(database, team.id)
    for status in (FindingStatus.FAIL, FindingStatus.PASS):
        await store_scan(
            database, team.id, account,
            [
                observed("s3_bucket_public_access", "assets\x1b[31m"),
                observed("iam_user_mfa", "alice"),
                observed("iam_user_mfa", "bob", status),
            ],
        )  # fmt: skip
        await sync(database, team.id, account)
    return account


async def test_those_in_work_are_listed_and_others_by_filter(
    in_process: InProcess, account: UUID
) -> None:
    ran = await in_process("vuln list", COLUMNS="120")
    lines = ran.out.splitlines()
    assert lines[0].startswith("SEVERITY")
    assert len(lines) == 3
    assert "critical" in lines[1]
    assert "in " in lines[1]
    assert "\x1b" not in ran.out
    closed = (await in_process("vuln list --status closed --json")).json["items"]
    assert [item["resource_uid"] for item in closed] == ["arn:aws:iam:::bob"]
    assert (
        len((await in_process("vuln list --json --account production -q ALICE")).json["items"]) == 1
    )
    assert "No vulnerabilities" in (await in_process("vuln list --sla breached")).err


async def test_one_is_shown_by_a_part_of_its_id(in_process: InProcess, account: UUID) -> None:
    (item,) = (await in_process("vuln list --status closed --json")).json["items"]
    ran = await in_process(f"vuln show {item['id'][-8:]}")
    assert ran.code == 0
    for words in ("IAM users have MFA", "arn:aws:iam:::bob", "opened", "closed", "fixed", "sync"):
        assert words in ran.out
    assert (await in_process("vuln show ffffffff")).code == 2


async def test_a_summary_counts(in_process: InProcess, account: UUID) -> None:
    ran = await in_process("vuln summary")
    assert ran.out.startswith("3 vulnerabilities")
    assert "on_track" in ran.out
    assert (await in_process("vuln summary --json")).json["status"] == {"open": 2, "closed": 1}


async def test_a_sync_is_asked_for(in_process: InProcess, team: Team) -> None:
    ran = await in_process("vuln sync --full --json")
    assert ran.json == {"workflow_id": f"sync/{team.id}"}


async def test_people_decide(in_process: InProcess, account: UUID) -> None:
    (item,) = (await in_process("vuln list -q alice --json")).json["items"]
    which = item["id"][-8:]
    assert (await in_process(f"vuln assign {which} platform --json")).json["owner"] == "platform"
    ran = await in_process(f"vuln comment {which}", "Waits for SSO.")
    assert "Waits for SSO." in ran.out
    assert (await in_process(f"vuln begin {which} --json")).json["status"] == "in_progress"
    accepted = await in_process(
        f"vuln accept {which} --json --until 2099-01-01 --reason", "It is known."
    )
    assert accepted.json["accepted_until"] == "2099-01-01T00:00:00Z"
    assert (await in_process(f"vuln reopen {which} --json")).json["status"] == "open"
    ran = await in_process(f"vuln false-positive {which} --reason", "It is none.")
    assert "false_positive" in ran.out
    refused = await in_process(f"vuln begin {which}")
    assert (refused.code, "Reopen it first." in refused.err) == (1, True)


async def test_a_mute_rule_is_previewed_added_listed_and_removed(
    in_process: InProcess, account: UUID
) -> None:
    options = "--check-id iam_user_mfa --account production"
    assert "1 open findings in 1 accounts" in (await in_process(f"mute preview {options}")).out
    added = await in_process(f"mute add {options} --expires 2099-01-01 --json --reason", "SSO.")
    assert added.json["until"] == "2099-01-01T00:00:00Z"
    assert "SSO." in (await in_process("mute list")).out
    removed = await in_process(f"mute remove {added.json['id'][-8:]}")
    assert "check_id iam_user_mfa" in removed.out
    assert "No mute rules" in (await in_process("mute list")).err


async def test_the_policy_is_shown_and_changed(in_process: InProcess, account: UUID) -> None:
    assert "120 days" in (await in_process("sla show")).out
    changed = await in_process("sla set critical=3 low=never --no-restart --json")
    assert changed.json["days"]["critical"] == 3
    assert changed.json["days"]["low"] is None
    assert changed.json["days"]["high"] == 30
    assert "go on" in (await in_process("sla show")).out
    assert (await in_process("sla set")).code == 2
    wrong = await in_process("sla set urgent=3")
    assert (wrong.code, "critical=7" in wrong.err) == (2, True)
    assert "No notices" in (await in_process("sla notices")).err


async def test_they_are_exported_whole_or_not_at_all(
    in_process: InProcess, account: UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vulnerabilities.csv"
    ran = await in_process("vuln export --format csv --status open -o", str(file))
    assert (ran.code, ran.out) == (0, "")
    with file.open(newline="") as lines:
        assert {row["severity"] for row in csv.DictReader(lines)} == {"critical", "high"}
    ran = await in_process("vulnerability export --format ocsf --account production -q bob")
    assert json.loads(ran.out)["status_code"] == "closed"
    file.unlink()
    monkeypatch.setattr(exports, "PAGE", 1)
    load = vulnerability_export.list_vulnerabilities

    async def lose(*arguments: Any, **options: Any) -> Any:
        if options["cursor"] is not None:
            raise DatabaseUnavailable("the connection was lost")
        return await load(*arguments, **options)

    monkeypatch.setattr(vulnerability_export, "list_vulnerabilities", lose)
    cut = await in_process("vuln export --format csv -o", str(file))
    assert cut.code == 3
    assert not [name for name in names_in(tmp_path) if file.name in name]
