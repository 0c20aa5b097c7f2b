"""Every scanner that Cloudsweep knows: what it is, where it comes from, whether it is here."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing
from typing import Final, NamedTuple

from contracts.errors import CloudsweepError
from contracts.native import ScannerInfo, ScannerState, ScanPolicy
from runtime.settings import Settings
from scanners.processes import python_tools
from scanners.processes.process import private_directory
from scanners.processes.sandbox import Spoken, caged
from scanners.prowler.prowler_environment import PROWLER_VERSION

FRESH_SECONDS: Final = 60.0
"""How long an answer is repeated before the programs are asked again."""
_PROBE: Final = ScanPolicy(name="probe", time_limit_seconds=8, output_limit_mb=1)
_AT_A_TIME: Final = 4
_VERSION: Final = re.compile(r"(?:^|[\sv])(\d+\.\d+(?:\.\d+)?)(?=[\s,(]|$)")


class Program(NamedTuple):
    """A scanner that is a program on this machine."""

    name: str
    program: str
    ask: tuple[str, ...]
    """How it is asked for its version."""
    written_for: str
    licence: str
    scans: str
    source: str
    fix: str
    is_tried: bool = False


PROGRAMS: Final = (
    Program(
        "nmap", "nmap", ("--version",), "7.93", "NPSL",
        "open ports and services of hosts and networks", "Debian package nmap",
        "apt-get install nmap", True,
    ),
    Program(
        "testssl", "testssl", ("--version",), "3.0.8", "GPL-2.0",
        "protocols, certificate and weaknesses of a TLS server", "Debian package testssl.sh",
        "apt-get install testssl.sh", True,
    ),
    Program(
        "sslyze", "sslyze", (), "6.3.1", "AGPL-3.0",
        "protocols, certificate and weaknesses of a TLS server", "PyPI package sslyze",
        "cloudsweep scanners install sslyze", True,
    ),
    Program(
        "checkov", "checkov", (), "3.3.30", "Apache-2.0",
        "mistakes in infrastructure as code", "PyPI package checkov",
        "cloudsweep scanners install checkov", True,
    ),
    Program(
        "zap", "zap.sh", ("-cmd", "-version"), "2.16", "Apache-2.0",
        "weaknesses of a web application, from outside", "zaproxy.org",
        "install it from zaproxy.org so that zap.sh is on the PATH",
    ),
    Program(
        "trivy", "trivy", ("--version",), "0.57", "Apache-2.0",
        "vulnerable packages, mistakes and secrets in images, file systems and clusters",
        "trivy.dev", "install it from trivy.dev, with its database: it is not updated by a scan",
    ),
    Program(
        "nuclei", "nuclei", ("-version", "-duc"), "3.3", "MIT",
        "known weaknesses of web servers, by templates", "Project Discovery's releases of nuclei",
        "install nuclei from its releases, with its templates",
    ),
    Program(
        "kube_bench", "kube-bench", ("version",), "0.9", "Apache-2.0",
        "the CIS benchmark of a Kubernetes node", "Aqua Security's releases of kube-bench",
        "install kube-bench from its releases",
    ),
)  # fmt: skip


class Inventory:
    """Asks each program once in FRESH_SECONDS at most, and none for longer than a few seconds."""

    def __init__(self) -> None:
        self._known: list[ScannerInfo] = []
        self._known_at = float("-inf")
        self._asking = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def list(self, settings: Settings) -> list[ScannerInfo]:
        """All of them, in the order of this file; those of a cloud account first."""
        async with self._asking:  # who comes meanwhile takes the same answer
            if time.monotonic() - self._known_at > FRESH_SECONDS:
                programs = await asyncio.gather(*map(self._look, PROGRAMS))
                self._known, self._known_at = [*_of_accounts(settings), *programs], time.monotonic()
            return self._known

    async def _look(self, tool: Program) -> ScannerInfo:
        async with self._slots:
            if not await asyncio.to_thread(python_tools.is_runnable, tool.program):
                return _info(tool, ScannerState.MISSING, None)
            if await asyncio.to_thread(python_tools.where_is, tool.program) != tool.program:
                return _info(tool, ScannerState.INSTALLED, tool.written_for)
            return _info(tool, ScannerState.INSTALLED, await _version(tool))


async def _version(tool: Program) -> str | None:
    """What it says of itself; None when it says nothing in time."""
    said: list[str] = []
    with private_directory() as directory:
        command = [tool.program, *(tool.ask or ("--version",))]
        try:
            async with aclosing(caged(tool.name, command, _PROBE, directory)) as words:
                async for each in words:
                    said.append(each.line if isinstance(each, Spoken) else each.complaint)
        except CloudsweepError:
            return None
    return next((found[1] for line in said[:40] if (found := _VERSION.search(line))), None)


def _info(tool: Program, state: ScannerState, version: str | None) -> ScannerInfo:
    return ScannerInfo(
        name=tool.name,
        state=state,
        version=version,
        written_for=tool.written_for,
        licence=tool.licence,
        scans=tool.scans,
        source=tool.source,
        fix=None if state is ScannerState.INSTALLED else tool.fix,
        is_tried=tool.is_tried,
    )


def _of_accounts(settings: Settings) -> list[ScannerInfo]:
    has_prowler = settings.prowler_python.exists()
    has_steampipe = settings.steampipe_url is not None
    return [
        ScannerInfo(
            name="prowler",
            state=ScannerState.INSTALLED if has_prowler else ScannerState.MISSING,
            version=PROWLER_VERSION if has_prowler else None,
            written_for=PROWLER_VERSION,
            licence="Apache-2.0",
            scans="cloud accounts and clusters",
            source="PyPI package prowler",
            fix=None if has_prowler else "cloudsweep scanners install prowler",
            is_tried=True,
        ),
        ScannerInfo(
            name="steampipe",
            state=ScannerState.CONFIGURED if has_steampipe else ScannerState.NOT_CONFIGURED,
            version=None,
            written_for=None,
            licence="AGPL-3.0",
            scans="the inventory of cloud accounts",
            source="steampipe.io",
            fix=None if has_steampipe else "set CLOUDSWEEP_STEAMPIPE_URL",
            is_tried=False,
        ),
    ]
