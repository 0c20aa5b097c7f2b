"""One run of a native scanner: its command in its cage, and what its report says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from contracts.errors import ReportMalformed, ScannerCrashed, ScannerTimedOut, ScopeInvalid
from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    Checkpoint,
    NativeFinding,
    ScanPolicy,
    ToolProgress,
    ToolReport,
)
from scanners.native.native import Adapter
from scanners.processes.process import private_directory
from scanners.processes.python_tools import where_is
from scanners.processes.sandbox import Ended, caged

TargetT = TypeVar("TargetT")


async def assess(
    adapter: Adapter[TargetT],
    target: TargetT,
    policy: ScanPolicy,
    *,
    begun: bytes | None = None,
) -> AsyncGenerator[ToolProgress | Checkpoint | NativeFinding | AssetCoverage | ToolReport, None]:
    """Progress while the tool runs, then findings and coverage, and one ToolReport at the end.

    An identity comes once. What a run that was killed had `begun`, its last Checkpoint, is not
    done again and is part of the report.

    A tool that is stopped for its time limit may have kept what it found: then that comes, and
    nothing counts as wholly assessed. No process is left once the generator is closed or has
    raised. Raises ScannerMissing, ScannerCrashed, ScannerTimedOut or ReportMalformed.
    """
    with private_directory() as directory:
        report = directory / adapter.report
        await asyncio.to_thread(adapter.prepare, target, policy, directory)
        command = _command(adapter, target, policy, directory, begun)
        command[0] = where_is(adapter.program)
        ended: Ended | None = None
        weakness: str | None = None
        kept = len(begun or b"")
        try:
            words = caged(
                adapter.tool.value,
                command,
                policy,
                directory,
                output=adapter.output,
                needs_network=adapter.needs_network,
            )
            async with aclosing(words) as said:
                async for each in said:
                    if isinstance(each, Ended):
                        ended, weakness = each, adapter.failure(each.exit_code)
                        continue
                    if progress := adapter.progress(each.line):
                        yield progress
                    done = adapter.checkpoint(report)
                    if done and len(done) > kept:
                        kept = len(done)
                        yield Checkpoint(done)
        except ScannerTimedOut as late:
            if not (adapter.keeps_partial and report.exists()):
                raise
            weakness = late.message
        if ended and not report.exists():
            raise _no_report(adapter, ended, weakness)
        known, coverage = set[tuple[str, ...]](), list[AssetCoverage]()
        try:
            for number, item in enumerate(adapter.parse(report, target)):
                if isinstance(item, AssetCoverage):
                    item = _weakened(item, weakness)
                    coverage.append(item)
                elif item.identity in known:
                    continue  # a tool may say the same twice; what follows counts on once
                else:
                    known.add(item.identity)
                yield item
                if number % 50 == 0:
                    await asyncio.sleep(0)  # a long report must not keep heartbeats waiting
        except ReportMalformed as error:
            if ended is None or weakness:
                raise _no_report(adapter, ended, weakness) from error
            raise
        code = ended.exit_code if ended else None
        yield ToolReport(adapter.tool, code, len(known), tuple(coverage))


def _command(
    adapter: Adapter[TargetT],
    target: TargetT,
    policy: ScanPolicy,
    directory: Path,
    begun: bytes | None,
) -> list[str]:
    if begun is not None and adapter.resume is not None:
        report = directory / adapter.report
        report.write_bytes(begun)
        try:
            return adapter.resume(report, target, policy, directory)
        except ScopeInvalid:  # of another policy, or of ports that are closed to it now
            report.unlink()
    return adapter.command(target, policy, directory)


def _weakened(coverage: AssetCoverage, weakness: str | None) -> AssetCoverage:
    if weakness and coverage.outcome is AssetOutcome.ASSESSED:
        return coverage._replace(outcome=AssetOutcome.PARTIAL, reason=weakness)
    return coverage


def _no_report(
    adapter: Adapter[TargetT], ended: Ended | None, weakness: str | None
) -> ScannerCrashed:
    if ended is None:
        return ScannerCrashed(f"{adapter.tool}: {weakness}")
    how = weakness or f"ended with exit code {ended.exit_code}"
    said = f" It said: {ended.complaint}" if ended.complaint else ""
    return ScannerCrashed(f"{adapter.tool} {how}, without a report that can be read.{said}")
