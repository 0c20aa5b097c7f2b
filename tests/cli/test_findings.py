"""`cloudsweep finding`, `resource` and `check`: tables people can read, whatever clouds say."""

from __future__ import annotations

import pytest

from contracts.observations import ObservedFinding, ObservedResource
from contracts.vocabulary import FindingStatus
from storage.database import Database
from tests.api.conftest import Team
from tests.api.stored import make_account, observed, store_scan
from tests.cli.conftest import Command

HOSTILE = "[red]bold[/red]\x1b[31m\x07\u202emoc\x9b2J\nline"


@pytest.fixture
async def stored(database: Database, team: Team) -> str:
    """Findings, one of them named by somebody who means harm; and resources."""
    account = await make_account(database, team.id)
    findings: list[ObservedFinding] = [
        observed("s3_bucket_public_access", HOSTILE),
        observed("iam_user_mfa", "alice"),
        observed("iam_user_mfa", "bob", FindingStatus.PASS),
        *(observed("ec2_ebs_encryption", f"vol-{n}", region="us-east-1") for n in range(30)),
    ]
    await store_scan(database, team.id, account, findings)
    bucket = ObservedResource(
        uid="arn:aws:s3:::assets", type="s3_bucket", name=HOSTILE, region="eu-west-1",
        tags={"env": HOSTILE}, attributes={"policy": HOSTILE},
    )  # fmt: skip
    await store_scan(database, team.id, account, resources=[bucket])
    return str(account)


def assert_is_harmless(text: str) -> None:
    """Nothing that a terminal obeys, and the markup as it was."""
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("columns", ["80", "100", "120", "200"])
async def test_findings_fit_the_terminal_and_cannot_command_it(
    cloudsweep: Command, stored: str, columns: str
) -> None:
    ran = await cloudsweep("finding list --limit 500", COLUMNS=columns)
    assert ran.code == 0
    assert_is_harmless(ran.out)
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert lines[0].startswith("SEVERITY")
    assert lines[1].startswith("critical")
    assert "[red]" in ran.out
    assert "alice" in ran.out
    assert "bob" not in ran.out  # passes are not what a person asks for first


async def test_filters_are_those_of_the_api(cloudsweep: Command, stored: str) -> None:
    async def names(line: str) -> set[str]:
        page = (await cloudsweep(f"finding list --json {line}")).json
        return {item["resource"]["name"] for item in page["items"]}

    assert await names("--service iam --status pass --status fail") == {"alice", "bob"}
    assert await names("--severity high,critical --q alice") == {"alice"}
    assert await names("--account production --region eu-west-1 --state resolved") == {"bob"}
    assert await names("--check-id iam_user_mfa --scan last") == set()
    assert await names("--resource-uid arn:aws:iam:::alice") == {"alice"}
    wrong = await cloudsweep("finding list --severity hgih")
    assert wrong.code == 2
    assert "Allowed: informational, low, medium, high, critical" in wrong.err


async def test_more_rows_than_a_page_are_fetched_and_the_rest_is_told(
    cloudsweep: Command, stored: str
) -> None:
    first = await cloudsweep("finding list --limit 20 --json")
    assert len(first.json["items"]) == 20
    rest = await cloudsweep("finding list --json --cursor", first.json["next_cursor"])
    assert len(rest.json["items"]) == 12
    told = await cloudsweep("finding list --limit 20")
    assert "there are more" in told.err


async def test_a_finding_is_shown_by_a_part_of_its_id(cloudsweep: Command, stored: str) -> None:
    page = (await cloudsweep("finding list --json --status pass")).json
    identity = page["items"][0]["id"]
    ran = await cloudsweep(f"finding show {identity[-8:]}")
    assert ran.code == 0
    for words in ("IAM users have MFA", "bob", "What to do.", "CIS-5.0 1.1", "opened", identity):
        assert words in ran.out
    unknown = await cloudsweep("finding show ffffffff")
    assert unknown.code == 2


async def test_hostile_details_are_shown_harmlessly(cloudsweep: Command, stored: str) -> None:
    page = (await cloudsweep("finding list --json --severity critical")).json
    for line in (f"finding show {page['items'][0]['id']}", "resource list"):
        ran = await cloudsweep(line)
        assert ran.code == 0
        assert_is_harmless(ran.out)
    resources = (await cloudsweep("resource list --json")).json["items"]
    shown = await cloudsweep(f"resource show {resources[0]['id'][-8:]}")
    assert shown.code == 0
    assert_is_harmless(shown.out)
    as_json = await cloudsweep("finding list --json --severity critical")
    assert_is_harmless(as_json.out)


async def test_a_summary_counts_in_bars(cloudsweep: Command, stored: str) -> None:
    ran = await cloudsweep("finding summary --status fail")
    assert ran.code == 0
    assert ran.out.startswith("32 findings")
    assert "█" in ran.out
    assert (await cloudsweep("finding summary --json")).json["total"] == 33


async def test_checks_are_listed_and_shown(cloudsweep: Command, stored: str) -> None:
    listed = await cloudsweep("check list --service iam --framework CIS-5.0")
    assert "iam_user_mfa" in listed.out
    shown = await cloudsweep("check show iam_user_mfa")
    assert "What may happen." in shown.out
    assert (await cloudsweep("check show ../readyz")).code == 2
    assert (await cloudsweep("check show nothing")).code == 2


async def test_empty_lists_say_what_to_do(cloudsweep: Command) -> None:
    for line, words in (
        ("account list", "account add"),
        ("scan list", "scan start"),
        ("finding list", "No findings match."),
        ("resource list", "Steampipe"),
    ):
        ran = await cloudsweep(line)
        assert (ran.code, ran.out) == (0, "")
        assert words in ran.err
