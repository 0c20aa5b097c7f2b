"""`cloudsweep scan hybrid` and `cloudsweep asset`, as a person sees them."""

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


async def test_what_answers_is_listed_shown_and_counted(
    script: Script, in_process: InProcess, tmp_path: Path
) -> None:
    needs("nmap", "nmap")
    nothing = await in_process("asset list")
    assert "cloudsweep scan hybrid --wait" in nothing.out + nothing.err
    await in_process(f"scope add lab --cidr {ADDRESS}/32")
    with serving(tmp_path) as endpoints:
        await in_process(f"policy set lab --ports {endpoints.http} --rate 2000")
        ran = await in_process("scan hybrid --scope lab --policy lab --wait")
    assert ran.code == 0, ran.err
    assert "1 of 1 shards done" in ran.out
    assert "Assets: 1 new, 0 changed, 0 gone, 0 unchanged." in ran.out
    assert "cloudsweep asset list --standing unmanaged" in ran.out + ran.err
    assert "indings" not in ran.out + ran.err  # of which there are none
    assert "assets" in (await in_process("scan list")).out
    listed = (await in_process("asset list --standing unmanaged --source network")).out
    assert ADDRESS in listed
    assert str(endpoints.http) in listed
    shown = await in_process(f"asset show {ADDRESS}")
    assert "unmanaged" in shown.out
    assert f"cloudsweep target add host {ADDRESS}" in shown.out + shown.err
    assert "standing: unmanaged" in (await in_process("asset summary")).out
    missing = await in_process("asset show nowhere.example")
    assert (missing.code, "There is no asset `nowhere.example`." in missing.err) == (2, True)
