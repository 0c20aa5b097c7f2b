"""The runner's judgement: what an error is, whom it concerns, and what may then be believed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scanners.prowler_runner.assessment import Assessment
from scanners.prowler_runner.client_map import ClientMap, build_client_map
from scanners.prowler_runner.failures import (
    DENIED,
    NOT_IMPLEMENTED,
    OTHER,
    THROTTLED,
    UNREACHABLE,
    Failure,
    FailureLog,
    classify,
)

SERVICE = """
class Store(AWSService):
    def __init__(self, provider):
        self.__threading_call__(self._list_boxes)
        self.__threading_call__(self._get_locks, self.boxes)
        self.owner = self._get_owner()
        self.tags = {}

    def _list_boxes(self, client):
        for box in client.list_boxes():
            self.boxes.append(Box(name=box))

    def _get_locks(self, box):
        box.locked = self.client.get_lock(box.name)

    def _get_owner(self):
        return self.client.get_owner()

    def _list_tags(self):
        self.tags[self.owner] = self.client.list_tags()

    def _explain(self):
        return "nothing is filled here"
"""
CHECK = """
from prowler.providers.aws.services.store.store_client import store_client

class {name}(Check):
    def execute(self):
        return [{reads}]
"""
CHECKS = {
    "store_box_exists": "store_client.boxes",
    "store_box_locked": "[box.locked for box in store_client.boxes]",
    "store_owner_known": "store_client.owner",
    "store_tagged": "store_client.tags",
}


@pytest.fixture
def clients(tmp_path: Path) -> ClientMap:
    """The map of a provider with one service."""
    services = tmp_path / "services"
    (services / "store").mkdir(parents=True)
    (services / "store" / "store_service.py").write_text(SERVICE)
    (services / "store" / "store_client.py").write_text(
        "from prowler.providers.aws.services.store.store_service import Store\n"
    )
    for name, reads in CHECKS.items():
        folder = services / "store" / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(CHECK.format(name=name, reads=reads))
        (folder / f"{name}.metadata.json").write_text("{}")
    return build_client_map(services)


@pytest.mark.parametrize(
    ("methods", "affected"),
    [
        # Whoever reads the list, or what was then asked about each member of it.
        (["_list_boxes"], {"store_box_exists", "store_box_locked"}),
        (["_get_locks"], {"store_box_locked"}),
        # What is made of a method's answer counts as filled by it, and what is derived from that.
        (["_get_owner"], {"store_owner_known", "store_tagged"}),
        (["_list_tags"], {"store_tagged"}),
        # Unknown, or without an effect that can be seen: everyone who uses the service.
        (["_explain"], set(CHECKS)),
        (["__init__"], set(CHECKS)),
        ([], set(CHECKS)),
    ],
)
def test_a_failed_method_concerns_the_checks_that_read_what_it_fills(
    clients: ClientMap, methods: list[str], affected: set[str]
) -> None:
    assert clients.affected("store/store_service", methods) == affected


@pytest.mark.parametrize(
    ("code", "status", "message", "custom_endpoint", "expected"),
    [
        ("AccessDenied", 403, "not authorized", False, DENIED),
        ("UnauthorizedOperation", 403, "not authorized", False, DENIED),
        ("ExpiredToken", 400, "expired", False, DENIED),
        ("AccessDeniedException", 403, "Macie is not enabled.", False, OTHER),
        ("SlowDown", 503, "reduce your rate", False, THROTTLED),
        ("Throttling", 400, "Rate exceeded", False, THROTTLED),
        ("SomethingNew", 429, "slower", False, THROTTLED),
        ("InternalError", 500, "we are sorry", False, UNREACHABLE),
        ("502", 502, "bad gateway", True, UNREACHABLE),
        ("500", 500, "a page of HTML", True, NOT_IMPLEMENTED),
        ("500", 500, "a page of HTML", False, UNREACHABLE),
        ("404", 404, "no such path", True, NOT_IMPLEMENTED),
        ("403", 403, "", False, DENIED),
        ("UnknownOperationException", 400, "", False, NOT_IMPLEMENTED),
        ("NoSuchBucketPolicy", 404, "there is no policy", False, OTHER),
    ],
)
def test_an_api_error_has_a_class(
    code: str, status: int, message: str, custom_endpoint: bool, expected: str
) -> None:
    assert classify(code, status, message, custom_endpoint=custom_endpoint) == expected


def quiet_log(endpoint: str | None = None) -> FailureLog:
    return FailureLog("/prowler/providers/aws/services/", endpoint, lambda *_: None)


def assessment(clients: ClientMap, log: FailureLog, *, regional: bool = True) -> Assessment:
    made = Assessment(
        sorted(CHECKS),
        ["eu-west-1", "us-east-1"],
        "us-east-1",
        {"store"} if regional else set(),
        clients,
        log,
    )
    made.completed.update(CHECKS)
    return made


def failure(error_class: str, method: str, region: str | None, check: str = "") -> Failure:
    return Failure(
        error_class, "store", region, "GetLock", "store/store_service", (method,), check, True
    )


def record(log: FailureLog, found: Failure) -> None:
    log.counts[found] += 1
    log.examples[found] = "GetLock: AccessDenied: not authorized"


def not_assessed(made: Assessment) -> dict[str, list[str]]:
    return dict(made.report()["not_assessed"])


def test_a_regional_failure_taints_its_region_only_where_regions_are_independent(
    clients: ClientMap,
) -> None:
    log = quiet_log()
    record(log, failure(DENIED, "_get_locks", "eu-west-1"))
    assert not_assessed(assessment(clients, log)) == {"store_box_locked": ["eu-west-1"]}
    assert not_assessed(assessment(clients, log, regional=False)) == {
        "store_box_locked": ["eu-west-1", "us-east-1"]
    }


def test_a_failure_without_a_region_taints_all_regions(clients: ClientMap) -> None:
    log = quiet_log()
    record(log, failure(THROTTLED, "_get_locks", None))
    assert not_assessed(assessment(clients, log)) == {
        "store_box_locked": ["eu-west-1", "us-east-1"]
    }


def test_a_failure_that_comes_after_findings_were_sent_still_counts(clients: ClientMap) -> None:
    log = quiet_log()
    made = assessment(clients, log)
    assert made.tainted() == {}
    record(log, failure(UNREACHABLE, "_list_tags", None, check="store_box_exists"))
    assert set(not_assessed(made)) == {"store_tagged", "store_box_exists"}


@pytest.mark.parametrize("error_class", [NOT_IMPLEMENTED, OTHER])
def test_what_the_endpoint_lacks_and_what_was_unexpected_is_reported_and_believed(
    clients: ClientMap, error_class: str
) -> None:
    log = quiet_log()
    record(log, failure(error_class, "_get_locks", None))
    report = assessment(clients, log).report()
    assert report["not_assessed"] == []
    assert [problem["error_class"] for problem in report["problems"]] == [error_class]
    assert report["problems"][0]["checks"] == []


def test_a_call_that_was_answered_elsewhere_is_not_missing(clients: ClientMap) -> None:
    log = quiet_log("http://127.0.0.1:5000")
    record(log, failure(NOT_IMPLEMENTED, "_get_locks", None))
    log.answered("store", "GetLock")
    assert set(not_assessed(assessment(clients, log))) == {"store_box_locked"}


def test_a_check_that_did_not_run_is_counted_and_covers_nothing(clients: ClientMap) -> None:
    made = assessment(clients, quiet_log())
    made.completed -= {"store_tagged", "store_box_exists"}
    made.missing["store_tagged"] = "No module named 'shodan'"
    made.crashed["store_box_exists"] = "failed with KeyError: 'x'"
    report = made.report()
    assert (report["planned"], report["run"]) == (4, 2)
    assert {check for check, _ in report["covered"]} == {"store_box_locked", "store_owner_known"}
    assert {check for check, _ in report["not_assessed"]} == {"store_tagged", "store_box_exists"}
    messages = " ".join(problem["message"] for problem in report["problems"])
    assert "shodan" in messages
    assert "KeyError" in messages


def test_an_outage_is_noticed_only_when_nothing_is_answered_in_between() -> None:
    noticed: list[tuple[str, str]] = []
    log = FailureLog("/services/", None, lambda *words: noticed.append(words))
    for number in range(log.OUTAGE * 3):
        log._count_outage(UNREACHABLE, "EndpointConnectionError", "refused")
        if number % (log.OUTAGE - 1) == 0:
            log.answered("s3", "ListBuckets")
    assert noticed == []
    for _ in range(log.OUTAGE):
        log._count_outage(UNREACHABLE, "EndpointConnectionError", "refused")
    assert noticed == [(UNREACHABLE, "refused")]


def test_a_logged_network_error_taints_though_no_cloud_client_raised_it(
    clients: ClientMap,
) -> None:
    log = quiet_log()
    record_ = logging.LogRecord(
        "root",
        logging.ERROR,
        "/prowler/providers/aws/services/store/store_service.py",
        1,
        "eu-west-1 -- ConnectionError: refused",
        None,
        None,
        "_list_tags",
    )
    log.logged(record_, ConnectionError("refused"))
    assert set(not_assessed(assessment(clients, log))) == {"store_tagged"}
