"""Prowler as this product drives it: one runner process for each shard, its words as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import Field

from contracts.accounts import Credentials
from contracts.base import Contract
from contracts.errors import RateLimited, ReportMalformed, ScannerCrashed, ScannerMissing
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.scans import Coverage, Problem
from contracts.vocabulary import ErrorClass, FindingStatus, Provider, Severity
from runtime.redaction import redact
from runtime.settings import Settings
from scanners.credentials import runner_environment
from scanners.processes.process import ScannerProcess, private_directory, running
from scanners.prowler.prowler_environment import PROWLER_VERSION, texts_directories
from scanners.prowler.prowler_errors import explain_record
from scanners.prowler.prowler_services import REGIONAL_SERVICES

_RUNNER: Final = Path(__file__).parents[1] / "prowler_runner" / "run.py"
_FIXED_ENVIRONMENT: Final = {
    "TZ": "UTC",  # Prowler's times are local and without a zone
    "PYTHONHASHSEED": "0",  # it takes the first of a set of regions as the default one
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
    "MALLOC_ARENA_MAX": "2",  # ten threads per service would each keep their freed memory
    "PROWLER_SKIP_OUTBOUND_HOST_CHECK": "true",
}


class ProwlerJob(Contract):
    """One shard of one account: these checks in these regions."""

    provider: Provider
    account_uid: str | None
    credentials: Credentials
    endpoint_url: str | None = None
    home_region: str = ""
    regions: list[str] = Field(default_factory=list)
    checks: list[str]


class FindingBatch(NamedTuple):
    """Verdicts of one check; provisional until the ShardResult says what cannot be trusted."""

    findings: list[ObservedFinding]


class ShardProgress(NamedTuple):
    """Checks done of all; repeated every two seconds or so while nothing else happens."""

    done: int
    total: int
    check_id: str


class ShardResult(NamedTuple):
    """The last word: what was covered, and whose verdicts, sent before, are not to be trusted."""

    coverage: Coverage
    covered: list[CoveredCheck]
    not_assessed: list[CoveredCheck]


async def run_shard(
    job: ProwlerJob, settings: Settings
) -> AsyncGenerator[FindingBatch | ShardProgress | ShardResult, None]:
    """Assess one shard, yielding findings and progress, and one ShardResult at the end.

    No process of the shard is alive once the generator is closed or has raised. Raises
    ScannerCrashed, ScannerMissing, CredentialsRejected, TargetUnreachable, RateLimited,
    ScopeInvalid or ReportMalformed.
    """
    done, check = 0, ""
    total = len(job.checks)
    async with aclosing(_records(job, settings, "scan")) as records:
        async for record in records:
            match record:
                case {"kind": "findings"}:
                    yield FindingBatch(_findings(record))
                case {"kind": "progress", "done": int(done), "check": str(check)}:
                    yield ShardProgress(done, total, check)
                case {"kind": "alive"}:
                    yield ShardProgress(done, total, check)
                case {"kind": "report"}:
                    yield _result(record)
                    return
    raise ScannerCrashed("Prowler ended without a report.")


def unassessed(job: ProwlerJob, error: RateLimited) -> ShardResult:
    """The result of a shard that was throttled to the end: nothing covered, all of it doubted."""
    by_service: dict[str, list[str]] = {}
    for check in job.checks:
        by_service.setdefault(check.split("_")[0], []).append(check)
    not_assessed = _pairs((check, job.regions or [""]) for check in job.checks)
    coverage = Coverage(
        planned=len(job.checks),
        run=0,
        not_assessed=len(not_assessed),
        problems=[
            Problem(
                service=service,
                region=None,
                error_class=ErrorClass.THROTTLED,
                count=1,
                checks=checks,
                message=redact(error.message, limit=300),
            )
            for service, checks in by_service.items()
        ],
    )
    return ShardResult(coverage, [], not_assessed)


async def identity(job: ProwlerJob, settings: Settings) -> dict[str, Any]:
    """Who these credentials are, through Prowler: `accounts` that they see and `principal`."""
    async with aclosing(_records(job, settings, "identity")) as records:
        async for record in records:
            if record["kind"] == "identity":
                return record
    raise ScannerCrashed("Prowler ended without an identity.")


async def build_texts(provider: Provider, settings: Settings) -> None:
    """Keep what Prowler knows of a provider's checks where every run finds it."""
    async with aclosing(_runner(settings, _job(provider, settings, "texts"), {})) as records:
        async for record in records:
            if record["kind"] == "error":
                raise ScannerMissing(
                    f"Prowler's checks cannot be read: {redact(record['message'], limit=400)}",
                    fix="Run `cloudsweep scanners install prowler` on this worker.",
                )


