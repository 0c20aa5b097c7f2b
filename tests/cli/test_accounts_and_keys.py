"""`cloudsweep account` and `cloudsweep key`."""

from __future__ import annotations

import pytest

from contracts.vocabulary import Role
from tests.api.conftest import Team
from tests.api.scripted import Script
from tests.cli.conftest import Command, InProcess


@pytest.mark.parametrize(
    ("options", "credentials"),
    [
        ("", {"kind": "environment"}),
        ("--profile audit", {"kind": "profile", "profile": "audit"}),
        ("--credentials-file /secrets/aws", {"kind": "file", "path": "/secrets/aws"}),
        (
            "--role-arn arn:aws:iam::123456789012:role/audit --external-id ours --profile base",
            {
                "kind": "role",
                "role_arn": "arn:aws:iam::123456789012:role/audit",
                "external_id": "ours",
                "source": {"kind": "profile", "profile": "base"},
            },
        ),
        ("--provider azure --azure-cli", {"kind": "azure_cli"}),
        ("--provider azure --managed-identity", {"kind": "managed_identity"}),
        (
            "--provider gcp --service-account audit@project.iam.gserviceaccount.com",
            {
                "kind": "impersonation",
                "service_account": "audit@project.iam.gserviceaccount.com",
            },
        ),
        (
            "--provider kubernetes --kube-context prod --credentials-file /k/config",
            {"kind": "kube_context", "context": "prod", "path": "/k/config"},
        ),
    ],
)
async def test_every_kind_of_credentials_can_be_named(
    cloudsweep: Command, options: str, credentials: dict[str, str]
) -> None:
    ran = await cloudsweep(f"account add one {options} --json")
    assert ran.code == 0, ran.err
    kept = {name: value for name, value in ran.json["credentials"].items() if value is not None}
    assert kept == credentials


@pytest.mark.parametrize(
    "options",
    ["--profile a --credentials-file /b", "--external-id x", "--azure-cli --managed-identity",
     "--role-arn arn:aws:iam::123456789012:role/x --azure-cli"],
)  # fmt: skip
async def test_credentials_that_do_not_go_together_are_refused(
    cloudsweep: Command, options: str
) -> None:
    ran = await cloudsweep(f"account add one {options}")
    assert ran.code == 2
    assert "Error" in ran.err


async def test_an_account_is_named_by_name_id_or_a_part_of_it(cloudsweep: Command) -> None:
    made = (await cloudsweep("account add", "my account", "--json")).json
    await cloudsweep("account add other")
    for which in (
        "my account",
        made["id"],
        made["id"][-8:],
        f"…{made['id'][-8:]}",
        made["id"][:25],
    ):
        shown = await cloudsweep("account show --json", which)
        assert (shown.code, shown.json["id"]) == (0, made["id"]), which
    ambiguous = await cloudsweep("account show", made["id"][:8])
    assert ambiguous.code == 2
    assert "means 2 accounts" in ambiguous.err
    unknown = await cloudsweep("account show nobody")
    assert unknown.code == 2
    assert "no account `nobody`" in unknown.err


async def test_an_account_is_changed_disabled_and_removed(cloudsweep: Command) -> None:
    await cloudsweep("account add one --regions eu-west-1,us-east-1 --endpoint-url http://h:1")
    changed = (
        await cloudsweep("account change one --name two --all-regions --no-endpoint-url --json")
    ).json
    assert (changed["name"], changed["regions"], changed["endpoint_url"]) == ("two", None, None)
    assert (await cloudsweep("account change two")).code == 2
    assert (await cloudsweep("account disable two --json")).json["enabled"] is False
    assert "two       off " in (await cloudsweep("account list --disabled")).out
    refused = await cloudsweep("scan start two")
    assert refused.code == 1
    assert "disabled" in refused.err
    assert (await cloudsweep("account enable two --json")).json["enabled"] is True
    kept = await cloudsweep("account remove two", stdin=b"n\n")
    assert kept.code == 1
    assert (await cloudsweep("account remove two --yes")).code == 0
    assert (await cloudsweep("account list --json")).json["items"] == []


async def test_an_empty_option_is_an_error_and_not_the_default(in_process: InProcess) -> None:
    for option in ("role-arn", "profile", "credentials-file", "regions", "endpoint-url", "uid"):
        ran = await in_process(f"account add one --{option}", "")
        assert ran.code == 2, option
    assert (await in_process("account list --json")).json["items"] == []
    await in_process("account add one")
    for line in (
        "account change one --name",
        "scan start one --services",
        "schedule add nightly one --every 1d --ends",
        "scope add office --domain example.com --valid-until",
        "mute add --region x --reason y --expires",
        "mute add --region x --reason y --account",
    ):
        ran = await in_process(line, "")
        assert ran.code == 2, line
    assert (await in_process("scan list --json")).json["items"] == []


async def test_options_that_contradict_each_other_are_refused(in_process: InProcess) -> None:
    await in_process("account add one")
    for line in (
        "account change one --regions eu-west-1 --all-regions",
        "account change one --endpoint-url http://h:1 --no-endpoint-url",
        "job run account_check --account one --param account_id=one",
    ):
        ran = await in_process(line)
        assert ran.code == 2, line
        assert "--" in ran.err


async def test_a_name_that_two_keys_share_revokes_neither(in_process: InProcess) -> None:
    first, second = [(await in_process("key create ci --json")).json for _ in range(2)]
    refused = await in_process("key revoke ci")
    assert refused.code == 2
    assert first["id"] in refused.err and second["id"] in refused.err
    assert (await in_process("key revoke", second["id"])).code == 0
    assert (await in_process("key revoke ci --json")).json["id"] == first["id"]


async def test_a_check_says_who_we_are_or_what_is_missing(
    script: Script, cloudsweep: Command
) -> None:
    await cloudsweep("account add one")
    checked = await cloudsweep("account check one")
    assert checked.code == 0
    assert "arn:aws:iam::123456789012:role/audit" in checked.out
    script.credentials_are_accepted = False
    refused = await cloudsweep("account check one")
    assert refused.code == 1
    assert "The role may not be assumed." in refused.err
    assert "Mend its trust policy." in refused.err
    assert (await cloudsweep("account check one --json")).json["ok"] is False


async def test_a_check_without_workers_ends_with_3(cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    ran = await cloudsweep("account check one")
    assert ran.code == 3
    assert "worker.py" in ran.err


async def test_a_new_key_stands_alone_on_stdout(cloudsweep: Command, served: str) -> None:
    made = await cloudsweep("key create ci --role operator")
    assert made.code == 0
    assert made.out.startswith("csk_")
    assert made.out.count("\n") == 1
    user = Command(served, made.out.strip())
    assert (await user("account list")).code == 0
    denied = await user("key list")
    assert denied.code == 2
    assert "admin" in denied.err
    listed = await cloudsweep("key list")
    assert "ci" in listed.out
    assert made.out.strip() not in listed.out
    assert (await cloudsweep("key revoke ci")).code == 0
    assert (await user("account list")).code == 2


async def test_the_last_admin_key_stays(cloudsweep: Command, team: Team) -> None:
    ran = await cloudsweep("key revoke admin")
    assert ran.code == 1
    assert "last admin key" in ran.err
    assert Role.ADMIN in team.keys
