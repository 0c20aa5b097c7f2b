"""Tools that go wrong, and tools that tell what somebody hostile wrote, through the whole of us."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from temporalio.client import Client

from runtime import policies
from runtime.settings import Settings
from scanners.processes import process as process_module
from tests.api.scheduled import until
from tests.api.scripted import Script
from tests.support import unruly_tool
from tests.support.unruly_tool import HOSTILE

Row = dict[str, Any]
IMAGE = "127.0.0.1:5000/app"
LIMITS: Row = {
    "checks": "quick", "time_limit_seconds": 5, "process_limit": 8, "output_limit_mb": 1,
    "memory_limit_mb": 256,
}  # fmt: skip
WAYS = {
    "hangs": r"trivy_image was stopped: it did not finish within 5 s",
    "forks": r"trivy_image was stopped: it had \d+ processes; its policy allows 8",
    "floods": r"trivy_image was stopped: it wrote without end into a file: over 1 MB",
    "two-gigabytes": r"trivy_image was stopped: it wrote without end into a file: over 1 MB",
    "silent": r"trivy_image ended with exit code 0, without a report",
    "killed": r"trivy_image ended with exit code -9, without a report",
}
MISSING = r"trivy_image is not installed on this worker"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where a registry may be on loopback; the stand-in asks none."""
    return settings.model_copy(update={"allow_loopback_targets": True})


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in on the PATH; it is tried once, and killed at once when it ignores SIGTERM."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(policies, "SCANNER_TRIES", 1)
    return unruly_tool.put(tmp_path)


async def add_images(admin: httpx.AsyncClient, *tags: str) -> list[str]:
    """The ids of images with these tags, and a tight policy for them."""
    allows = [{"kind": "image", "value": IMAGE}, {"kind": "cidr", "value": "127.0.0.1/32"}]
    scope = {"name": "lab", "allows": allows}
    assert (await admin.post("scopes", json=scope)).status_code == 201
    assert (await admin.put("scan-policies/tight", json=LIMITS)).status_code == 201
    made = [
        await admin.post("targets", json={"kind": "image", "value": f"{IMAGE}:{tag}"})
        for tag in tags
    ]
    assert [each.status_code for each in made] == [201] * len(tags)
    return [each.json()["id"] for each in made]


async def scan(operator: httpx.AsyncClient, targets: list[str]) -> Row:
    """The scan, once it has ended."""
    body = {"targets": targets, "tools": ["trivy_image"], "policy": "tight"}
    answer = await operator.post("scans/native", json=body)
    assert answer.status_code == 202, answer.text
    return await until(operator, f"scans/{answer.json()['id']}", lambda row: row["finished_at"])


async def errors(operator: httpx.AsyncClient, scan: Row) -> dict[str, str]:
    """What is said of each shard that failed, by the tag of its image."""
    page = (await operator.get(f"scans/{scan['id']}/tasks?limit=50")).json()["items"]
    failed = [each for each in page if each["status"] == "failed"]
    return {each["key"].rpartition(":")[2]: each["error"]["message"] for each in failed}


async def open_findings(operator: httpx.AsyncClient) -> set[str]:
    page = (await operator.get("findings?state=open&limit=100")).json()
    return {each["id"] for each in page["items"]}


def left_of(program: Path) -> list[str]:
    """Processes of the stand-in, and directories of its runs."""
    running = [
        str(each.pid)
        for each in psutil.process_iter(["cmdline"])
        if str(program) in (each.info["cmdline"] or [])
    ]
    ours = Path(tempfile.gettempdir()).glob(f"cloudsweep-scanner-{os.getpid()}-*")
    return [*running, *map(str, ours)]


async def test_a_tool_that_is_missing_hangs_floods_forks_is_silent_or_killed_resolves_nothing(
    script: Script, operator: httpx.AsyncClient, admin: httpx.AsyncClient, program: Path
) -> None:
    targets = await add_images(admin, *WAYS)
    calm = program.parent / "calm"
    calm.touch()
    sound = await scan(operator, targets)
    assert sound["status"] == "completed", sound
    before = await open_findings(operator)
    assert len(before) == len(WAYS)

    calm.unlink()
    unruly = await scan(operator, targets)
    said = await errors(operator, unruly)
    assert said.keys() == WAYS.keys()
    for way, words in WAYS.items():
        assert re.match(words, said[way]), (way, said[way])
    program.unlink()  # noqa: ASYNC240 (a file of nothing)
    missing = await scan(operator, targets)
    assert all(re.match(MISSING, each) for each in (await errors(operator, missing)).values())
    for each in (unruly, missing):
        assert each["status"] == "failed", each
        assert each["counts"]["findings"]["resolved"] == 0
    assert await open_findings(operator) == before
    assert left_of(program) == []


def assert_is_harmless(value: Any) -> None:
    """No text in it moves a cursor, turns text around or is followed as a link."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            assert_is_harmless(each)
    elif isinstance(value, str):
        assert value.replace("\n", "").isprintable(), value
        assert not value.startswith("javascript:")


async def test_hostile_words_of_a_tool_are_harmless_wherever_they_are_shown(
    script: Script, operator: httpx.AsyncClient, admin: httpx.AsyncClient, program: Path,
    worked_namespace: Client,
) -> None:  # fmt: skip
    done = await scan(operator, await add_images(admin, "works", "complains"))
    assert done["status"] == "completed_with_errors", done
    (words,) = (await errors(operator, done)).values()
    assert "owned" in words
    page = (await operator.get("findings?state=open")).json()
    assert "<script>" in page["items"][0]["detail"]  # kept, for people have to see it
    assert page["items"][0]["detail"].startswith(HOSTILE[:10])
    assert_is_harmless([page, done, words, (await operator.get("checks/CVE-2023-0286")).json()])
    for format in ("ndjson", "ocsf"):
        answer = await operator.get("findings/export", params={"format": format})
        assert_is_harmless([json.loads(line) for line in answer.text.splitlines()])
    answer = await operator.get("findings/export?format=csv")
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert_is_harmless(row)
    assert row["detail"].startswith("'=cmd")
    history = await worked_namespace.get_workflow_handle(f"scan/{done['id']}").fetch_history()
    assert "\\u001b" not in history.to_json()
