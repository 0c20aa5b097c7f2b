"""A team's own scan policies: no other team's, not too many, and built-in ones stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from contracts.errors import Conflict, NotFound
from contracts.native import POLICIES, PolicyLimits, ShownScanPolicy
from storage.database import Database
from storage.scans import scan_policies
from tests.storage.lab import Lab, make_lab

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def _set(
    database: Database, team_id: UUID, name: str, rate: int, at: datetime = NOW
) -> tuple[ShownScanPolicy, bool]:
    async with database.transaction() as session:
        return await scan_policies.set_policy(
            session, team_id, name, PolicyLimits(rate=rate), who="alice", at=at
        )


async def test_a_policy_is_made_then_replaced(lab: Lab) -> None:
    made, is_new = await _set(lab.database, lab.team_id, "night", 20)
    assert (made.rate, made.builtin, made.changed_by, is_new) == (20, False, "alice", True)
    later = NOW + timedelta(hours=1)
    replaced, is_new = await _set(lab.database, lab.team_id, "night", 30, later)
    assert (replaced.rate, is_new) == (30, False)
    assert (replaced.created_at, replaced.updated_at) == (NOW, later)


async def test_teams_have_policies_of_the_same_name_and_see_their_own(lab: Lab) -> None:
    other = await make_lab(lab.database)
    await _set(lab.database, lab.team_id, "night", 20)
    await _set(lab.database, other.team_id, "night", 30)
    await _set(lab.database, other.team_id, "theirs", 40)
    async with lab.database.transaction() as session:
        night = await scan_policies.load_policy(session, lab.team_id, "night")
        assert (night.name, night.rate) == ("night", 20)
        assert set(await scan_policies.all_policies(session, lab.team_id)) == {*POLICIES, "night"}
        for lookup in (scan_policies.load_policy, scan_policies.delete_policy):
            with pytest.raises(NotFound, match="no scan policy `theirs`"):
                await lookup(session, lab.team_id, "theirs")
        await scan_policies.delete_policy(session, lab.team_id, "night")
        assert (await scan_policies.get_policy(session, other.team_id, "night")).rate == 30


async def test_a_built_in_policy_is_what_the_contract_says_and_stays(lab: Lab) -> None:
    async with lab.database.transaction() as session:
        for name, policy in POLICIES.items():
            assert await scan_policies.load_policy(session, lab.team_id, name) == policy
            with pytest.raises(Conflict, match="built in"):
                await scan_policies.delete_policy(session, lab.team_id, name)
    with pytest.raises(Conflict, match="built in"):
        await _set(lab.database, lab.team_id, "fast", 1)


async def test_a_team_has_so_many_and_replaces_them_still(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_policies, "MOST", 2)
    await _set(lab.database, lab.team_id, "a", 1)
    await _set(lab.database, lab.team_id, "b", 2)
    with pytest.raises(Conflict, match="at most 2"):
        await _set(lab.database, lab.team_id, "c", 3)
    assert (await _set(lab.database, lab.team_id, "b", 4))[0].rate == 4
