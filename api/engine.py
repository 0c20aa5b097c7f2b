"""Temporal as the API uses it: start and steer scans, check accounts, see workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Final
from urllib.parse import quote
from uuid import UUID

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities import engine_starts, engine_state
from contracts.accounts import Account, AccountCheck, AccountRef
from contracts.errors import EngineUnavailable
from contracts.scans import Scan
from runtime import search_attributes, task_queues, temporal
from runtime.settings import Settings
from workflows.failures import scan_error

RPC_TIMEOUT: Final = timedelta(seconds=4)
CHECK_SECONDS: Final = 30.0
POLLERS_SECONDS: Final = 2.0

CONNECT_PAUSE_SECONDS: Final = 1.0
"""Requests that wait behind a failed connection fail with it, not one after the other."""

# By name: importing the workflows would load every scanner into the API's memory. A test compares
# these names with the classes.
ACCOUNT_CHECK: Final = "AccountCheck"
PAUSE: Final = "pause"
RESUME: Final = "resume"


class Engine:
    """Connects at the first call that needs it; every call raises EngineUnavailable in seconds."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._failed_at = -CONNECT_PAUSE_SECONDS
        self._polled: dict[str, tuple[float, bool]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Engine:
        """The Temporal that the settings and the `TEMPORAL_*` variables name."""
        return cls(lambda: temporal.connect(settings))

    async def client(self) -> Client:
        """The one connection of this process, made once."""
        async with self._connecting:
            if self._client is None:
                if monotonic() - self._failed_at < CONNECT_PAUSE_SECONDS:
                    raise EngineUnavailable("Temporal did not answer a moment ago.")
                try:
                    self._client = await self._connected()
                except EngineUnavailable:
                    self._failed_at = monotonic()
                    raise
            return self._client

    async def _connected(self) -> Client:
        try:
            async with asyncio.timeout(RPC_TIMEOUT.total_seconds()):
                client = await self._connect()
                with temporal.engine_errors(client):
                    await temporal.register_search_attributes(client, search_attributes.TYPES)
        except TimeoutError as error:
            raise EngineUnavailable("Temporal does not answer in time.") from error
        return client

    async def start_scan(self, scan: Scan, team_id: UUID, account_name: str) -> None:
        """Start the scan's workflow; starting twice is starting once."""
        client = await self.client()
        with temporal.engine_errors(client):
            await engine_starts.start_scan(
                client,
                scan.id,
                kind=scan.kind,
                team_id=team_id,
                account_id=scan.account_id,
                account_name=account_name,
                rpc_timeout=RPC_TIMEOUT,
            )

    async def cancel(self, workflow_id: str) -> bool:
        """Ask the workflow to end; False when it is not running."""
        client = await self.client()
        handle = client.get_workflow_handle(workflow_id)
        try:  # Temporal accepts a cancel of what has ended, too
            with temporal.engine_errors(client):
                description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return False
        return await self._reached(client, handle.cancel(rpc_timeout=RPC_TIMEOUT))

    async def signal(self, workflow_id: str, name: str) -> bool:
        """Send `pause` or `resume`; False when the workflow is not running."""
        client = await self.client()
        return await self._reached(
            client,
            client.get_workflow_handle(workflow_id).signal(name, rpc_timeout=RPC_TIMEOUT),
        )

    async def wait_until_closed(self, workflow_id: str) -> None:
        """Return once no run of this workflow is open, at once if there never was one."""
        client = await self.client()
        with suppress(WorkflowFailureError):  # however it ended, it is closed
            await self._reached(client, client.get_workflow_handle(workflow_id).result())

    async def check_account(self, account: Account) -> AccountCheck | None:
        """Check the account's credentials on a worker; None when there was no answer in 30 s."""
        client = await self.client()
        with temporal.engine_errors(client):
            handle = await client.start_workflow(
                ACCOUNT_CHECK,
                AccountRef(account_id=account.id),
                id=f"account-check/{account.id}",
                task_queue=task_queues.SCANS,
                result_type=AccountCheck,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=self._attributes(account.team_id, account.id),
                static_summary=f"Credential check of {account.name}",
                execution_timeout=timedelta(minutes=2),
                rpc_timeout=RPC_TIMEOUT,
            )
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    result: AccountCheck = await handle.result()
                    return result
            except TimeoutError:
                return None
            except WorkflowFailureError as failure:
                error = scan_error(failure)
                return AccountCheck(ok=False, error=error.message, fix=error.fix)

    async def is_polled(self, queue: str) -> bool:
        """True when a worker asked for work of this queue lately; asked at most every two seconds,
        however many requests want to know."""
        asked_at, answer = self._polled.get(queue, (-POLLERS_SECONDS, False))
        if monotonic() - asked_at < POLLERS_SECONDS:
            return answer
        client = await self.client()
        with temporal.engine_errors(client):
            answer = await engine_state.is_polled(client, queue)
        self._polled[queue] = (monotonic(), answer)
        return answer

    async def ping(self) -> None:
        """Return when Temporal answers."""
        client = await self.client()
        with temporal.engine_errors(client):
            if not await client.service_client.check_health(timeout=RPC_TIMEOUT):
                raise EngineUnavailable("Temporal is not serving.")

    @staticmethod
    async def _reached(client: Client, call: Awaitable[object]) -> bool:
        try:
            with temporal.engine_errors(client):
                await call
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    @staticmethod
    def _attributes(team_id: UUID, account_id: UUID) -> TypedSearchAttributes:
        return search_attributes.of_account(team_id, account_id)


def workflow_url(settings: Settings, workflow_id: str, namespace: str) -> str | None:
    """Where Temporal's Web UI shows a workflow; None when nobody said where the UI is."""
    base = settings.temporal_ui_url
    if base is None:
        if temporal.is_external():
            return None
        base = f"http://127.0.0.1:{settings.temporal_ui_port}"
    return f"{base.rstrip('/')}/namespaces/{namespace}/workflows/{quote(workflow_id, safe='')}"
