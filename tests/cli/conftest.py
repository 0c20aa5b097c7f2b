"""The command in a process of its own, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner

from cli import app as command
from commands.client import Failure
from commands.output import complain
from contracts.vocabulary import Role
from runtime.settings import Settings, get_settings
from tests.api.conftest import (  # noqa: F401  (fixtures)
    Team,
    app,
    database,
    idle_namespace,
    namespace,
    script,
    settings,
    shared_database_url,
    team,
    worked_namespace,
)


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


async def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Ran:
    """Run the command to its end, with nothing but this in its environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        env={
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            **environment,
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(process.returncode or 0, out.decode(), err.decode())


class Command:
    """The command with a server and a key."""

    def __init__(self, url: str, key: str) -> None:
        self.environment = {"CLOUDSWEEP_API_URL": url, "CLOUDSWEEP_API_KEY": key}

    async def __call__(self, line: str, *more: str, stdin: bytes = b"", **environment: str) -> Ran:
        """Run `cloudsweep LINE MORE...`; the line is split at blanks."""
        return await run(*line.split(), *more, stdin=stdin, **self.environment | environment)


class InProcess(Command):
    """The same within this process, without the second that a new one takes to start."""

    async def __call__(self, line: str, *more: str, stdin: bytes = b"", **environment: str) -> Ran:
        """Run `cloudsweep LINE MORE...` in a thread; its server is in this one."""
        arguments = [*line.split(), *more]
        return await asyncio.to_thread(_invoke, arguments, stdin, self.environment | environment)


def _invoke(arguments: list[str], stdin: bytes, environment: dict[str, str]) -> Ran:
    get_settings.cache_clear()
    try:
        result = CliRunner().invoke(command, arguments, input=stdin, env=environment)
    finally:
        get_settings.cache_clear()
    failure, errors = result.exception, result.stderr
    if isinstance(failure, Failure):
        with redirect_stderr(StringIO()) as said:
            complain(failure, "--json" in arguments)
        return Ran(failure.code, result.stdout, errors + said.getvalue())
    if failure is not None and not isinstance(failure, SystemExit):
        raise failure
    return Ran(result.exit_code, result.stdout, errors)


class Listening(uvicorn.Server):
    """Says when it listens; leaves the signals of the test run alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
async def served(app: FastAPI, settings: Settings) -> AsyncIterator[str]:  # noqa: F811
    """The URL of the app, listening."""
    config = uvicorn.Config(
        app,
        port=settings.api_port,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=30,  # else a client that was cut off is waited for without end
    )
    server = Listening(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(60):
        await server.listening.wait()
    yield f"http://127.0.0.1:{settings.api_port}"
    server.should_exit = True
    await serving


@pytest.fixture
def cloudsweep(served: str, team: Team) -> Command:  # noqa: F811
    """The command as an admin of the test's team."""
    return Command(served, team.keys[Role.ADMIN])


@pytest.fixture
def in_process(served: str, team: Team) -> InProcess:  # noqa: F811
    """The command as an admin of the test's team, in this process."""
    return InProcess(served, team.keys[Role.ADMIN])


@pytest.fixture
def data_dir(served: str, team: Team, tmp_path: Path) -> Path:  # noqa: F811
    """A data directory as `cloudsweep up` leaves it."""
    (tmp_path / "stack.json").write_text(json.dumps({"api_url": served}))
    (tmp_path / "admin.key").write_text(f"{team.keys[Role.ADMIN]}\n")
    return tmp_path
