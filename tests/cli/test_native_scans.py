"""`cloudsweep scan native`: a real nmap on servers of this machine, as a person sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.api.scripted import Script
from tests.cli.conftest import InProcess
from tests.support.endpoints import ADDRESS, serving
from tests.support.native import needs


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where loopback may be scanned."""
    return settings.model_copy(update={"allow_loopback_targets": True})


async def test_what_nmap_finds_is_told_by_the_names_that_people_gave(
    script: Script, in_process: InProcess, tmp_path: Path
) -> None:
    needs("nmap", "nmap")
    await in_process(f"scope add lab --cidr {ADDRESS}/32")
    with serving(tmp_path) as endpoints:
        web = f"{ADDRESS}:{endpoints.http}"
        assert (await in_process(f"target add host {web}")).code == 0
        ran = await in_process(f"scan native {web} --tool nmap --policy normal --wait")
    assert ran.code == 0, ran.err
    assert f"targets: {web}; tools: nmap; policy: normal" in ran.out
    assert "1 of 1 shards done" in ran.out
    assert "2 new" in ran.out
    assert "esources" not in ran.out + ran.err  # of which such a scan reads none
    assert f"targets: {web}" in (await in_process("scan show last")).out
    assert "targets" in (await in_process("scan list")).out
    assert f"nmap/{web}" in (await in_process("scan tasks last")).out
    listed = (await in_process("finding list")).out
    assert "A port is open" in listed
    assert "The title of a web page" in listed
    assert web in listed


async def test_a_tool_that_does_not_suit_the_target_is_refused_with_those_that_do(
    in_process: InProcess,
) -> None:
    await in_process(f"scope add lab --cidr {ADDRESS}/32")
    await in_process(f"target add host {ADDRESS}")
    ran = await in_process(f"scan native {ADDRESS} --tool checkov --wait")
    assert ran.code == 2
    assert "None of these tools looks at any of the targets." in ran.err
    assert "Use nmap, testssl, sslyze, nuclei for host." in " ".join(ran.err.split())


async def test_unknown_names_are_refused_with_what_there_is(in_process: InProcess) -> None:
    await in_process(f"scope add lab --cidr {ADDRESS}/32")
    await in_process(f"target add host {ADDRESS}")
    nothing = await in_process("scan native")
    assert nothing.code == 2
    assert "TARGET" in nothing.err
    nowhere = await in_process("scan native nowhere.example")
    assert nowhere.code == 2
    assert "There is no target `nowhere.example`." in nowhere.err
    assert "cloudsweep target list" in nowhere.err
    tool = await in_process(f"scan native {ADDRESS} --tool nmapp")
    assert tool.code == 2
    assert "There is no tool `nmapp`. There are: nmap, testssl" in tool.err
    policy = await in_process(f"scan native {ADDRESS} --policy brutal")
    assert policy.code == 2
    assert "There is no policy `brutal`. Use fast, gentle, normal." in policy.err
    assert (await in_process("scan list --json")).json["items"] == []


async def test_a_policy_of_the_team_is_set_shown_changed_and_removed(in_process: InProcess) -> None:
    made = await in_process("policy set night --like gentle --rate 20 --ports 80,443")
    assert made.code == 0, made.err
    assert "20 packets or requests a second" in made.out
    changed = (await in_process("policy set night --timing 3 --json")).json
    assert (changed["timing"], changed["rate"], changed["nice"]) == (3, 20, 10)  # nice: as gentle
    listed = (await in_process("policy list")).out
    assert all(name in listed for name in ("fast", "gentle", "night", "normal", "built in"))
    assert "80,443" in (await in_process("policy show night")).out
    wrong = await in_process("policy set night --rate 9000")
    assert (wrong.code, "rate" in wrong.err) == (2, True)
    assert (await in_process("policy set night")).code == 2
    assert "built in" in (await in_process("policy set fast --rate 1")).err
    assert "Removed night." in (await in_process("policy remove night --yes")).out
    assert (await in_process("policy show night")).code != 0
