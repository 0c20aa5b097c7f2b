"""One shard: every planned check once, its verdicts out as soon as it is done, then the report."""

from __future__ import annotations

import ctypes
import gc
import importlib
import resource
from collections import Counter
from types import SimpleNamespace
from typing import Any

from scanners.prowler_runner.assessment import EVERYWHERE, Assessment
from scanners.prowler_runner.check_texts import Texts
from scanners.prowler_runner.cloud import forget_module, forget_service
from scanners.prowler_runner.records import Records

BATCH = 500
BATCH_BYTES = 500_000
DETAIL_LIMIT = 50_000
"""Characters of one verdict's words; some checks list every member of a large group."""


def run_checks(
    provider: str, cloud: Any, texts: Texts, assessment: Assessment, checks: list[str], out: Records
) -> None:
    """Run the checks in Prowler's order; a check that fails is reported, never silent."""
    from prowler.lib.outputs.finding import Finding
    from prowler.providers.common.models import Audit_Metadata

    cloud.audit_metadata = Audit_Metadata(
        services_scanned=0, expected_checks=checks, completed_checks=0, audit_progress=0
    )
    options = SimpleNamespace(unix_timestamp=False, bulk_checks_metadata={})
    users = _users(texts, checks)
    log, memory = assessment.log, _Memory()
    for number, check in enumerate(checks, start=1):
        service = check.split("_")[0]
        module = f"prowler.providers.{provider}.services.{service}.{check}.{check}"
        reports: list[Any] = []
        try:
            made = getattr(importlib.import_module(module), check)()
            log.current_check = check
            reports = made.execute()
            assessment.completed.add(check)
        except ModuleNotFoundError as error:
            assessment.missing[check] = f"{error}"
        except Exception as error:
            assessment.crashed[check] = f"failed with {type(error).__name__}: {error}"
        finally:
            log.current_check = ""
        rows = []
        for report in reports:
            try:
                rows.append(_row(Finding.generate_output(cloud, report, options)))
            except Exception:
                # Prowler leaves such a verdict out of its own report as well.
                assessment.dropped[check] = assessment.dropped.get(check, 0) + 1
        _send(check, service, rows, assessment, out)
        out.write("progress", done=number, total=len(checks), check=check)
        forget_module(module)
        for used in _transitive(texts, check):
            users[used] -= 1
            if not users[used]:
                forget_service(provider, used, cloud)
        memory.trim()


class _Memory:
    """Collects forgotten services when they are worth it: a full collection takes its time."""

    GROWTH = 16 * 1024 * 1024

    def __init__(self) -> None:
        self._floor = _resident()
        # What is freed between what is in use goes back to the system too, where libc can do it.
        self._give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)

    def trim(self) -> None:
        if _resident() - self._floor > self.GROWTH:
            gc.collect()
            self._give_back(0)
            self._floor = _resident()


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where there is no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _row(finding: Any) -> list[str]:
    return [
        finding.region,
        finding.resource_uid,
        finding.resource_name,
        finding.resource_type,
        finding.severity.value,
        finding.status.value.lower(),
        finding.status_extended[:DETAIL_LIMIT],
    ]


def _send(
    check: str, service: str, rows: list[list[str]], assessment: Assessment, out: Records
) -> None:
    bad = assessment.tainted().get(check, set())
    batch: list[list[str]] = []
    size = 0
    for row in rows:
        assessment.saw(check, row[0])
        if EVERYWHERE in bad or row[0] in bad:
            row[5] = "not_assessed"
        batch.append(row)
        size += len(row[6]) + 300
        if len(batch) == BATCH or size > BATCH_BYTES:
            out.write("findings", check=check, service=service, rows=batch)
            batch, size = [], 0
    if batch:
        out.write("findings", check=check, service=service, rows=batch)


def _transitive(texts: Texts, check: str) -> set[str]:
    """Service modules that live as long as this check is to come."""
    known = texts.clients.checks.get(check)
    waiting = list(known.services) if known else []
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += texts.clients.uses.get(module, ())
    return found


def _users(texts: Texts, checks: list[str]) -> Counter[str]:
    return Counter(module for check in checks for module in _transitive(texts, check))
