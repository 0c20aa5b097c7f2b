"""Tracked items over HTTP: kept, renewed, listed by expiry, and seen by their team only."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api import examples
from contracts.vocabulary import Role
from tests.api.conftest import Caller, Team
from tests.api.scheduled import errors_of

Row = dict[str, Any]
ITEM: Row = {
    "kind": "certificate",
    "name": "www",
    "owner": "platform",
    "expires_at": "2031-03-01T00:00:00Z",
    "lead_seconds": 86_400,
    "attributes": {"environment": "production"},
}


async def add(caller: httpx.AsyncClient, **fields: Any) -> Row:
    """Track an item and return it."""
    answer = await caller.post("tracked-items", json=ITEM | fields)
    assert answer.status_code == 201, answer.text
    item: Row = answer.json()
    return item


async def test_an_item_is_tracked_shown_renewed_and_forgotten(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient
) -> None:
    answer = await operator.post("tracked-items", json=ITEM)
    item = answer.json()
    path = f"tracked-items/{item['id']}"
    assert answer.headers["Location"] == f"/api/v1/{path}"
    assert item["due_at"] == "2031-02-28T00:00:00Z"
    assert {name: item[name] for name in ITEM} == ITEM
    assert (await viewer.get(path)).json() == item
    renewed = await operator.patch(path, json={"expires_at": "2032-03-01T02:00:00+02:00"})
    assert renewed.status_code == 200
    assert renewed.json()["expires_at"] == "2032-03-01T00:00:00Z"
    assert renewed.json()["due_at"] == "2032-02-29T00:00:00Z"
    assert renewed.json()["attributes"] == ITEM["attributes"]
    sooner = await operator.patch(path, json={"lead_seconds": 0, "owner": ""})
    assert sooner.json()["due_at"] == "2032-03-01T00:00:00Z"
    assert (await operator.delete(path)).status_code == 204
    assert (await operator.get(path)).status_code == 404
    assert (await operator.delete(path)).status_code == 404


async def test_a_kind_has_each_name_once(operator: httpx.AsyncClient) -> None:
    await add(operator)
    other = await add(operator, kind="credential")
    again = await operator.post("tracked-items", json=ITEM)
    assert again.status_code == 409
    assert again.json()["detail"] == "There is a certificate named www already."
    assert "Renew that one" in again.json()["fix"]
    third = await add(operator, name="shop")
    renamed = await operator.patch(f"tracked-items/{third['id']}", json={"name": "www"})
    assert renamed.status_code == 409
    assert (await operator.get(f"tracked-items/{other['id']}")).json() == other


async def test_items_are_listed_by_expiry_filtered_and_paged(operator: httpx.AsyncClient) -> None:
    for name, kind, owner, year in (
        ("c", "certificate", "platform", 2033), ("a", "credential", "platform", 2031),
        ("b", "certificate", "shop", 2032),
    ):  # fmt: skip
        await add(operator, name=name, kind=kind, owner=owner, expires_at=f"{year}-01-01T00:00:00Z")

    async def names(query: str) -> str:
        answer = await operator.get(f"tracked-items?{query}")
        assert answer.status_code == 200, answer.text
        return "".join(row["name"] for row in answer.json()["items"])

    assert await names("") == "abc"
    assert await names("kind=certificate") == "bc"
    assert await names("kind=certificate,credential&owner=platform") == "ac"
    assert await names("expires_before=2032-01-01T00:00:00Z") == "a"
    assert await names("kind=nothing") == ""
    first = (await operator.get("tracked-items?limit=2")).json()
    rest = (await operator.get(f"tracked-items?cursor={first['next_cursor']}")).json()
    assert [row["name"] for row in first["items"] + rest["items"]] == list("abc")


WRONG: list[tuple[Row, str, str]] = [
    ({"kind": "A Certificate"}, "kind", "such as certificate"),
    ({"name": ""}, "name", "at least 1 character."),
    ({"name": "x\n"}, "name", "control characters"),
    ({"expires_at": "soon"}, "expires_at", "Write it like 2026-01-31T00:00:00Z."),
    ({"expires_at": "2031-01-01T00:00:00"}, "expires_at", "time zone is missing"),
    ({"expires_at": "0001-01-01T00:00:00Z"}, "expires_at", "between the years 1990 and 9990"),
    ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at", "between the years"),
    ({"lead_seconds": -1}, "lead_seconds", "at least 0."),
    ({"lead_seconds": 10**10}, "lead_seconds", "at most 316224000."),
    ({"attributes": []}, "attributes", "JSON object, such as"),
    ({"attributes": {"a": 5}}, "attributes.a", "a string"),
    ({"attributes": {"a": "nul\x00"}}, "attributes.a", "control characters"),
    ({"expires": 5}, "expires", "no such field"),
]


async def test_what_cannot_be_is_refused_with_its_field(operator: httpx.AsyncClient) -> None:
    kept = await add(operator, name="kept")
    for change, field, words in WRONG:
        errors = errors_of(await operator.post("tracked-items", json=ITEM | change))
        assert words in errors.get(field, ""), (change, errors)
        if field != "kind":
            errors = errors_of(await operator.patch(f"tracked-items/{kept['id']}", json=change))
            assert words in errors.get(field, ""), (change, errors)
    errors = errors_of(
        await operator.patch(f"tracked-items/{kept['id']}", json={"name": None, "kind": "other"})
    )
    assert "no such field" in errors["kind"]
    errors = errors_of(await operator.patch(f"tracked-items/{kept['id']}", json={"name": None}))
    assert "cannot be null" in errors["name"]
    refused = errors_of(await operator.get("tracked-items?expires_before=9999-12-31T00:00:00Z"))
    assert "between the years" in refused["expires_before"]
    assert (await operator.get("tracked-items")).json()["items"] == [kept]


@pytest.mark.parametrize("name", examples.ITEMS)
async def test_the_documented_examples_are_accepted(operator: httpx.AsyncClient, name: str) -> None:
    answer = await operator.post("tracked-items", json=examples.ITEMS[name]["value"])
    assert answer.status_code == 201, answer.text


async def test_another_teams_item_is_not_there(
    operator: httpx.AsyncClient, viewer: httpx.AsyncClient, call: Caller, stranger: Team
) -> None:
    item = await add(operator)
    path, other = f"tracked-items/{item['id']}", call(stranger.keys[Role.ADMIN])
    for method in ("GET", "PATCH", "DELETE"):
        body = {"owner": "me"} if method == "PATCH" else None
        assert (await other.request(method, path, json=body)).status_code == 404
        if method != "GET":
            assert (await viewer.request(method, path, json=body)).status_code == 403
    assert (await other.get("tracked-items")).json()["items"] == []
    await add(other)  # the same kind and name is free for them
    assert (await operator.get(path)).json() == item


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_a_filter_by_a_time_at_the_end_of_the_calendar_is_refused(
    viewer: httpx.AsyncClient, moment: str
) -> None:
    for path, field in (("tracked-items", "expires_before"), ("findings", "first_seen_after")):
        errors = errors_of(await viewer.get(path, params={field: moment}))
        assert "between the years" in errors[field]
