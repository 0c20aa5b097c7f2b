"""What Prometheus reads: this process's requests, and what the store holds."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from contracts.vocabulary import ScanStatus, Severity
from storage.statistics import StoreStatistics

BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry an app, so that two apps in one process do not count into each other."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "cloudsweep_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "cloudsweep_http_request_seconds",
            "Seconds from the request to the end of its answer.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "cloudsweep_http_requests_in_progress",
            "Requests being answered, streams of events among them.",
            registry=self.registry,
        )

        self.store_counted_at = float("-inf")
        self._scans = Gauge(
            "cloudsweep_store_scans", "Scans by status.", ["status"], registry=self.registry
        )
        self._open_findings = Gauge(
            "cloudsweep_store_open_findings",
            "Failing findings that are open, by severity.",
            ["severity"],
            registry=self.registry,
        )
        self._staging_rows = Gauge(
            "cloudsweep_store_staging_rows",
            "Rows staged and not merged, as PostgreSQL estimates them.",
            registry=self.registry,
        )

    def show_store(self, statistics: StoreStatistics) -> None:
        """Take over what the store holds now; what it no longer has falls to zero."""
        for status in ScanStatus:
            self._scans.labels(status.value).set(statistics.scans.get(status.value, 0))
        for severity in Severity:
            count = statistics.open_findings.get(severity.value, 0)
            self._open_findings.labels(severity.value).set(count)
        self._staging_rows.set(statistics.staging_rows)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is the template, so that ids make no series."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)
