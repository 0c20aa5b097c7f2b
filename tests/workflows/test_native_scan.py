"""Scans of targets by worker processes with a real nmap, killed in the middle of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psutil
import pytest
from sqlalchemy import text
from temporalio.client import Client

from activities import engine_starts
from contracts.findings import FindingFilter
from contracts.native import PolicyLimits
from contracts.scans import NativeOptions, ScanTask, ScanTrigger
from contracts.targets import NewScope, NewTarget, ScopeEntry
from contracts.vocabulary import ScanStatus, ScopeKind, TargetKind, TaskStatus
from runtime import task_queues
from storage import keys
from storage.database import Database
from storage.findings import findings
from storage.scans import scan_checkpoints, scan_policies, scans
from storage.targets import target_scopes, targets
from tests.support.namespaces import new_namespace
from tests.support.native import needs
from tests.support.ports import free_ports
from tests.support.waiting import until
from tests.support.worker_process import worker_process

PROMPT = [f"127.0.0.{number}" for number in (2, 3, 4)]
SLOW = [f"127.0.0.{number}" for number in (5, 6, 7)]
NETWORK = "127.0.0.0/29"
HOLD = text("SELECT FROM check_coverage FOR UPDATE")
IN_THE_MIDDLE = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND query LIKE '%UPDATE check_coverage%'
""")
"""A merge whose findings are written, and which has only to say that its checks are complete."""
QUEUES = (task_queues.SCANS, task_queues.NATIVE, task_queues.SYNC)


class Hosts:
    """One port of six hosts: three let connections go at once, three once they are `let_go`."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.connections = Counter[str]()
        (self.port,) = free_ports(1)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Until the end of the block."""
        async with AsyncExitStack() as stack:
            for address in (*PROMPT, *SLOW):
                answer = self._late if address in SLOW else self._at_once
                server = await asyncio.start_server(answer, address, self.port)
                await stack.enter_async_context(server)
            stack.callback(self.let_go.set)
            yield

    async def _late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.let_go.wait()
        await self._at_once(reader, writer)

    async def _at_once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[writer.get_extra_info("sockname")[0]] += 1
        writer.close()
        with suppress(OSError):  # a scanner breaks connections off
            await writer.wait_closed()


class Team:
    """A team that may scan the six hosts."""

    def __init__(self, database: Database, client: Client, team_id: UUID, ids: list[UUID]) -> None:
        self.database, self.client, self.team_id, self.target_ids = database, client, team_id, ids

    @classmethod
    async def make(cls, database: Database, client: Client, port: int) -> Team:
        """With the hosts as its targets."""
        hosts = [
            NewTarget(kind=TargetKind.HOST, value=f"{address}:{port}")
            for address in (*PROMPT, *SLOW)
        ]
        return await cls._make(database, client, port, hosts)

    @classmethod
    async def make_with_one_host(cls, database: Database, client: Client, port: int) -> Team:
        """With a host that answers at once as its only target."""
        host = NewTarget(kind=TargetKind.HOST, value=f"{PROMPT[0]}:{port}")
        return await cls._make(database, client, port, [host])

    @classmethod
    async def make_with_network(cls, database: Database, client: Client, port: int) -> Team:
        """With the network that the hosts are in as its only target."""
        network = NewTarget(kind=TargetKind.CIDR, value=NETWORK)
        return await cls._make(database, client, port, [network])

    @classmethod
    async def _make(
        cls, database: Database, client: Client, port: int, wanted: list[NewTarget]
    ) -> Team:
        now = datetime.now(UTC)
        limits = PolicyLimits(ports=str(port), parallelism=2)
        lab = NewScope(name="lab", allows=[ScopeEntry(kind=ScopeKind.CIDR, value=NETWORK)])
        async with database.transaction() as session:
            team_id = await keys.create_team(session, f"team-{uuid4()}")
            await target_scopes.create_scope(session, team_id, lab, who="test", at=now)
            await scan_policies.set_policy(session, team_id, "lab", limits, who="test", at=now)
            made = [await targets.create_target(session, team_id, each, at=now) for each in wanted]
        return cls(database, client, team_id, [target.id for target in made])

    async def start(self) -> UUID:
        """Start a scan of its hosts."""
        options = NativeOptions(targets=self.target_ids, tools=["nmap"], policy="lab")
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session, self.team_id, options,
                trigger=ScanTrigger(), idempotency_key=None, at=datetime.now(UTC),
            )  # fmt: skip
        await engine_starts.start_scan(
            self.client, scan.id, kind=scan.kind, team_id=self.team_id,
            account_id=scan.account_id, account_name="native",
        )  # fmt: skip
        return scan.id

    async def ended(self, scan_id: UUID) -> ScanStatus:
        """How a scan ended, once it has."""

        async def has_ended() -> bool:
            return (await self._status(scan_id)).ended

        await until(has_ended)
        return await self._status(scan_id)

    async def _status(self, scan_id: UUID) -> ScanStatus:
        async with self.database.transaction() as session:
            return (await scans.get_scan(session, self.team_id, scan_id)).status

    async def tasks(self, scan_id: UUID) -> dict[str, ScanTask]:
        """A scan's shards by address."""
        async with self.database.transaction() as session:
            page = await scans.list_tasks(session, self.team_id, scan_id, limit=50)
        return {task.key.removeprefix("nmap/").partition(":")[0]: task for task in page.items}

    async def kept(self, scan_id: UUID) -> bytes:
        """What the next try of a scan's only shard would go on from."""
        async with self.database.transaction() as session:
            kept = await scan_checkpoints.load(
                session, scan_id, f"nmap/{NETWORK}", at=datetime.now(UTC)
            )
        return kept.get(0, b"")

    async def found(self) -> list[tuple[str, ...]]:
        """What every finding says."""
        async with self.database.transaction() as session:
            page = await findings.list_findings(session, self.team_id, FindingFilter(), limit=200)
        return sorted(
            (each.check_id, each.region, each.resource.uid, each.severity, each.status, each.state)
            for each in page.items
        )


