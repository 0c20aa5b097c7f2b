"""`cloudsweep target` and `cloudsweep scope`."""

from __future__ import annotations

from tests.cli.conftest import InProcess


async def test_a_scope_is_approved_and_its_targets_are_added_checked_and_removed(
    in_process: InProcess,
) -> None:
    made = await in_process(
        "scope add perimeter --cidr 203.0.113.0/24 --domain *.example.com --image ghcr.io/team"
        " --path /srv/repositories --cluster prod --valid-until 2099-01-01 --json",
        *("--approved-by", "Ada Lovelace", "--note", "Contract 17"),
    )
    assert made.code == 0, made.err
    assert made.json["approved_by"] == "Ada Lovelace"
    assert {"kind": "domain", "value": "example.com", "subdomains": True} in made.json["allows"]
    assert len(made.json["allows"]) == 5
    assert made.json["valid_until"] == "2099-01-01T00:00:00Z"

    added = await in_process("target add host 203.0.113.7:443 --tag env=prod --tag team=web")
    assert added.code == 0, added.err
    assert "perimeter" in added.out
    assert "target check '203.0.113.7:443'" in added.err
    checked = await in_process("target check 203.0.113.7:443")
    assert checked.code == 0, checked.err
    assert "by the scope perimeter" in checked.out
    assert "203.0.113.7" in checked.out
    await in_process("target add cluster prod")
    assert "env=prod" in (await in_process("target list --kind host --tag env=prod")).out
    assert (await in_process("target list --tag env=test --json")).json["items"] == []
    shown = await in_process("scope list")
    assert "*.example.com" in shown.out
    assert "Contract 17" in (await in_process("scope show perimeter")).out

    kept = await in_process("scope remove perimeter --yes")
    assert kept.code == 1
    assert "2 targets lie in this scope only" in kept.err
    assert (await in_process("scope end perimeter --json")).code == 0
    refused = await in_process("target check prod")
    assert refused.code == 1
    assert "(rule: scope_expired)" in refused.err
    assert "scope change 'perimeter' --valid-until" in refused.err
    assert (await in_process("target check prod --json")).json["rule"] == "scope_expired"
    assert "none allows it" in (await in_process("target list")).out
    again = await in_process("scope change perimeter --no-end --cluster prod --json")
    assert again.json["valid_until"] is None
    assert [entry["value"] for entry in again.json["allows"]] == ["prod"]
    assert (await in_process("target disable prod --json")).json["enabled"] is False
    assert "is disabled" in (await in_process("target check prod")).err
    assert (await in_process("target enable prod --json")).json["enabled"] is True
    assert (await in_process("target remove prod", stdin=b"n\n")).code == 1
    for value in ("prod", "203.0.113.7:443"):
        assert (await in_process("target remove --yes", value)).code == 0
    assert (await in_process("scope remove perimeter --yes")).code == 0
    assert (await in_process("scope list --json")).json["items"] == []


async def test_what_is_wrong_is_told_with_its_fix(in_process: InProcess) -> None:
    nothing = await in_process("scope add empty")
    assert nothing.code == 2
    assert "--cidr, --domain" in nothing.err
    assert (await in_process("scope change nobody")).code == 2
    outside = await in_process("target add host www.example.com")
    assert outside.code == 2
    assert "cloudsweep scope add NAME --domain www.example.com" in outside.err
    wrong = await in_process("scope add all --cidr 0.0.0.0/0")
    assert wrong.code == 2
    assert "allows[0].value" in wrong.err
