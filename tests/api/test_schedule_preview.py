"""Previews: the times of a schedule before it is saved, as the clock of its zone shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.api.scheduled import add_account, errors_of, scan_of

Row = dict[str, Any]


async def preview(caller: httpx.AsyncClient, body: Row, query: str = "") -> Row:
    """The preview of a schedule."""
    answer = await caller.post(f"schedules/preview{query}", json=body)
    assert answer.status_code == 200, answer.text
    shown: Row = answer.json()
    return shown


async def test_a_preview_shows_times_in_the_zone_and_saves_nothing(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    shown = await preview(viewer, scan_of(await add_account(operator)))
    times = [datetime.fromisoformat(time) for time in shown["next_runs"]]
    assert len(times) == 10
    assert times == sorted(times)
    assert times[0] > datetime.now(UTC)
    assert all((time.hour, time.minute) == (2, 0) for time in times)
    assert {time[-6:] for time in shown["next_runs"]} <= {"+01:00", "+02:00"}
    assert shown["in_words"] == (
        "every day at 02:00 Europe/Berlin; if the last run is still going the new one is skipped; "
        "a run missed by more than 1 h is dropped; it pauses itself after 5 failures in a row"
    )
    assert (await viewer.get("schedules")).json()["items"] == []


async def test_days_of_clock_changes_are_shown_and_warned_of(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    night = {"type": "cron", "cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    spring = scan_of(account, trigger=night, starts_at="2031-03-28T12:00:00Z")
    assert (await preview(operator, spring, "?count=3"))["next_runs"] == [
        "2031-03-29T02:30:00+01:00",
        "2031-03-31T02:30:00+02:00",  # on the 30th the clock jumps over it
        "2031-04-01T02:30:00+02:00",
    ]
    autumn = scan_of(account, trigger=night, starts_at="2031-10-25T12:00:00Z")
    assert (await preview(operator, autumn, "?count=3"))["next_runs"] == [
        "2031-10-26T02:30:00+02:00",
        "2031-10-26T02:30:00+01:00",
        "2031-10-27T02:30:00+01:00",
    ]
    warnings = (await preview(operator, scan_of(account, trigger=night)))["warnings"]
    assert len(warnings) == 2
    assert any("the run at 02:30 is skipped" in warning for warning in warnings)
    assert any("02:30 comes twice and runs twice" in warning for warning in warnings)


async def test_exclusions_bounds_and_limits_are_obeyed(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    body = scan_of(
        account,
        trigger={"type": "interval", "every_seconds": 43_200},
        starts_at="2031-12-24T00:00:00Z",
        ends_at="2031-12-26T12:00:00Z",
        exclude=[{"type": "dates", "dates": ["12-25"], "name": "holidays"}],
    )
    shown = await preview(operator, body, "?count=100")
    assert shown["next_runs"] == [
        "2031-12-24T00:00:00Z", "2031-12-24T12:00:00Z", "2031-12-26T00:00:00Z",
        "2031-12-26T12:00:00Z",
    ]  # fmt: skip
    assert "except holidays" in shown["in_words"]
    assert len((await preview(operator, body | {"max_runs": 2}))["next_runs"]) == 2


@pytest.mark.parametrize(
    ("count", "words"),
    [("0", "at least 1."), ("101", "at most 100."), ("many", "`many` is not a whole number")],
)
async def test_a_preview_shows_1_to_100_times(
    operator: httpx.AsyncClient, count: str, words: str
) -> None:
    body = scan_of(await add_account(operator))
    for number in (1, 100):
        shown = await preview(operator, body, f"?count={number}")
        assert len(shown["next_runs"]) == number
    answer = await operator.post(f"schedules/preview?count={count}", json=body)
    assert words in errors_of(answer)["count"]


async def test_an_expiry_has_no_times_of_its_own(operator: httpx.AsyncClient) -> None:
    account = await add_account(operator)
    expiry = {"type": "expiry", "item_kind": "certificate", "lead_seconds": 2_592_000}
    shown = await preview(operator, scan_of(account, trigger=expiry))
    assert shown["next_runs"] == []
    assert shown["in_words"].startswith("30 days before each certificate expires; ")
    assert shown["warnings"] == ["There is no tracked item of the kind `certificate` yet."]
    item = {"kind": "certificate", "name": "www", "expires_at": "2099-01-01T00:00:00Z"}
    assert (await operator.post("tracked-items", json=item)).status_code == 201
    assert (await preview(operator, scan_of(account, trigger=expiry)))["warnings"] == []
