"""What the runner can be asked for: a scan, an identity, the texts of all checks.

The job: {"mode": "scan" | "identity" | "texts", "provider", "arguments", "regions",
"home_region", "checks", "regional_services", "endpoint", "directories", "version"}.
Credentials come from the environment.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path
from typing import Any

from scanners.prowler_runner.records import Records


def main() -> None:
    """Run the job and end the process; the last record is a report, an identity or an error."""
    out = Records()
    job = json.loads(Path(sys.argv[1]).read_bytes())
    gc.disable()  # what is imported stays; collecting it again and again is wasted
    try:
        modes = {"scan": _scan, "identity": _identity, "texts": _texts}
        modes[job["mode"]](job, out)
    except ModuleNotFoundError as error:
        out.fail("missing", str(error), exception="ModuleNotFoundError")
    except BaseException as error:
        cause = getattr(error, "original_exception", None) or error.__cause__ or error.__context__
        words = f"{error}" if cause is None else f"{error} ({type(cause).__name__}: {cause})"
        out.fail("failed", words, exception=_names(error, cause))
    out.end(0)


def _names(*errors: BaseException | None) -> str:
    """Class names and API error codes, most telling first, for `explain()` to read."""
    found: list[str] = []
    for error in reversed(errors):
        if error is None:
            continue
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found.append(str(response.get("Error", {}).get("Code", "")))
        found += [kind.__name__ for kind in type(error).__mro__[:-3]]
    return " ".join(found)


def _texts(job: dict[str, Any], out: Records) -> None:
    from scanners.prowler_runner.check_texts import build

    texts = build(job["directories"], job["version"], job["provider"])
    out.write("texts", checks=len(texts.checks))


def _identity(job: dict[str, Any], out: Records) -> None:
    from scanners.prowler_runner.cloud import identity_of, make_provider

    cloud = make_provider(job["provider"], job["arguments"], job["regions"])
    out.write("identity", **identity_of(job["provider"], cloud))


def _scan(job: dict[str, Any], out: Records) -> None:
    from scanners.prowler_runner.assessment import Assessment
    from scanners.prowler_runner.check_texts import load_texts, services_directory
    from scanners.prowler_runner.cloud import make_provider, prepare_aws, prepare_checks
    from scanners.prowler_runner.failures import FailureLog
    from scanners.prowler_runner.scan import run_checks

    provider: str = job["provider"]
    _children_die_with_us()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))  # a pool for each client
    texts = load_texts(job["directories"], job["version"], provider)
    log = FailureLog(
        f"{services_directory(provider)}/",
        job["endpoint"],
        lambda kind, message: out.fail(kind, message),
    )
    log.watch_log()
    checks = sorted(job["checks"])
    unknown = [check for check in checks if check not in texts.checks]
    if unknown:
        out.fail("scope", f"Prowler has no check {', '.join(unknown[:5])}")
    texts = texts._replace(checks={check: texts.checks[check] for check in checks})
    regional = set(job["regional_services"])
    cloud = make_provider(
        provider,
        {**job["arguments"], "config_content": texts.configuration},
        job["regions"],
        home_region=job["home_region"],
        pinned={check.split("_")[0] for check in checks} <= regional,
    )
    log.counts.clear()  # what mattered of connecting was raised
    prepare_checks(texts)
    global_region = ""
    if provider == "aws":
        prepare_aws()
        log.watch_aws()
        global_region = cloud.get_global_region()
    assessment = Assessment(checks, job["regions"], global_region, regional, texts.clients, log)
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)
    run_checks(provider, cloud, texts, assessment, checks, out)
    out.write("report", **assessment.report())


def _children_die_with_us() -> None:
    """Prowler starts a secret scanner: should we be killed, the kernel ends it too (Linux)."""
    import ctypes
    import signal
    import subprocess

    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    start = subprocess.Popen.__init__

    def started(self: Any, *arguments: Any, **options: Any) -> None:
        options.setdefault("preexec_fn", lambda: libc.prctl(1, signal.SIGKILL))
        start(self, *arguments, **options)

    subprocess.Popen.__init__ = started  # type: ignore[method-assign]
