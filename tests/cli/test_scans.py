"""`cloudsweep scan`: started, watched, steered."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from tests.api.scripted import Script
from tests.cli.conftest import Command


async def test_a_scan_is_waited_for_line_by_line(script: Script, cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    waiting = asyncio.create_task(cloudsweep("scan start one --wait"))
    while not (found := (await cloudsweep("scan list --status running --json")).json["items"]):
        assert not waiting.done(), waiting.result()
    assert len(found) == 1
    script.go_on.set()
    ran = await waiting
    assert ran.code == 0, ran.err
    assert "checks 2/2" in ran.err
    assert "completed" in ran.out
    assert "2 of 2 shards done" in ran.out
    assert "\x1b" not in ran.out + ran.err
    listed = await cloudsweep("scan list")
    assert "completed" in listed.out
    assert "one" in listed.out
    tasks = await cloudsweep("scan tasks last")
    assert "compliance/0" in tasks.out


async def test_a_failed_scan_ends_with_1_and_its_fix(script: Script, cloudsweep: Command) -> None:
    script.credentials_are_accepted = False
    await cloudsweep("account add one")
    ran = await cloudsweep("scan start one --wait")
    assert ran.code == 1
    assert "The role may not be assumed." in ran.out
    assert "Mend its trust policy." in ran.out
    as_json = await cloudsweep("scan watch last --json")
    assert as_json.code == 1
    assert as_json.json["error"]["code"] == "credentials_rejected"


async def test_ctrl_c_leaves_the_scan_running(script: Script, cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "scan", "start", "one", "--wait"),
        env={**os.environ, **cloudsweep.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"checks" not in await process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 130
    words = errors.decode()
    assert "The scan goes on" in words
    assert "cloudsweep scan watch" in words
    assert "cloudsweep scan cancel" in words
    assert "Traceback" not in words
    assert (await cloudsweep("scan show last --json")).json["status"] == "running"
    script.go_on.set()
    assert (await cloudsweep("scan watch last")).code == 0


async def test_a_scan_is_steered(script: Script, cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    started = await cloudsweep("scan start one --services s3,iam --no-discovery --json")
    scan = started.json
    assert scan["options"]["services"] == ["s3", "iam"]
    assert scan["options"]["discovery"] is False
    part = scan["id"][-8:]

    async def reach(status: str) -> None:
        while (await cloudsweep(f"scan show {part} --json")).json["status"] != status:
            pass

    await reach("running")
    assert (await cloudsweep(f"scan pause {part}")).code == 0
    await reach("paused")
    refused = await cloudsweep(f"scan pause {part}")
    assert refused.code == 1
    assert "paused" in refused.err
    assert (await cloudsweep(f"scan resume {part}")).code == 0
    await reach("running")
    assert (await cloudsweep(f"scan cancel {part} --json")).code == 0
    await reach("cancelled")
    assert (await cloudsweep(f"scan watch {part}")).code == 1
    shown = (await cloudsweep(f"scan show {part}")).out
    assert "services: s3, iam" in shown
    assert "discovery: no" in shown


async def test_a_scan_that_waits_says_for_what(cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    ran = await cloudsweep("scan start one")
    assert ran.code == 0
    assert "No worker polls" in ran.out
    assert "scan watch" in ran.err


async def test_the_same_key_gives_the_same_scan(cloudsweep: Command) -> None:
    await cloudsweep("account add one")
    line = "scan start one --idempotency-key nightly --json"
    first, again = await cloudsweep(line), await cloudsweep(line)
    assert first.json["id"] == again.json["id"]
    other = await cloudsweep(f"{line} --regions eu-west-1")
    assert other.code == 1
    assert json.loads(other.err)["code"] == "conflict"