@pytest.fixture
async def client(temporal: Client) -> Client:
    """A namespace of this test's own."""
    return await new_namespace(temporal, "native")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    opened = Database.open(database_url, pool_size=5)
    yield opened
    await opened.close()


def scanners_below(pid: int) -> list[psutil.Process]:
    """The nmap processes that a worker has."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "nmap":
                found.append(child)
    return found


async def test_a_worker_killed_in_the_middle_scans_no_host_again_that_was_done(
    client: Client, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("nmap", "nmap")
    monkeypatch.setenv("CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS", "true")
    hosts = Hosts()
    disturbed = await Team.make(database, client, hosts.port)
    undisturbed = await Team.make(database, client, hosts.port)
    async with hosts.listening():
        async with worker_process(client, database_url, *QUEUES) as process:
            scan_id = await disturbed.start()

            async def is_in_the_middle() -> bool:
                tasks = await disturbed.tasks(scan_id)
                done = {key for key, task in tasks.items() if task.status is TaskStatus.COMPLETED}
                return done == set(PROMPT) and len(scanners_below(process.pid)) == len(SLOW)

            await until(is_in_the_middle)
            scanners = scanners_below(process.pid)
            process.kill()
            await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, scanners, timeout=30)
        assert alive == []  # a scanner dies with its worker
        before = await disturbed.tasks(scan_id)
        hosts.let_go.set()
        async with worker_process(client, database_url, *QUEUES):
            again = await undisturbed.start()
            assert await undisturbed.ended(again) is ScanStatus.COMPLETED
            assert await disturbed.ended(scan_id) is ScanStatus.COMPLETED
    after = await disturbed.tasks(scan_id)
    assert {key: after[key] for key in PROMPT} == {key: before[key] for key in PROMPT}
    assert [after[key].attempt for key in PROMPT] == [1, 1, 1]
    assert min(after[key].attempt for key in SLOW) > 1
    found = await disturbed.found()
    assert {key for _, _, key, *_ in found} >= {
        f"{address}/tcp/{hosts.port}" for address in (*PROMPT, *SLOW)
    }
    assert found == await undisturbed.found()


async def test_a_worker_killed_in_the_middle_of_a_network_goes_on_from_the_hosts_that_were_done(
    client: Client, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("nmap", "nmap")
    monkeypatch.setenv("CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS", "true")
    hosts = Hosts()
    disturbed = await Team.make_with_network(database, client, hosts.port)
    undisturbed = await Team.make_with_network(database, client, hosts.port)
    done = ["127.0.0.2", "127.0.0.3"]  # two at a time: the next two have to wait
    async with hosts.listening():
        async with worker_process(client, database_url, *QUEUES) as process:
            scan_id = await disturbed.start()

            async def is_in_the_middle() -> bool:
                kept = await disturbed.kept(scan_id)
                return all(f'addr="{address}"'.encode() in kept for address in done)

            await until(is_in_the_middle)
            scanners = scanners_below(process.pid)
            assert len(scanners) == 1
            process.kill()
            await process.wait()
        await asyncio.to_thread(psutil.wait_procs, scanners, timeout=30)
        before = {address: hosts.connections[address] for address in done}
        hosts.let_go.set()
        async with worker_process(client, database_url, *QUEUES):
            assert await disturbed.ended(scan_id) is ScanStatus.COMPLETED
            assert {address: hosts.connections[address] for address in done} == before
            assert await undisturbed.ended(await undisturbed.start()) is ScanStatus.COMPLETED
            assert all(hosts.connections[address] > before[address] for address in done)
    (task,) = (await disturbed.tasks(scan_id)).values()
    assert task.attempt > 1
    assert await disturbed.kept(scan_id) == b""
    found = await disturbed.found()
    assert {key for _, _, key, *_ in found} == {
        f"{address}/tcp/{hosts.port}" for address in (*PROMPT, *SLOW)
    }
    assert found == await undisturbed.found()


async def test_a_worker_killed_in_the_last_merge_of_a_scan_leaves_what_an_undisturbed_one_does(
    client: Client, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("nmap", "nmap")
    monkeypatch.setenv("CLOUDSWEEP_ALLOW_LOOPBACK_TARGETS", "true")
    hosts = Hosts()
    team = await Team.make_with_one_host(database, client, hosts.port)

    async def is_in_the_middle() -> bool:
        async with database.transaction() as session:
            return (await session.execute(IN_THE_MIDDLE)).scalar_one() == 1

    async with hosts.listening():
        async with worker_process(client, database_url, *QUEUES) as process:
            assert await team.ended(await team.start()) is ScanStatus.COMPLETED
            undisturbed = await team.found()
            async with database.transaction() as session:
                await session.execute(HOLD)
                scan_id = await team.start()
                await until(is_in_the_middle)
                process.kill()
                await process.wait()
        async with worker_process(client, database_url, *QUEUES):
            assert await team.ended(scan_id) is ScanStatus.COMPLETED
    assert await team.found() == undisturbed
    history = await client.get_workflow_handle(f"scan/{scan_id}").fetch_history()
    tasks = [event.activity_task_scheduled_event_attributes for event in history.events]
    # It is no task of its own: the step of the workflow that had begun it was taken again.
    assert "merge_shards" not in [task.activity_type.name for task in tasks]
