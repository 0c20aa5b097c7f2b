"""`/scan-policies`: those that are built in, a team's own, and which of them a scan keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from activities.native_scans import NativeScanActivities
from contracts.errors import NotFound
from contracts.native import POLICIES, Endpoint, NativeTool, PolicyLimits, ScanPolicy
from contracts.scans import NativeOptions, ScanRequest, ScanTrigger
from contracts.vocabulary import Role, TaskKind
from runtime.settings import Settings
from scanners.native.native_adapters import ADAPTERS
from storage.database import Database
from storage.scans import scan_state, scans
from tests.api.conftest import Caller, Team
from tests.api.scheduled import errors_of
from tests.support.endpoints import ADDRESS

Row = dict[str, Any]
NIGHT: Row = {"timing": 2, "rate": 20, "ports": "80,443,8000-8100", "checks": "quick"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an installation where loopback may be scanned."""
    return settings.model_copy(update={"allow_loopback_targets": True})


async def test_admins_set_show_replace_and_delete_policies_of_the_team(
    viewer: httpx.AsyncClient, operator: httpx.AsyncClient, admin: httpx.AsyncClient,
    call: Caller, stranger: Team,
) -> None:  # fmt: skip
    assert (await operator.put("scan-policies/night", json=NIGHT)).status_code == 403
    made = await admin.put("scan-policies/night", json=NIGHT)
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/scan-policies/night")
    assert made.json() == {
        **PolicyLimits(**NIGHT).model_dump(), "name": "night", "builtin": False,
        "changed_by": made.json()["changed_by"],
        "created_at": made.json()["created_at"], "updated_at": made.json()["created_at"],
    }  # fmt: skip
    assert (await viewer.get("scan-policies/night")).json() == made.json()
    listed = (await viewer.get("scan-policies")).json()["items"]
    assert [each["name"] for each in listed] == ["fast", "gentle", "night", "normal"]

    replaced = await admin.put("scan-policies/night", json={"rate": 30})
    assert (replaced.status_code, replaced.json()["rate"]) == (200, 30)
    assert replaced.json()["ports"] == PolicyLimits().ports  # what is left out has its default
    assert replaced.json()["created_at"] == made.json()["created_at"]

    others = call(stranger.keys[Role.ADMIN])
    assert (await others.get("scan-policies/night")).status_code == 404
    assert (await others.delete("scan-policies/night")).status_code == 404
    assert (await operator.delete("scan-policies/night")).status_code == 403
    assert (await admin.delete("scan-policies/night")).status_code == 204
    missing = await viewer.get("scan-policies/night")
    assert missing.status_code == 404
    assert "fast, gentle, normal" in missing.text


async def test_the_list_has_pages(viewer: httpx.AsyncClient) -> None:
    first = (await viewer.get("scan-policies?limit=2")).json()
    second = (await viewer.get(f"scan-policies?limit=2&cursor={first['next_cursor']}")).json()
    names = [each["name"] for each in first["items"] + second["items"]]
    assert (names, second["next_cursor"]) == (sorted(POLICIES), None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timing", 5), ("rate", 0), ("rate", 2_001), ("rate", "50"), ("parallelism", 51),
        ("ports", "443,80"), ("ports", "1-65535"), ("ports", "80 --script=x"), ("checks", "all"),
        ("time_limit_seconds", 14_401), ("memory_limit_mb", 127), ("output_limit_mb", 257),
        ("process_limit", 1_001), ("nice", -1), ("flags", "--script=/tmp/x.nse"),
    ],
)  # fmt: skip
async def test_what_is_out_of_bounds_is_refused_by_field(
    admin: httpx.AsyncClient, field: str, value: object
) -> None:
    answer = await admin.put("scan-policies/night", json={field: value})
    assert (answer.status_code, set(errors_of(answer))) == (422, {field})
    assert (await admin.get("scan-policies/night")).status_code == 404


