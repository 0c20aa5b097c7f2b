"""What follows a scan: once in each chain, within its scopes, whatever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.cascade_starts import CascadeActivities
from activities.native_scans import NativeScanActivities
from activities.scan_lifecycle import ScanLifecycleActivities
from activities.target_pinning import pin_target, verify_target
from contracts.cascades import Cascade, CascadeChange, NewCascade
from contracts.errors import Conflict, TargetInvalid
from contracts.native import NativeTool
from contracts.observations import CoveredCheck, ObservedFinding, ObservedResource
from contracts.scans import (
    Coverage,
    NativeOptions,
    NewScan,
    Scan,
    ScanEnd,
    ScanRequest,
    ScanTrigger,
    ShardTask,
)
from contracts.targets import NewScope, NewTarget, ScopeChange, ScopeEntry, TargetChange
from contracts.vocabulary import (
    FindingStatus,
    Provider,
    ScanStatus,
    ScopeKind,
    Severity,
    TargetKind,
    TargetRule,
    TaskKind,
)
from runtime.settings import Settings
from storage.accounts import native_account
from storage.cascades import cascades
from storage.database import Database
from storage.merge import merge_shard, staging
from storage.scans import scan_state, scans
from storage.tables import AccountRow
from storage.targets import target_scopes, targets
from tests.storage.lab import make_lab
from tests.support.namespaces import new_namespace

NET = "203.0.113.0/24"


def port_found(number: int, host: str = "203.0.113.7", check: str = "ssl-cert") -> ObservedFinding:
    """What nmap says of a port."""
    return ObservedFinding(
        check_id=check,
        service="nmap",
        region=host,
        resource_uid=f"{host}/tcp/{number}/{check}",
        resource_name=host,
        resource_type="host",
        severity=Severity.INFORMATIONAL,
        status=FindingStatus.FAIL,
        detail=f"see 198.51.100.1:{number}",
    )


def balancer(dns_name: str, scheme: str = "internet-facing") -> ObservedResource:
    """A load balancer as discovery sees it."""
    return ObservedResource(
        uid=f"arn:{dns_name}",
        type="ec2_application_load_balancer",
        name=dns_name,
        region="eu-west-1",
        tags={},
        attributes={"dns_name": dns_name, "scheme": scheme},
    )


TLS: dict[str, Any] = {
    "name": "tls",
    "enabled": True,
    "when": {"on": "finding", "source": ["nmap", "sslyze"], "check_id": ["ssl-cert"]},
    "then": {"tools": ["sslyze"], "policy": "fast"},
}
PUBLIC: dict[str, Any] = {
    "name": "public",
    "enabled": True,
    "when": {
        "on": "resource",
        "types": ["ec2_*_load_balancer"],
        "attributes": {"scheme": "internet-facing"},
    },
    "then": {"tools": ["zap"], "target": "url"},
}


@dataclass
class Team:
    """A team, its scans as workers store them, and what follows them."""

    database: Database
    settings: Settings
    client: Client
    team_id: UUID
    account_id: UUID
    now: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=5))

    def at(self) -> datetime:
        """A minute later each time."""
        self.now += timedelta(minutes=1)
        return self.now

    async def approve(self, name: str, *entries: tuple[ScopeKind, str]) -> UUID:
        allows = [ScopeEntry(kind=kind, value=value) for kind, value in entries]
        async with self.database.transaction() as session:
            scope = await target_scopes.create_scope(
                session, self.team_id, NewScope(name=name, allows=allows), who="t", at=self.at()
            )
        return scope.id

    async def rule(self, body: dict[str, Any], **fields: Any) -> Cascade:
        async with self.database.transaction() as session:
            new = NewCascade.model_validate(body | fields)
            return await cascades.create_rule(session, self.team_id, new, at=self.at())

    async def target(self, value: str, kind: TargetKind = TargetKind.HOST) -> UUID:
        async with self.database.transaction() as session:
            new = NewTarget(kind=kind, value=value)
            return (await targets.create_target(session, self.team_id, new, at=self.at())).id

    async def native(self, found: Sequence[ObservedFinding], *, host: str = "203.0.113.7") -> UUID:
        """A native scan of a host that found these, ended."""
        target_id = await self.target(host)
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session, self.team_id, NativeOptions(targets=[target_id]),
                trigger=ScanTrigger(), idempotency_key=None, at=self.at(),
            )  # fmt: skip
        scopes = await self._scopes()
        pinned = {
            "target_id": str(target_id), "team_id": str(self.team_id), "kind": "host",
            "value": host, "addresses": [host], "pinned_at": self.now.isoformat(),
            "scope": {"id": str(scopes[0]), "name": "first"},
        }  # fmt: skip
        await self.finish(scan, found, plan={"pinned": pinned})
        return scan.id

    async def _scopes(self) -> list[UUID]:
        async with self.database.transaction() as session:
            return [each.id for each in await target_scopes.all_scopes(session, self.team_id)]

    async def cloud(self, found: Sequence[ObservedResource], **end: Any) -> UUID:
        """A scan of the account that found these, ended."""
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session, self.team_id, NewScan(account_id=self.account_id),
                trigger=ScanTrigger(), idempotency_key=None, at=self.at(),
            )  # fmt: skip
        await self.finish(scan, [], found, **end)
        return scan.id

    async def finish(
        self,
        scan: Scan,
        found: Sequence[ObservedFinding],
        resources: Sequence[ObservedResource] = (),
        *,
        plan: dict[str, Any] | None = None,
        outcome: ScanStatus | None = None,
    ) -> None:
        """Run a scan's only shard to its end."""
        is_native = scan.kind == "native"
        kind = TaskKind.NATIVE if is_native else TaskKind.DISCOVERY
        shard = scan_state.PlannedShard(kind=kind, key="s", title="s", batch=0, plan=plan or {})
        async with self.database.transaction() as session:
            assert await scan_state.claim_account(session, scan.id, at=self.at()) is None
            await scan_state.write_plan(session, scan.id, [shard], notes=[])
            await scan_state.start_task(session, scan.id, "s", at=self.at(), attempt=1)
        where = staging.StagingTarget(
            scan_id=scan.id, key="s", team_id=self.team_id, account_id=scan.account_id,
            account_uid="native" if is_native else "123456789012",
            provider=Provider.NATIVE if is_native else Provider.AWS,
            source=NativeTool.NMAP if is_native else "steampipe",
        )  # fmt: skip
        covered = [CoveredCheck(each.check_id, each.region) for each in found]
        covered += [CoveredCheck(each.type, "") for each in resources]
        async with self.database.copying() as connection:
            rows = await staging.stage_findings(connection, where, found)
            rows += await staging.stage_resources(connection, where, resources)
            pairs = await staging.stage_coverage(connection, where, list(dict.fromkeys(covered)))
        async with self.database.transaction() as session:
            coverage = Coverage(planned=1, run=1)
            await scan_state.report_task(
                session, scan.id, "s", coverage=coverage, rows=rows, covered=pairs
            )
            await merge_shard(session, scan.id, "s", at=self.at())
            await scan_state.end_scan(
                session, ScanEnd(scan_id=scan.id, outcome=outcome), at=self.at()
            )

    async def follow(self, scan_id: UUID) -> list[Scan]:
        """Run the activity at the end of this scan; returns the scans that follow it."""
        activities = CascadeActivities(self.database, self.settings, self.client)
        started = await ActivityEnvironment().run(
            activities.start_cascades, ScanRequest(scan_id=scan_id)
        )
        return [await self.get(each) for each in started.scan_ids]

    async def get(self, scan_id: UUID) -> Scan:
        async with self.database.transaction() as session:
            return await scans.get_scan(session, self.team_id, scan_id)

    async def values(self, scan: Scan) -> list[str]:
        """The targets of a scan by their values."""
        assert isinstance(scan.options, NativeOptions)
        async with self.database.transaction() as session:
            found = await targets.load_targets(session, self.team_id, scan.options.targets)
        return sorted(each.value for each in found)


