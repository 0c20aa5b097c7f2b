"""Planning a native scan: which tools look at which targets, and what is refused."""

from __future__ import annotations

import pytest
from temporalio.testing import ActivityEnvironment

from activities.native_scans import NativeScanActivities
from contracts.errors import ScopeInvalid
from contracts.native import NativeTool
from contracts.scans import NativeOptions, ScanRequest, ScanTrigger
from contracts.targets import NewScope, NewTarget, ScopeEntry
from contracts.vocabulary import ScopeKind, TargetKind
from runtime.settings import Settings
from scanners.native.native_tools import SUITABLE, unsuitable
from storage.scans import scans
from storage.targets import target_scopes, targets
from tests.storage.lab import Lab


async def test_a_scan_whose_tools_suit_none_of_its_targets_is_not_planned(lab: Lab) -> None:
    scope = NewScope(name="lab", allows=[ScopeEntry(kind=ScopeKind.CIDR, value="127.0.0.1/32")])
    options = {"trigger": ScanTrigger(), "idempotency_key": None, "at": lab.clock.now}
    async with lab.database.transaction() as session:
        await target_scopes.create_scope(session, lab.team_id, scope, who="test", at=lab.clock.now)
        target = await targets.create_target(
            session,
            lab.team_id,
            NewTarget(kind=TargetKind.HOST, value="127.0.0.1"),
            at=lab.clock.now,
        )
        made = [
            await scans.create_scan(
                session, lab.team_id, NativeOptions(targets=[target.id], tools=tools), **options
            )
            for tools in (["checkov"], ["checkov", "nmap"])
        ]
    settings = Settings(allow_loopback_targets=True)
    native = NativeScanActivities(lab.database, settings)
    (none, _), (some, _) = made

    with pytest.raises(ScopeInvalid, match="None of the tools checkov looks at") as failure:
        await ActivityEnvironment().run(native.plan_native, ScanRequest(scan_id=none.id))
    plan = await ActivityEnvironment().run(native.plan_native, ScanRequest(scan_id=some.id))

    assert (failure.value.field, failure.value.fix) == (
        "tools", "Use nmap, testssl, sslyze, nuclei for host.",
    )  # fmt: skip
    assert [shard.key for shard in plan.shards] == ["nmap/127.0.0.1"]
    async with lab.database.transaction() as session:
        planned = await scans.get_scan(session, lab.team_id, some.id)
    assert planned.notes == ["checkov does not look at a host such as 127.0.0.1."]


def test_tools_are_unsuitable_only_when_none_of_them_suits_any_of_the_kinds() -> None:
    for kind, tools in SUITABLE.items():
        for tool in NativeTool:
            assert (unsuitable([tool], [kind]) is None) == (tool in tools)
    assert unsuitable(["checkov"], [TargetKind.HOST, TargetKind.REPOSITORY]) is None
    assert unsuitable([], [TargetKind.HOST]) is None
    assert unsuitable(["nmap"], [TargetKind.CLUSTER]) == "Use no tool for cluster."
