"""Running Prowler shards in tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from contracts.accounts import FileCredentials
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.vocabulary import FindingStatus, Provider
from demo import cloud as demo
from runtime.settings import Settings
from scanners.prowler import prowler
from scanners.prowler.prowler_environment import environment_of


@dataclass
class Outcome:
    """All that a shard said."""

    findings: list[ObservedFinding] = field(default_factory=list)
    progress: list[prowler.ShardProgress] = field(default_factory=list)
    result: prowler.ShardResult | None = None

    @property
    def last_word(self) -> prowler.ShardResult:
        """The shard's result."""
        assert self.result is not None
        return self.result

    @property
    def distrusted(self) -> set[CoveredCheck]:
        """Whose verdicts the result takes back."""
        return set(self.last_word.not_assessed)

    def verdicts(self) -> set[tuple[str, str, str, str, FindingStatus]]:
        """The findings, with the status that stands after the last word."""
        return {
            (
                f.check_id,
                f.region,
                f.resource_uid,
                f.resource_name,
                FindingStatus.NOT_ASSESSED
                if CoveredCheck(f.check_id, f.region) in self.distrusted
                else f.status,
            )
            for f in self.findings
        }


def credentials_file(directory: Path) -> FileCredentials:
    """The demo cloud's key as a credentials file."""
    path = directory / "credentials"
    path.write_text(
        "[default]\n"
        f"aws_access_key_id = {demo.ACCESS_KEY_ID}\n"
        f"aws_secret_access_key = {demo.SECRET_ACCESS_KEY}\n"
    )
    return FileCredentials(path=str(path))


def job_for(
    url: str,
    credentials: FileCredentials,
    checks: Iterable[str],
    regions: Iterable[str] = demo.REGIONS,
) -> prowler.ProwlerJob:
    """A shard of the production account behind `url`."""
    return prowler.ProwlerJob(
        provider=Provider.AWS,
        account_uid=demo.PRODUCTION,
        credentials=credentials,
        endpoint_url=url,
        home_region=demo.HOME_REGION,
        regions=list(regions),
        checks=list(checks),
    )


def scans_clusters(settings: Settings) -> bool:
    """Whether Prowler's environment is the complete one, which the tests do not make."""
    environment = environment_of(settings.prowler_python)
    return bool(list(environment.glob("lib/python*/site-packages/kubernetes/client")))


async def run(job: prowler.ProwlerJob, settings: Settings) -> Outcome:
    """Run one shard to its end."""
    outcome = Outcome()
    async for message in prowler.run_shard(job, settings):
        match message:
            case prowler.FindingBatch(findings):
                outcome.findings += findings
            case prowler.ShardProgress():
                outcome.progress.append(message)
            case prowler.ShardResult():
                outcome.result = message
    return outcome


def scanner_processes(name: str = "") -> list[psutil.Process]:
    """Processes that a scanner of this test run started and that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            temporary = process.environ().get("TMPDIR", "")
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and _is_ours(temporary) and name in " ".join(process.cmdline()):
                found.append(process)
    return found


def _is_ours(temporary: str) -> bool:
    """A private directory of this process, which `private_directory` names after its id."""
    return f"cloudsweep-scanner-{os.getpid()}-" in temporary


async def until_scanner_runs(name: str) -> psutil.Process:
    """Wait until a process of a scanner has this in its command line."""
    async with asyncio.timeout(60):
        while True:
            found = scanner_processes(name)
            if found:
                return found[0]
            await asyncio.sleep(0.01)
