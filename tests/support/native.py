"""Running native scanners in tests: the real ones where this machine has them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import pytest

from contracts.native import (
    AssetCoverage,
    AssetOutcome,
    NativeFinding,
    ScanPolicy,
    ToolProgress,
    ToolReport,
)
from scanners.native.native import Adapter, Reported
from scanners.native.native_run import assess

TargetT = TypeVar("TargetT")

SHORT = ScanPolicy(name="tests", timing=4, rate=2_000, checks="quick", time_limit_seconds=240)


class Outcome(NamedTuple):
    """Everything that one run brought."""

    findings: list[NativeFinding]
    coverage: list[AssetCoverage]
    progress: list[ToolProgress]
    report: ToolReport | None

    def by_rule(self, rule: str) -> NativeFinding:
        """The only finding of a rule."""
        (found,) = (each for each in self.findings if each.rule == rule)
        return found

    def outcomes(self) -> dict[str, AssetOutcome]:
        """How far each asset was assessed."""
        return {each.asset: each.outcome for each in self.coverage}


async def run(adapter: Adapter[TargetT], target: TargetT, policy: ScanPolicy = SHORT) -> Outcome:
    """One real run to its end."""
    return sort([each async for each in assess(adapter, target, policy)])


def sort(items: Iterable[Reported | ToolProgress | ToolReport]) -> Outcome:
    """What a run or a parser brought, by kind."""
    every = list(items)
    reports = [each for each in every if isinstance(each, ToolReport)]
    return Outcome(
        [each for each in every if isinstance(each, NativeFinding)],
        [each for each in every if isinstance(each, AssetCoverage)],
        [each for each in every if isinstance(each, ToolProgress)],
        reports[-1] if reports else None,
    )


def needs(program: str, package: str) -> None:
    """Skip, by name, what needs a program that `make test` could not install here."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine; install {package}")