@pytest.fixture
async def team(database_url: str, temporal: Client) -> AsyncIterator[Team]:
    """A team with an account, in a namespace where nobody works."""
    database = Database.open(database_url, pool_size=5)
    lab = await make_lab(database)
    async with database.transaction() as session:
        await native_account(session, lab.team_id, at=lab.clock())
    client = await new_namespace(temporal, "cascades")
    settings = Settings.model_validate({"database_url": database_url})
    yield Team(database, settings, client, lab.team_id, lab.account_id)
    await database.close()


async def test_a_new_port_starts_one_scan_of_what_may_be_scanned(team: Team) -> None:
    scope = await team.approve("office", (ScopeKind.CIDR, NET))
    elsewhere = await team.approve("elsewhere", (ScopeKind.CIDR, "198.51.100.0/24"))
    rule = await team.rule(TLS, max_targets=2)
    found = [port_found(443), port_found(8443), port_found(9443), port_found(22, check="open-port")]
    # In a scope of the team, yet not in that of the scan: a redirect must not lead there.
    root = await team.native([*found, port_found(443, "198.51.100.1"), port_found(443, "ho st")])

    (started,) = await team.follow(root)

    assert started.status is ScanStatus.PENDING
    assert started.trigger == ScanTrigger(
        kind="cascade", root_scan_id=root, parent_scan_id=root, rule="tls", scopes=[scope]
    )
    assert isinstance(started.options, NativeOptions)
    assert (started.options.tools, started.options.policy) == (["sslyze"], "fast")
    assert set(await team.values(started)) < {f"203.0.113.7:{n}" for n in (443, 8443, 9443)}
    described = await team.client.get_workflow_handle(f"scan/{started.id}").describe()
    assert described.workflow_type == "NativeScan"
    notes = "\n".join((await team.get(root)).notes)
    assert f"Cascade tls started scan {started.id} of 2 targets." in notes
    assert "Cascade tls left out 1 more" in notes
    assert "does not scan 198.51.100.1:443" in notes
    assert "that the first scan of the chain was in. (out_of_scope)" in notes
    assert "does not scan ho st/tcp/443/ssl-cert" in notes
    assert elsewhere not in (started.trigger.scopes or [])
    async with team.database.transaction() as session:
        page = await targets.list_targets(session, team.team_id, tag=["cascade:tls"], limit=9)
        assert len(page.items) == 2
        assert await cascades.started(session, root) == {rule.id: started.id}


