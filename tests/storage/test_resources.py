"""The inventory: what discovery does to it, and how it is read."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from contracts.errors import NotFound
from contracts.observations import ObservedResource
from contracts.resources import Resource, ResourceFilter
from contracts.scans import FindingCounts
from storage.database import Database
from storage.inventory.resources import get_resource, list_resources
from tests.storage.lab import Lab, make_lab


def seen(
    name: str, type: str = "s3_bucket", region: str = "eu-west-1", **fields: Any
) -> ObservedResource:
    """One row of a discovery."""
    return ObservedResource(
        uid=f"arn:aws:s3:::{name}", type=type, name=name, region=region,
        tags=fields.get("tags", {}), attributes=fields.get("attributes", {"size": 1}),
    )  # fmt: skip


async def listed(lab: Lab, **fields: Any) -> list[Resource]:
    """All resources that match, in pages of two."""
    found: list[Resource] = []
    cursor = None
    while True:
        async with lab.database.transaction() as session:
            page = await list_resources(
                session, lab.team_id, ResourceFilter(**fields), limit=2, cursor=cursor
            )
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def get(lab: Lab, resource: Resource) -> Resource:
    """One resource, gone or not."""
    async with lab.database.transaction() as session:
        return await get_resource(session, lab.team_id, resource.id)


async def test_an_identical_discovery_writes_no_row_and_saw_them_last(lab: Lab) -> None:
    rows = [seen(name, tags={"env": name}) for name in ("a", "b", "c")]
    assert await lab.discover(rows, ["s3_bucket"]) == FindingCounts(new=3)
    before = await lab.sql("SELECT ctid::text, xmin::text FROM resource ORDER BY id")
    first = await listed(lab)
    assert await lab.discover(rows, ["s3_bucket"]) == FindingCounts(unchanged=3)
    assert await lab.sql("SELECT ctid::text, xmin::text FROM resource ORDER BY id") == before
    for then, now in zip(first, await listed(lab), strict=True):
        assert now.last_seen_at > then.last_seen_at == then.first_seen_at == now.first_seen_at


async def test_what_a_complete_reading_misses_is_gone_until_it_is_back(lab: Lab) -> None:
    await lab.discover([seen("a"), seen("b"), seen("v", "ebs_volume")], ["s3_bucket", "ebs_volume"])
    b = next(each for each in await listed(lab) if each.name == "b")
    assert await lab.discover([seen("a")], ["s3_bucket"]) == FindingCounts(resolved=1, unchanged=1)
    assert {each.name for each in await listed(lab)} == {"a", "v"}
    gone = await get(lab, b)
    assert gone.gone_at is not None
    assert gone.last_seen_at == b.last_seen_at < gone.gone_at
    counts = await lab.discover([seen("a"), seen("b")], ["s3_bucket"])
    assert counts == FindingCounts(changed=1, unchanged=1)
    back = await get(lab, b)
    assert (back.gone_at, back.first_seen_at) == (None, b.first_seen_at)


async def test_a_type_that_was_not_read_completely_loses_nothing(lab: Lab) -> None:
    await lab.discover([seen("a"), seen("b")], ["s3_bucket"])
    assert await lab.discover([seen("a")], []) == FindingCounts(unchanged=1)
    assert await lab.discover([], ["ebs_volume"]) == FindingCounts()
    assert {each.name for each in await listed(lab)} == {"a", "b"}


@pytest.mark.parametrize(
    "change",
    [
        {"tags": {"env": "prod"}},
        {"attributes": {"size": 2, "deep": [{"a": None}]}},
        {"region": "us-east-1"},
    ],
)
async def test_what_differs_is_written(lab: Lab, change: dict[str, Any]) -> None:
    await lab.discover([seen("a")], ["s3_bucket"])
    assert await lab.discover([seen("a", **change)], ["s3_bucket"]) == FindingCounts(changed=1)
    (found,) = await listed(lab)
    assert found.model_dump(include=set(change)) == change
    assert await lab.discover([seen("a", **change)], ["s3_bucket"]) == FindingCounts(unchanged=1)


async def test_a_resource_that_two_regions_show_is_one(lab: Lab) -> None:
    twice = [seen("a", region="us-east-1"), seen("a", region="eu-west-1")]
    assert await lab.discover(twice, ["s3_bucket"]) == FindingCounts(new=1)
    assert await lab.discover(twice[::-1], ["s3_bucket"]) == FindingCounts(unchanged=1)
    assert [each.region for each in await listed(lab)] == ["eu-west-1"]


async def test_any_value_that_a_table_holds_is_stored(lab: Lab) -> None:
    odd = seen(
        "nul\0 \ud83d ümlaut \\u0000 \n",
        tags={"k\0": "v\ud83d"},
        attributes={"nan": float("nan"), "deep": [{"x\0": "\ud83d"}], "text": "\\u0000"},
    )
    assert await lab.discover([odd], ["s3_bucket"]) == FindingCounts(new=1)
    assert await lab.discover([odd], ["s3_bucket"]) == FindingCounts(unchanged=1)
    (found,) = await listed(lab)
    assert found.name == "nul ? ümlaut \\u0000 \n"
    assert found.tags == {"k": "v?"}
    assert found.attributes == {"nan": None, "deep": [{"x": "?"}], "text": "\\u0000"}


async def test_resources_are_filtered(database: Database, lab: Lab) -> None:
    other = await make_lab(database, lab.team_id)
    await lab.discover(
        [
            seen("web-assets", tags={"env": "prod", "team": "web"}),
            seen("logs", region="us-east-1", tags={"env": "test"}),
            seen("vol-1", "ebs_volume", tags={"env": "prod"}),
        ],
        ["s3_bucket"],
    )
    await other.discover([seen("theirs")], ["s3_bucket"])
    for fields, expected in (
        ({}, {"web-assets", "logs", "vol-1", "theirs"}),
        ({"account_id": [other.account_id]}, {"theirs"}),
        ({"type": ["s3_bucket"], "region": ["eu-west-1"]}, {"web-assets", "theirs"}),
        ({"tag": ["env:prod"]}, {"web-assets", "vol-1"}),
        ({"tag": ["env:prod", "team:web"]}, {"web-assets"}),
        ({"tag": ["env:"]}, set()),
        ({"q": "assets"}, {"web-assets"}),
        ({"q": "ass web"}, {"web-assets"}),
        ({"q": "nothing"}, set()),
        ({"q": "'"}, set()),
    ):
        assert {each.name for each in await listed(lab, **fields)} == expected, fields


async def test_resources_of_another_team_are_not_found(database: Database, lab: Lab) -> None:
    other = await make_lab(database)
    await lab.discover([seen("a")], ["s3_bucket"])
    (ours,) = await listed(lab)
    assert await listed(other, account_id=[lab.account_id]) == []
    with pytest.raises(NotFound):
        await get(other, ours)
    async with database.transaction() as session:
        with pytest.raises(NotFound):
            await get_resource(session, lab.team_id, uuid4())


async def test_many_resources_are_a_few_index_lookups(lab: Lab) -> None:
    """The plan of a list reads an index in its order; it sorts nothing that grows."""
    await lab.discover([seen(str(number)) for number in range(500)], ["s3_bucket"])
    async with lab.database.transaction() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await session.execute(
            text(
                "EXPLAIN SELECT id FROM resource WHERE team_id = :team AND gone_at IS NULL"
                " ORDER BY id DESC LIMIT 50"
            ),
            {"team": lab.team_id},
        )
        words = "\n".join(row[0] for row in plan)
    assert "Index Only Scan Backward using resource_team_idx" in words
    assert "Sort" not in words
