"""The list of scanners says what is here, without waiting for programs that do not answer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from contracts.native import NativeTool, ScannerState
from runtime.settings import Settings
from scanners import inventory
from scanners.inventory import PROGRAMS, Inventory
from scanners.native import native_plan
from scanners.processes import python_tools, sandbox
from scanners.processes.python_tools import RECIPES, install_tool
from tests.support.native import needs

DOCS = Path(__file__).parents[2] / "docs" / "scanners.md"


def put(directory: Path, name: str, script: str) -> None:
    """A program of this name, first on the PATH."""
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for stand-ins that only say their version, and no other program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


async def test_what_is_here_is_told_with_its_version_and_what_is_not_with_the_way_to_it(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_PROBE", inventory._PROBE.model_copy(
        update={"time_limit_seconds": 1}))  # fmt: skip
    put(programs, "trivy", "echo 'Version: 0.57.1'")
    put(programs, "nuclei", "echo '[INF] Nuclei Engine Version: v3.3.7' >&2")
    put(programs, "kube-bench", "exec /bin/sleep 60")
    known = {each.name: each for each in await Inventory().list(Settings())}
    assert (known["trivy"].state, known["trivy"].version) == (ScannerState.INSTALLED, "0.57.1")
    assert known["nuclei"].version == "3.3.7"
    assert (known["kube_bench"].state, known["kube_bench"].version) == (
        ScannerState.INSTALLED, None
    )  # fmt: skip
    assert known["zap"].state is ScannerState.MISSING
    assert known["zap"].fix
    assert known["steampipe"].state is ScannerState.NOT_CONFIGURED


async def test_the_programs_are_asked_once_for_many_who_ask(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = programs / "asked"
    put(programs, "trivy", f"echo once >> {asked}; echo 'Version: 0.57.1'")
    shared, settings = Inventory(), Settings()
    await asyncio.gather(*(shared.list(settings) for _ in range(10)))
    assert asked.read_text() == "once\n"
    monkeypatch.setattr(inventory, "FRESH_SECONDS", -1)
    await shared.list(settings)
    assert asked.read_text() == "once\nonce\n"


async def test_the_real_ones_say_the_versions_that_the_adapters_were_written_for() -> None:
    needs("nmap", "nmap")
    needs("testssl", "testssl.sh")
    for program in RECIPES:
        install_tool(program)
    known = {each.name: each for each in await Inventory().list(Settings())}
    for name in ("nmap", "testssl", *RECIPES):
        assert known[name].state is ScannerState.INSTALLED
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", known[name].version or "")
    assert {name: known[name].version for name in RECIPES} == {
        name: recipe.version for name, recipe in RECIPES.items()
    }


def test_every_adapter_has_a_program_in_the_list() -> None:
    names = {each.name for each in PROGRAMS}
    assert {tool.value.removesuffix("_image").removesuffix("_fs").removesuffix("_k8s")
            for tool in NativeTool} == names  # fmt: skip


def test_the_table_of_the_documentation_says_what_the_code_does() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCS.read_text().splitlines()
        if line.startswith("| `")
    ]
    told = {row[0].strip("`"): row for row in rows}
    for each in PROGRAMS:
        _, version, licence, source, tried = told[each.name][:5]
        assert (version, licence, source) == (each.written_for, each.licence, each.source)
        assert tried.startswith("yes" if each.is_tried else "no")


def test_pinned_requirements_name_the_versions_and_no_addresses() -> None:
    for package, recipe in RECIPES.items():
        lines = recipe.requirements.read_text().splitlines()
        assert f"{package}=={recipe.version}" in lines
        assert all(re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[0-9a-z.]+", each) for each in lines)


def test_an_environment_is_used_only_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_tools, "environment_of", lambda program: tmp_path / program)
    assert python_tools.where_is("sslyze") == "sslyze"
    assert not python_tools.is_here("sslyze")
    program = tmp_path / "sslyze" / "bin" / "sslyze"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)  # half made: pip was killed
    assert python_tools.where_is("sslyze") == "sslyze"
    assert not python_tools.is_runnable("sslyze")
    assert not native_plan.is_installed(NativeTool.SSLYZE)
    monkeypatch.setattr(python_tools, "is_installed", lambda recipe, target: True)
    assert python_tools.where_is("sslyze") == str(program)
    assert native_plan.is_installed(NativeTool.SSLYZE)


def test_whether_a_process_can_have_no_network_is_found_out_once() -> None:
    assert sandbox.offers_no_network() is sandbox.offers_no_network()