async def test_each_rule_starts_one_scan_in_a_chain_so_chains_end(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    await team.rule(TLS, name="a", then={"tools": ["nmap"], "target": "host"})
    await team.rule(TLS, name="b", when=TLS["when"] | {"check_id": ["open-port"]})
    root = await team.native([port_found(443)])
    (first,) = await team.follow(root)
    assert first.trigger.rule == "a"
    assert [each.id for each in await team.follow(root)] == [first.id]  # at least once is once
    await team.finish(first, [port_found(1), port_found(2, check="open-port")])
    (second,) = await team.follow(first.id)
    assert second.trigger.rule == "b"
    assert (second.trigger.root_scan_id, second.trigger.parent_scan_id) == (root, first.id)
    assert second.trigger.scopes == first.trigger.scopes
    await team.finish(second, [port_found(3), port_found(4, check="open-port")])
    assert await team.follow(second.id) == []
    with pytest.raises(IntegrityError):  # whatever the code does, the database holds it
        async with team.database.transaction() as session:
            await session.execute(
                text("""
                    INSERT INTO cascade_start
                    SELECT root_scan_id, rule_id, parent_scan_id, scan_id, at FROM cascade_start
                """)
            )


async def test_nothing_follows_unless_a_rule_is_enabled_and_something_is_new(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    rule = await team.rule(TLS, enabled=False)
    async with team.database.transaction() as session:
        every = await cascades.all_rules(session, team.team_id, at=team.at())
        assert len(every) > 3
        assert not any(each.enabled for each in every)
    root = await team.native([port_found(443)])
    lifecycle = ScanLifecycleActivities(team.database, team.settings, team.client)
    ended = await ActivityEnvironment().run(lifecycle.end_scan, ScanEnd(scan_id=root))
    assert not ended.may_cascade
    assert await team.follow(root) == []
    async with team.database.transaction() as session:
        on = CascadeChange(enabled=True)
        await cascades.change_rule(session, team.team_id, rule.id, on, at=team.at())
    ended = await ActivityEnvironment().run(lifecycle.end_scan, ScanEnd(scan_id=root))
    assert ended.may_cascade
    again = await team.native([port_found(443)], host="203.0.113.8")  # which was known before
    assert await team.follow(again) == []


async def test_a_port_that_comes_back_is_new_again_and_one_that_stayed_is_not(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    await team.rule(TLS)
    await team.native([port_found(443), port_found(8443)])
    await team.native([port_found(8443)], host="203.0.113.8")
    last = await team.native([port_found(443), port_found(8443)], host="203.0.113.9")
    (started,) = await team.follow(last)
    assert await team.values(started) == ["203.0.113.7:443"]


async def test_what_failed_or_was_cancelled_is_not_followed(team: Team) -> None:
    await team.approve("shops", (ScopeKind.DOMAIN, "shop.example.com"))
    await team.rule(PUBLIC)
    for outcome in (ScanStatus.CANCELLED, ScanStatus.FAILED):
        scan = await team.cloud([balancer("shop.example.com")], outcome=outcome)
        assert await team.follow(scan) == []


async def test_a_new_load_balancer_is_followed_within_any_scope_of_the_team(team: Team) -> None:
    await team.approve("shops", (ScopeKind.DOMAIN, "shop.example.com"))
    await team.rule(PUBLIC)
    await team.cloud([balancer("old.example.com")])
    scan = await team.cloud(
        [
            balancer("shop.example.com"),
            balancer("inside.example.com", "internal"),
            balancer("other.example.com"),
            balancer("shop.example.com/../admin"),
            balancer("169.254.169.254"),
        ],
        outcome=ScanStatus.COMPLETED_WITH_ERRORS,
    )
    (started,) = await team.follow(scan)
    assert await team.values(started) == ["https://shop.example.com/"]
    assert started.trigger.scopes is None
    notes = "\n".join((await team.get(scan)).notes)
    assert "(out_of_scope)" in notes
    assert "(malformed)" in notes
    assert "(metadata)" in notes
    assert "inside" not in notes
    assert "old" not in notes


async def test_a_disabled_target_is_not_scanned_again_by_a_rule(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    await team.rule(TLS)
    target_id = await team.target("203.0.113.7:443")
    async with team.database.transaction() as session:
        off = TargetChange(enabled=False)
        await targets.change_target(session, team.team_id, target_id, off, at=team.at())
    root = await team.native([port_found(443)])
    assert await team.follow(root) == []
    assert "(disabled)" in "\n".join((await team.get(root)).notes)


async def test_a_worker_that_dies_between_record_and_start_is_made_good(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    rule = await team.rule(TLS)
    root = await team.native([port_found(443)])
    async with team.database.transaction() as session:
        recorded = await cascades.record_start(
            session, team.team_id, rule, [(TargetKind.HOST, "203.0.113.7:443")],
            root_scan_id=root, parent_scan_id=root, scopes=None, at=team.at(),
        )  # fmt: skip
    (started,) = await team.follow(root)
    assert started.id == recorded
    assert await team.client.get_workflow_handle(f"scan/{recorded}").describe()


async def test_a_rule_that_cannot_start_is_noted_and_the_others_go_on(team: Team) -> None:
    await team.approve("office", (ScopeKind.CIDR, NET))
    await team.approve("shops", (ScopeKind.DOMAIN, "shop.example.com"))
    await team.rule(TLS)
    root = await team.native([port_found(443)])
    async with team.database.transaction() as session:
        account = await native_account(session, team.team_id, at=team.at())
        row = await session.get(AccountRow, account.id)
        assert row is not None
        row.enabled = False
    assert await team.follow(root) == []
    notes = (await team.get(root)).notes
    assert any(note.startswith("Cascade tls started nothing: Account") for note in notes)


async def test_rules_that_come_along_are_kept_under_their_names(team: Team) -> None:
    async with team.database.transaction() as session:
        first = (await cascades.all_rules(session, team.team_id, at=team.at()))[0]
        with pytest.raises(Conflict):
            await cascades.delete_rule(session, team.team_id, first.id)
        renamed = CascadeChange(name="mine")
        with pytest.raises(Conflict):
            await cascades.change_rule(session, team.team_id, first.id, renamed, at=team.at())
        again = await cascades.all_rules(session, team.team_id, at=team.at())
        assert len(again) == len({each.name for each in again})


async def test_the_scopes_of_a_chain_bind_planning_and_every_attempt(team: Team) -> None:
    office = await team.approve("office", (ScopeKind.CIDR, NET))
    other = await team.approve("other", (ScopeKind.CIDR, "198.51.100.0/24"))
    target_id = await team.target("198.51.100.1")
    asked = {"at": team.at()}
    pinned = await pin_target(team.database, team.settings, team.team_id, target_id, **asked)
    await verify_target(team.database, team.settings, pinned, scopes=[other], **asked)
    with pytest.raises(TargetInvalid):
        await verify_target(team.database, team.settings, pinned, scopes=[office], **asked)
    for scopes in ([office], [], [uuid4()]):
        with pytest.raises(TargetInvalid):
            await pin_target(
                team.database, team.settings, team.team_id, target_id, scopes=scopes, **asked
            )


async def test_a_scan_that_follows_is_planned_and_run_within_the_scopes_of_its_chain(
    team: Team,
) -> None:
    office = await team.approve("office", (ScopeKind.CIDR, NET))
    await team.approve("other", (ScopeKind.CIDR, "198.51.100.0/24"))
    rule = await team.rule(TLS, then={"tools": ["nmap"]})
    root = await team.native([])
    values = ["203.0.113.7:443", "198.51.100.1:443"]
    async with team.database.transaction() as session:
        scan_id = await cascades.record_start(
            session, team.team_id, rule, [(TargetKind.HOST, each) for each in values],
            root_scan_id=root, parent_scan_id=root, scopes=[office], at=team.at(),
        )  # fmt: skip
    assert scan_id is not None
    tools = NativeScanActivities(team.database, team.settings)
    plan = await ActivityEnvironment().run(tools.plan_native, ScanRequest(scan_id=scan_id))
    assert [shard.key for shard in plan.shards] == ["nmap/203.0.113.7:443"]
    assert "198.51.100.1:443 lies in no scope" in "\n".join((await team.get(scan_id)).notes)
    # Another approval than that of its chain does not keep it going.
    await team.approve("office again", (ScopeKind.CIDR, NET))
    async with team.database.transaction() as session:
        end = ScopeChange(valid_until=team.at())
        await target_scopes.change_scope(session, team.team_id, office, end, at=team.at())
    task = ShardTask(scan_id=scan_id, key=plan.shards[0].key)
    with pytest.raises(TargetInvalid) as refused:
        await ActivityEnvironment().run(tools.run_tool, task)
    assert refused.value.rule is TargetRule.SCOPE_EXPIRED
