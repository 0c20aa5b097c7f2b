"""PostgreSQL refuses to run as root; we run it as nobody, or say why that cannot be done here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from runtime.embedded import processes

SCRIPT = """
import asyncio, pathlib, sys
import asyncpg
from runtime.embedded.postgres import running_postgres
from runtime.embedded.processes import StackFailed

async def main():
    try:
        async with running_postgres(pathlib.Path(sys.argv[1])) as url:
            connection = await asyncpg.connect(url)
            print("it answers", await connection.fetchval("SELECT 6 * 7"))
            await connection.close()
    except StackFailed as error:
        print(error.message, error.fix)

asyncio.run(main())
"""
CONTAINER_DEFAULT = (
    "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,"
    "+net_bind_service,+sys_chroot,+kill,+audit_write"
)


async def run_with(capabilities: str, data_dir: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *("setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}", "--"),
        *(sys.executable, "-c", SCRIPT, str(data_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_a_containers_default_capabilities_suffice(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert await run_with(CONTAINER_DEFAULT, closed / "data") == "it answers 42\n"
    assert processes.marked(closed / "data") == []


async def test_without_the_right_to_change_user_there_is_a_reason_and_a_fix(
    tmp_path: Path,
) -> None:
    output = await run_with("-all,+chown,+dac_override", tmp_path)
    assert "PostgreSQL refuses to run as root" in output
    assert "CLOUDSWEEP_DATABASE_URL" in output
    assert "SETPCAP" in output
