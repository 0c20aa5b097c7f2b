"""A cluster as an account, and scans of it: what tests of its workflows share."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from activities import engine_starts
from contracts.accounts import FileCredentials, NewAccount
from contracts.resources import Resource, ResourceFilter
from contracts.scans import NewScan, Scan, ScanTask, ScanTrigger
from contracts.vocabulary import Provider, ScanKind
from runtime.settings import Settings
from storage import accounts, keys
from storage.database import Database
from storage.inventory import resources
from storage.scans import scans
from tests.support.fake_kubernetes import FakeKubernetes, pod, running_kubernetes, thing
from worker import build_workers, registrations, running

PODS = "/api/v1/pods"
SECRETS = "/api/v1/secrets"
SECRET_VALUE = "correct-horse-battery-staple"
ENCODED = base64.b64encode(SECRET_VALUE.encode()).decode()


class Cluster:
    """An account of a cluster that is there, and scans of it."""

    def __init__(
        self, database: Database, client: Client, server: FakeKubernetes, directory: Path
    ) -> None:
        self.database = database
        self.client = client
        self.server = server
        self.directory = directory
        self.team_id = self.account_id = UUID(int=0)

    async def add(self, name: str = "cluster", path: Path | None = None) -> UUID:
        """An account with this kubeconfig."""
        path = path or self.server.kubeconfig(self.directory / "kubeconfig")
        async with self.database.transaction() as session:
            new = NewAccount(
                name=name,
                provider=Provider.KUBERNETES,
                credentials=FileCredentials(path=str(path)),
            )
            return (
                await accounts.create_account(session, self.team_id, new, at=datetime.now(UTC))
            ).id

    async def start(
        self, kind: ScanKind | None = ScanKind.KUBERNETES_DISCOVERY, **options: Any
    ) -> tuple[UUID, WorkflowHandle[Any, Any]]:
        """Start a scan: its id and workflow."""
        async with self.database.transaction() as session:
            scan, _ = await scans.create_scan(
                session,
                self.team_id,
                NewScan(account_id=self.account_id, **options),
                trigger=ScanTrigger(),
                idempotency_key=None,
                at=datetime.now(UTC),
                kind=kind,
            )
        await engine_starts.start_scan(
            self.client,
            scan.id,
            kind=scan.kind,
            team_id=self.team_id,
            account_id=self.account_id,
            account_name="cluster",
        )
        return scan.id, self.client.get_workflow_handle(f"scan/{scan.id}")

    async def scan(self, **how: Any) -> Scan:
        """Scan to the end, whatever that is."""
        scan_id, handle = await self.start(**how)
        with suppress(WorkflowFailureError):  # as its row says
            await handle.result()
        async with self.database.transaction() as session:
            return await scans.get_scan(session, self.team_id, scan_id)

    async def tasks(self, scan: Scan) -> dict[str, ScanTask]:
        """The scan's shards by key."""
        async with self.database.transaction() as session:
            page = await scans.list_tasks(session, self.team_id, scan.id, limit=50)
        return {task.key: task for task in page.items}

    async def there(self) -> dict[str, Resource]:
        """The resources that are there, by name."""
        async with self.database.transaction() as session:
            page = await resources.list_resources(
                session, self.team_id, ResourceFilter(), limit=500
            )
        return {resource.name: resource for resource in page.items}

    async def written(self) -> list[tuple[Any, ...]]:
        """Which transaction wrote each resource's row last."""
        async with self.database.transaction() as session:
            rows = await session.execute(
                text("SELECT uid, xmin::text, gone_at FROM resource ORDER BY uid")
            )
            return [tuple(row) for row in rows]

    async def every_row(self) -> str:
        """All that is stored, as text."""
        async with self.database.transaction() as session:
            tables = await session.scalars(
                text("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'")
            )
            parts = []
            for table in tables.all():
                rows = await session.execute(text(f'SELECT t::text FROM "{table}" AS t'))  # noqa: S608
                parts += [row[0] for row in rows]
        return "\n".join(parts)


@asynccontextmanager
async def cluster_with_workers(
    database_url: str,
    namespace: Client,
    settings: Settings,
    directory: Path,
    queues: Sequence[str],
) -> AsyncIterator[Cluster]:
    """A cluster with a few things in it, as an account, and workers to scan it."""
    database = Database.open(database_url, pool_size=8)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        server = await stack.enter_async_context(running_kubernetes())
        furnish(server)
        made = Cluster(database, namespace, server, directory)
        async with database.transaction() as session:
            made.team_id = await keys.create_team(session, "team")
        made.account_id = await made.add()
        table = registrations(database, settings, namespace)
        await stack.enter_async_context(running(build_workers(namespace, table, settings, queues)))
        yield made


def furnish(server: FakeKubernetes) -> None:
    """Six things, of which two hold a secret."""
    server.put("/api/v1/namespaces", [thing("shop", None, kind="namespace")])
    server.put(PODS, [pod("web-1"), pod("web-2"), pod("cart-1")])
    applied = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"data": "{ENCODED}"}}'}
    secret = {"type": "Opaque", "data": {"password": ENCODED}, "annotations": applied}
    server.put(SECRETS, [thing("database", kind="secret", **secret)])
    server.put("/api/v1/configmaps", [thing("settings", data={"motd": SECRET_VALUE})])