async def test_what_is_built_in_stays_and_names_are_plain(admin: httpx.AsyncClient) -> None:
    for call in (admin.put("scan-policies/normal", json={}), admin.delete("scan-policies/fast")):
        answer = await call
        assert answer.status_code == 409
        assert "built in" in answer.json()["detail"]
    for name in ("Night", "-oX", "a b", "x" * 41):
        assert (await admin.put(f"scan-policies/{name}", json={})).status_code == 422


async def test_a_policy_that_a_schedule_names_is_not_deleted(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await admin.put("scan-policies/night", json=NIGHT)
    target = await _target(admin, operator)
    params = {"targets": [str(target)], "policy": "night"}
    schedule = {
        "name": "nightly", "target": {"kind": "job", "job": "native_scan", "params": params},
        "trigger": {"type": "cron", "cron": "0 2 * * *"},
    }  # fmt: skip
    made = await operator.post("schedules", json=schedule)
    assert made.status_code == 201, made.text
    refused = await admin.delete("scan-policies/night")
    assert (refused.status_code, "nightly" in refused.json()["detail"]) == (409, True)
    assert (await admin.get("scan-policies/night")).status_code == 200
    assert (await admin.delete(f"schedules/{made.json()['id']}")).status_code == 204
    assert (await admin.delete("scan-policies/night")).status_code == 204


async def test_a_planned_scan_keeps_its_limits_and_a_later_one_has_the_new(
    admin: httpx.AsyncClient, operator: httpx.AsyncClient,
    settings: Settings, database: Database, team: Team,
) -> None:  # fmt: skip
    target = await _target(admin, operator)
    options = NativeOptions(targets=[target], tools=["nmap"], policy="night")
    await admin.put("scan-policies/night", json={**NIGHT, "rate": 20})
    first = await _scan(database, team, options)
    assert await _planned_rate(settings, database, first) == 20
    await admin.put("scan-policies/night", json={**NIGHT, "rate": 30})
    assert await _planned_rate(settings, database, first) == 20  # as a resume or a retry plans it
    assert await _planned_rate(settings, database, await _scan(database, team, options)) == 30
    third = await _scan(database, team, options)
    assert (await admin.delete("scan-policies/night")).status_code == 204
    with pytest.raises(NotFound, match="no scan policy `night`"):
        await _planned_rate(settings, database, third)


async def test_a_run_of_nmap_gets_the_limits_of_the_policy(tmp_path: Path) -> None:
    night = ScanPolicy(name="night", **NIGHT)
    endpoint = Endpoint(host=ADDRESS, address=ADDRESS)
    command = " ".join(ADAPTERS[NativeTool.NMAP].command(endpoint, night, tmp_path))
    assert "-T2" in command
    assert "--max-rate 20" in command
    assert f"-p {NIGHT['ports']}" in command


async def _target(admin: httpx.AsyncClient, operator: httpx.AsyncClient) -> UUID:
    allows = [{"kind": "cidr", "value": f"{ADDRESS}/32"}]
    scope = await admin.post("scopes", json={"name": "lab", "allows": allows})
    assert scope.status_code == 201, scope.text
    target = await operator.post("targets", json={"kind": "host", "value": ADDRESS})
    assert target.status_code == 201, target.text
    return UUID(target.json()["id"])


async def _scan(database: Database, team: Team, options: NativeOptions) -> UUID:
    async with database.transaction() as session:
        scan, _ = await scans.create_scan(
            session, team.id, options,
            trigger=ScanTrigger(), idempotency_key=None, at=datetime.now(UTC),
        )  # fmt: skip
    return scan.id


async def _planned_rate(settings: Settings, database: Database, scan_id: UUID) -> int:
    """The rate in the plan of a scan's only shard."""
    await NativeScanActivities(database, settings).plan_native(ScanRequest(scan_id=scan_id))
    async with database.transaction() as session:
        (shard,) = await scan_state.undone_shards(session, scan_id, kind=TaskKind.NATIVE) or ()
    rate: int = shard.plan["policy"]["rate"]
    return rate
