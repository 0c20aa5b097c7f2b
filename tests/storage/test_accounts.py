"""Accounts: named once in a team, learned once who they are, deleted with all that is known."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from contracts.accounts import AccountChange, NewAccount, ProfileCredentials
from contracts.errors import Conflict, NotFound
from contracts.observations import ObservedResource
from contracts.scans import NewScan, ScanTrigger
from contracts.vocabulary import Provider
from storage import accounts
from storage.database import Database
from storage.scans import scans
from tests.storage.lab import Lab, at_once, make_lab, observed


def new(name: str, provider: Provider = Provider.AWS) -> NewAccount:
    """An account with everything set."""
    return NewAccount(
        name=name, provider=provider, credentials=ProfileCredentials(profile="audit"),
        regions=["eu-west-1"], endpoint_url="http://localhost:4566",
    )  # fmt: skip


async def test_an_account_is_what_was_given_and_its_name_is_taken_once(lab: Lab) -> None:
    async with lab.database.transaction() as session:
        made = await accounts.create_account(session, lab.team_id, new("prod"), at=lab.clock())
        assert await accounts.get_account(session, lab.team_id, made.id) == made
        assert await accounts.load_account(session, made.id) == made
    assert made.model_dump(include=set(NewAccount.model_fields)) == new("prod").model_dump()
    assert made.enabled
    with pytest.raises(Conflict, match="prod"):
        async with lab.database.transaction() as session:
            await accounts.create_account(session, lab.team_id, new("prod"), at=lab.clock())
    other = await make_lab(lab.database)
    async with lab.database.transaction() as session:
        await accounts.create_account(session, other.team_id, new("prod"), at=lab.clock())


async def test_only_given_fields_change_and_null_clears(lab: Lab) -> None:
    async with lab.database.transaction() as session:
        made = await accounts.create_account(session, lab.team_id, new("prod"), at=lab.clock())
        await accounts.create_account(session, lab.team_id, new("test"), at=lab.clock())

        async def change(**fields: object) -> accounts.Account:
            wanted = AccountChange.model_validate(fields)
            return await accounts.change_account(
                session, lab.team_id, made.id, wanted, at=lab.clock()
            )

        assert (await change(enabled=False)).regions == ["eu-west-1"]
        assert (await change(regions=None, endpoint_url=None)).endpoint_url is None
        assert (await change(name=None, credentials=None)).name == "prod"
        changed = await change(credentials={"kind": "environment"}, regions=["us-east-1"])
        assert (changed.credentials.kind, changed.regions) == ("environment", ["us-east-1"])
        assert changed.updated_at > made.updated_at
        assert changed.created_at == made.created_at
        with pytest.raises(Conflict, match="test"):
            await change(name="test")


async def test_accounts_are_paged_and_filtered(lab: Lab) -> None:
    async with lab.database.transaction() as session:
        for number in range(4):
            provider = Provider.GCP if number % 2 else Provider.AWS
            await accounts.create_account(
                session, lab.team_id, new(str(number), provider), at=lab.clock()
            )
        found, cursor = [], None
        while True:
            page = await accounts.list_accounts(session, lab.team_id, limit=2, cursor=cursor)
            found += [account.name for account in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found[1:] == ["0", "1", "2", "3"]
        only = await accounts.list_accounts(
            session, lab.team_id, provider=[Provider.GCP], enabled=True, limit=10
        )
        assert [account.name for account in only.items] == ["1", "3"]
        none = await accounts.list_accounts(session, lab.team_id, enabled=False, limit=10)
        assert none.items == []


async def test_who_an_account_is_is_learned_once(lab: Lab) -> None:
    async with lab.database.transaction() as session:
        made = await accounts.create_account(session, lab.team_id, new("prod"), at=lab.clock())

        async def learn(uid: str, home: str | None) -> accounts.Account:
            await accounts.record_identity(
                session, made.id, uid=uid, home_region=home, at=lab.clock()
            )
            return await accounts.load_account(session, made.id)

        assert (await learn("1", None)).home_region is None
        known = await learn("1", "eu-west-1")
        assert (known.uid, known.home_region) == ("1", "eu-west-1")
        assert await learn("1", "us-east-1") == known
        with pytest.raises(Conflict, match="belong to 2, not to 1"):
            await learn("2", "eu-west-1")
        with pytest.raises(NotFound):
            await accounts.record_identity(
                session, uuid4(), uid="1", home_region=None, at=lab.clock()
            )


async def test_accounts_of_another_team_are_not_found(database: Database, lab: Lab) -> None:
    other = await make_lab(database)
    async with database.transaction() as session:
        for call in (
            accounts.get_account(session, other.team_id, lab.account_id),
            accounts.change_account(
                session, other.team_id, lab.account_id, AccountChange(enabled=False),
                at=lab.clock(),
            ),
            accounts.delete_account(session, other.team_id, lab.account_id),
            accounts.load_account(session, uuid4()),
        ):  # fmt: skip
            with pytest.raises(NotFound):
                await call


EVERYTHING = (
    *("account", "scan", "scan_task", "finding", "finding_event", "finding_subject"),
    *("finding_count", "finding_total", "check_coverage", "type_coverage", "resource"),
    *("finding_staging", "coverage_staging"),
)


async def test_deleting_an_account_leaves_nothing_of_it_and_all_of_the_others(
    database: Database, lab: Lab
) -> None:
    other = await make_lab(database, lab.team_id)
    bucket = ObservedResource("arn:aws:s3:::b", "s3_bucket", "b", "eu-west-1", {}, {})
    await other.scan([observed("shared"), observed("theirs")])
    await other.discover([bucket], ["s3_bucket"])
    count = " UNION ALL ".join(
        f"SELECT '{name}', count(*) FROM {name}"  # noqa: S608 (our own names)
        for name in EVERYTHING
    )
    before = dict(await lab.sql(count))
    await lab.scan([observed("shared"), observed("ours")])
    await lab.scan([observed("ours")])
    await lab.discover([bucket], ["s3_bucket"])
    async with database.transaction() as session:
        await accounts.delete_account(session, lab.team_id, lab.account_id)
    assert dict(await lab.sql(count)) == {**before, "account": before["account"] - 1}
    assert {each.resource.name for each in await lab.list(q="shared")} == {"shared"}
    assert await lab.list(q="ours") == []
    assert len(await lab.list()) == 2


async def test_an_account_with_a_scan_that_has_not_ended_stays(lab: Lab) -> None:
    scan_id = await lab.begin("shard")
    with pytest.raises(Conflict, match=str(scan_id)):
        async with lab.database.transaction() as session:
            await accounts.delete_account(session, lab.team_id, lab.account_id)
    await lab.end(scan_id)
    async with lab.database.transaction() as session:
        await accounts.delete_account(session, lab.team_id, lab.account_id)


async def test_others_read_and_write_while_an_account_is_being_deleted(
    database: Database, lab: Lab
) -> None:
    other = await make_lab(database, lab.team_id)
    await lab.scan([observed("ours")])
    async with asyncio.timeout(20), database.transaction() as session:
        await accounts.delete_account(session, lab.team_id, lab.account_id)
        # Not yet committed.
        await other.scan([observed("theirs")])
        assert len(await other.list()) == 2
    assert len(await other.list()) == 1


async def test_a_scan_created_while_its_account_is_deleted_is_refused(lab: Lab) -> None:
    async def create() -> None:
        async with lab.database.transaction() as session:
            await scans.create_scan(
                session, lab.team_id, NewScan(account_id=lab.account_id),
                trigger=ScanTrigger(), idempotency_key=None, at=lab.clock(),
            )  # fmt: skip

    async with lab.database.transaction() as session:
        await accounts.delete_account(session, lab.team_id, lab.account_id)
        waiting = asyncio.create_task(create())
        await asyncio.sleep(0.1)
    (outcome,) = await at_once(waiting)
    assert isinstance(outcome, NotFound)
