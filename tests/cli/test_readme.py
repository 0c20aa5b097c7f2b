"""The scheduling examples of the README, pasted into a shell against a real server."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command

README = (Path(__file__).parents[2] / "README.md").read_text()


def examples() -> list[str]:
    """The lines of the block under the heading on schedules, less their comments."""
    section = README.partition("\n## Plan scans\n")[2].partition("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line for line in block[1].splitlines() if line and not line.startswith("#")]


@pytest.fixture
def environment(cloudsweep: Command) -> dict[str, str]:
    """A shell's, in which `cloudsweep` is ours and knows the server."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **cloudsweep.environment, "PATH": path}


async def test_each_scheduling_example_works_as_it_is_printed(
    cloudsweep: Command, environment: dict[str, str]
) -> None:
    added = await cloudsweep("account add production --provider aws")
    assert added.code == 0, added.err

    for line in examples():
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", line),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await shell.communicate()
        assert shell.returncode == 0, f"{line}\n{said.decode()}"

    listed = (await cloudsweep("schedule list --json")).json["items"]
    assert [schedule["name"] for schedule in listed] == [
        *("nightly", "off-hours", "tonight", "weekly", "expiring")
    ]
    assert all(schedule["status"] == "active" for schedule in listed)


def test_there_are_five_examples_and_each_says_what_it_is_for() -> None:
    section = README.partition("\n## Plan scans\n")[2].partition("\n## ")[0]

    assert len(re.findall(r"^# ", section, re.MULTILINE)) == 5