def _job(provider: Provider, settings: Settings, mode: str) -> dict[str, Any]:
    return {
        "mode": mode,
        "provider": provider.value,
        "version": PROWLER_VERSION,
        "directories": [str(path) for path in texts_directories(settings)],
    }


async def _records(
    job: ProwlerJob, settings: Settings, mode: str
) -> AsyncGenerator[dict[str, Any], None]:
    """The runner's records; its last words, if they are an error, as our error."""
    made = runner_environment(
        job.provider,
        job.credentials,
        account_uid=job.account_uid,
        endpoint_url=job.endpoint_url,
        home_region=job.home_region,
    )
    endpoint = job.endpoint_url or made.env.get("AWS_ENDPOINT_URL")
    content = _job(job.provider, settings, mode) | {
        "arguments": made.arguments,
        "regions": job.regions,
        "checks": job.checks,
        "home_region": job.home_region,
        "regional_services": sorted(REGIONAL_SERVICES),
        "endpoint": endpoint if job.provider is Provider.AWS else None,
    }
    async with aclosing(_runner(settings, content, made.env)) as records:
        async for record in records:
            if record["kind"] == "error":
                raise explain_record(
                    str(record["code"]),
                    str(record["exception"]),
                    str(record["message"]),
                    provider=job.provider,
                    credentials=job.credentials,
                    endpoint_url=job.endpoint_url,
                )
            yield record


async def _runner(
    settings: Settings, job: dict[str, Any], env: dict[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    python = settings.prowler_python
    if not python.exists():
        raise ScannerMissing(
            f"Prowler is not installed on this worker: {python} does not exist.",
            fix="Run `cloudsweep scanners install prowler`, or let CLOUDSWEEP_PROWLER_PYTHON "
            "name the Python of an environment with Prowler.",
        )
    with private_directory() as directory:
        path = directory / "job.json"  # references and names only; secrets are in `env`
        path.write_text(json.dumps(job))
        # Absolute without following the link, which is what makes it that environment's Python.
        command = [str(python.absolute()), "-s", str(_RUNNER), str(path)]
        async with (
            running(command, env={**env, **_FIXED_ENVIRONMENT}, directory=directory) as process,
            aclosing(_parsed(process)) as records,
        ):
            ended = False
            async for record in records:
                ended = record["kind"] in ("report", "identity", "texts", "error")
                yield record
            code = await process.wait()
            if code != 0 and not ended:
                raise _crash(code, process)


async def _parsed(process: ScannerProcess) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(process.lines()) as lines:
        async for line in lines:
            try:
                record = json.loads(line)
                record["kind"]
            except (ValueError, TypeError, KeyError) as error:
                if not line.endswith(b"\n"):
                    continue  # cut off in the middle of a line: its exit code says how it ended
                raise ReportMalformed("Prowler's runner wrote a line that is no record.") from error
            yield record


def _crash(code: int, process: ScannerProcess) -> ScannerCrashed:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    tail = redact(process.error_tail(), limit=1000)
    return ScannerCrashed(
        f"Prowler {how} without a report." + (f" It said: {tail}" if tail else ""),
        fix="Signal 9 often means that the worker ran out of memory." if code == -9 else None,
    )


def _findings(record: dict[str, Any]) -> list[ObservedFinding]:
    check, service = str(record["check"]), str(record["service"])
    try:
        return [
            ObservedFinding(
                check_id=check,
                service=service,
                region=region,
                resource_uid=uid,
                resource_name=name,
                resource_type=kind,
                severity=Severity(severity),
                status=FindingStatus(status),
                detail=detail,
            )
            for region, uid, name, kind, severity, status, detail in record["rows"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ReportMalformed(f"A finding of {check} is not in the runner's shape.") from error


def _result(record: dict[str, Any]) -> ShardResult:
    not_assessed = _pairs(record["not_assessed"])
    problems = [
        Problem(
            service=problem["service"],
            region=problem["region"],
            error_class=ErrorClass(problem["error_class"]),
            count=problem["count"],
            checks=problem["checks"],
            message=redact(" ".join(problem["message"].split()), limit=300),
        )
        for problem in record["problems"]
    ]
    coverage = Coverage(
        planned=record["planned"],
        run=record["run"],
        not_assessed=len(not_assessed),
        problems=problems,
    )
    return ShardResult(coverage, _pairs(record["covered"]), not_assessed)


def _pairs(checks: Iterable[tuple[str, list[str]]]) -> list[CoveredCheck]:
    return [CoveredCheck(check, region) for check, regions in checks for region in regions]
