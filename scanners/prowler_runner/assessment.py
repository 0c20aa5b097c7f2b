"""From failures to what can be believed: which check was assessed in which region."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from scanners.prowler_runner.client_map import ClientMap
from scanners.prowler_runner.failures import TAINTING, Failure, FailureLog

EVERYWHERE = ""
"""In place of a region: all regions of the check."""


class Assessment:
    """Keeps what ran and answers, at any time, what cannot be trusted by now."""

    def __init__(
        self,
        checks: list[str],
        regions: list[str],
        global_region: str,
        regional_services: set[str],
        clients: ClientMap,
        log: FailureLog,
    ) -> None:
        self._checks = checks
        self._planned = frozenset(checks)
        self._regions = regions
        self._global_region = global_region
        self._regional = regional_services
        self._clients = clients
        self.log = log
        self._reached: dict[tuple[str, tuple[str, ...]], set[str]] = {}
        self._known_failures = -1
        self._tainted: dict[str, set[str]] = {}
        self._seen: dict[str, set[str]] = defaultdict(set)
        self.completed: set[str] = set()
        self.crashed: dict[str, str] = {}  # check -> why
        self.missing: dict[str, str] = {}
        self.dropped: dict[str, int] = {}

    def saw(self, check: str, region: str) -> None:
        """A verdict of this check fell in this region."""
        self._seen[check].add(region)

    def tainted(self) -> dict[str, set[str]]:
        """Check -> regions whose verdicts cannot be trusted, `EVERYWHERE` for all."""
        if self._known_failures != len(self.log.counts):
            self._known_failures = len(self.log.counts)
            found: dict[str, set[str]] = defaultdict(set)
            for failure, _, _ in self.log.final():
                for check in self._checks_of(failure):
                    found[check].add(self._scope(check, failure))
            self._tainted = found
        return self._tainted

    def _checks_of(self, failure: Failure) -> set[str]:
        """The planned checks that a failed call may have misled."""
        if failure.error_class not in TAINTING:
            return set()
        key = (failure.module, failure.stack)
        if key not in self._reached:
            self._reached[key] = self._reach(*key)
        reached = self._reached[key]
        if failure.check:
            # It happened while a check ran: that one, and who reads what it left behind.
            return {failure.check} | (reached if self._fills(failure) else set())
        return reached

    def _reach(self, module: str, stack: tuple[str, ...]) -> set[str]:
        if not module:
            return set()
        return self._clients.affected(module, stack) & self._planned

    def _fills(self, failure: Failure) -> bool:
        known = self._clients.functions.get(failure.module, {})
        return any(known[name].writes for name in failure.stack if name in known)

    def _scope(self, check: str, failure: Failure) -> str:
        """One region only where both the check and the failing service are proven regional."""
        services = {check.split("_")[0], failure.module.split("/")[0] or failure.service}
        if failure.region is None or not services <= self._regional:
            return EVERYWHERE
        return failure.region

    def _regions_of(self, check: str) -> set[str]:
        """Where a check that ran says all there is: the regions of the shard, and for services
        with one endpoint for the whole account that endpoint's region."""
        regions = {*self._regions, *self._seen[check]}
        used = self._clients.checks.get(check)
        if used is not None and used.services & self._clients.account_wide:
            regions.add(self._global_region)
        return regions

    def report(self) -> dict[str, Any]:
        """The final word: what the caller may resolve, what it must not believe, and why."""
        self._known_failures = -1  # calls answered since may have changed what a failure means
        tainted = self.tainted()
        covered, not_assessed = [], []
        for check in self._checks:
            regions = self._regions_of(check)
            bad = tainted.get(check, set())
            if check not in self.completed or EVERYWHERE in bad:
                bad = regions = regions or {EVERYWHERE}  # nowhere known yet is a doubt too
            if regions - bad:
                covered.append((check, sorted(regions - bad)))
            if regions & bad:
                not_assessed.append((check, sorted(regions & bad)))
        return {
            "planned": len(self._checks),
            "run": len(self.completed),
            "covered": covered,
            "not_assessed": not_assessed,
            "problems": [*self._api_problems(), *self._check_problems()],
        }

    def _api_problems(self) -> list[dict[str, Any]]:
        """One for each class and service: where it happened, how often, whom it concerns."""
        grouped: dict[tuple[str, str], list[tuple[Failure, int, str]]] = defaultdict(list)
        for failure, count, example in self.log.final():
            service = failure.module.split("/")[0] or failure.service
            grouped[failure.error_class, service].append((failure, count, example))
        found = []
        for (error_class, service), items in sorted(grouped.items()):
            regions = {failure.region for failure, _, _ in items}
            checks: set[str] = set().union(*(self._checks_of(failure) for failure, _, _ in items))
            found.append(
                {
                    "service": service,
                    "region": regions.pop() if len(regions) == 1 else None,
                    "error_class": error_class,
                    "count": sum(count for _, count, _ in items),
                    "checks": sorted(checks),
                    "message": items[0][2],
                }
            )
        return found

    def _check_problems(self) -> list[dict[str, Any]]:
        reasons = [
            *((check, why) for check, why in self.crashed.items()),
            *((check, f"did not run: {why}") for check, why in self.missing.items()),
            *(
                (check, f"{count} verdicts without a resource were left out")
                for check, count in self.dropped.items()
            ),
        ]
        return [
            {
                "service": check.split("_")[0],
                "region": None,
                "error_class": "other",
                "count": 1,
                "checks": [check] if check not in self.completed else [],
                "message": f"{check} {why}",
            }
            for check, why in sorted(reasons)
        ]
