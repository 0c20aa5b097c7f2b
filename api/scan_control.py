"""Row, then workflow: what starts, cancels, pauses and resumes a scan, safe at every kill -9."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import engine as engines
from api.problems import Refusal
from api.state import Services
from api.wording import FieldMessage
from contracts.accounts import Account
from contracts.errors import Conflict, EngineUnavailable
from contracts.scans import NewScan, Scan, ScanEnd, ScanOptions, ScanTrigger
from contracts.vocabulary import Provider, ScanKind, ScanStatus
from runtime import task_queues, temporal
from scanners.native.native_tools import CLUSTER_TOOLS
from storage import accounts
from storage.scans import imports, scan_resume, scan_state, scans, scope

NOT_STARTED: Final = (
    "Temporal could not be reached when this scan was queued. "
    "Resume the scan, or repeat the request with its Idempotency-Key, to start it."
)
NO_ENGINE: Final = "Temporal cannot be reached; the scan goes on when it can."
NO_WORKER: Final = task_queues.no_worker(task_queues.SCANS)
END_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0
"""Reads wait no longer than this for Temporal to say whether workers poll."""


async def start(
    shared: Services, team_id: UUID, request: NewScan, idempotency_key: str | None, at: datetime
) -> Scan:
    """Insert the row and commit, then start the workflow by id.

    The same key and body give the same scan, started if it was not. Raises a 503 that names the
    scan when Temporal cannot be reached; the row then says so.
    """
    async with shared.database.transaction() as session:
        account = await accounts.get_account(session, team_id, request.account_id)
        errors = await scope_errors(session, account.provider, request)
        if errors:
            raise Refusal(422, "The scan names something that does not exist.", errors=errors)
        scan, _ = await scans.create_scan(
            session,
            team_id,
            request,
            trigger=ScanTrigger(),
            idempotency_key=idempotency_key,
            at=at,
        )
    return await started(shared, team_id, scan, account)


async def started(shared: Services, team_id: UUID, scan: Scan, account: Account) -> Scan:
    """A scan whose row is committed, once its workflow is started if it was not."""
    if scan.status is ScanStatus.PENDING:
        await start_workflow(shared, team_id, scan, account)
    return await _read(shared, team_id, scan.id)


async def cancel(shared: Services, team_id: UUID, scan_id: UUID, at: datetime) -> Scan:
    """Ask the scan to stop; what was merged stays. Conflict when it has ended."""
    scan = await _read(shared, team_id, scan_id)
    if scan.status.ended:
        raise Conflict(f"This scan has ended already: it is {scan.status}.")
    is_running = await shared.engine.cancel(scan.workflow_id)
    if not is_running or scan.status is ScanStatus.PENDING:
        # Nothing runs that could record the end (it was never started, or Temporal lost it), or
        # nothing has begun: then it ends now, even while no worker is there to hear of it.
        async with shared.database.transaction() as session:
            end = ScanEnd(scan_id=scan.id, outcome=ScanStatus.CANCELLED)
            await scan_state.end_scan(session, end, at=at)
    return await _read(shared, team_id, scan_id)


async def pause(shared: Services, team_id: UUID, scan_id: UUID) -> Scan:
    """Start no new shards; those that run go on to their end. Conflict unless it is running."""
    scan = await _read(shared, team_id, scan_id)
    if scan.kind is ScanKind.IMPORT:
        raise Conflict("An import cannot be paused.", fix="Cancel it, and import the file again.")
    if scan.status is not ScanStatus.RUNNING:
        raise Conflict(f"Only a running scan can be paused; this one is {scan.status}.")
    await _signal(shared, scan, engines.PAUSE)
    return scan


async def resume(shared: Services, team_id: UUID, scan_id: UUID, at: datetime) -> Scan:
    """Go on: a paused scan with its next shards, an ended one with what was not or not wholly done.

    A pending scan is started if it was not. Conflict when it is running or nothing is left to do.
    """
    scan = await _read(shared, team_id, scan_id)
    if scan.status is ScanStatus.RUNNING:
        raise Conflict("This scan is running already.")
    if scan.status is ScanStatus.PAUSED:
        await _signal(shared, scan, engines.RESUME)
        return scan
    if scan.kind is ScanKind.IMPORT:
        await _require_read(shared, scan)
    if scan.status.ended:
        await _let_it_end(shared, scan)
    async with shared.database.transaction() as session:
        account = await accounts.get_account(session, team_id, scan.account_id)
        if scan.status.ended:
            scan = await scan_resume.reopen_scan(session, team_id, scan_id, at=at)
    await start_workflow(shared, team_id, scan, account)
    return await _read(shared, team_id, scan_id)


async def shown(shared: Services, found: Sequence[Scan]) -> list[Scan]:
    """The scans as people read them: what they wait for, and their page in the Web UI."""
    config = temporal.connect_config(shared.settings)
    namespace = config.get("namespace", "default")
    silent = [scan for scan in found if scan.status is ScanStatus.PENDING and not scan.waiting_for]
    words = await what_is_missing(shared) if silent else None
    return [
        scan.model_copy(
            update={
                "temporal_url": engines.workflow_url(shared.settings, scan.workflow_id, namespace),
                "waiting_for": words if scan in silent else scan.waiting_for,
            }
        )
        for scan in found
    ]


async def scope_errors(
    session: AsyncSession, provider: Provider, options: ScanOptions
) -> list[FieldMessage]:
    """The names in a scan's options that do not exist, field by field.

    Planning refuses the rest: frameworks, which have other spellings, regions, which only the
    provider knows, and all names before the first scan has brought the checks.
    """
    errors = _tool_errors(provider, options.tools or [])
    asked = options.model_dump(include={"services", "checks"}, exclude_none=True)
    if not asked:
        return errors
    known = await scope.known_names(session, provider)
    return errors + [
        (
            f"{field}[{position}]",
            f"{provider} has no {field.removesuffix('s')} `{name}`.{_nearest(name, known[field])}",
        )
        for field, names in asked.items()
        for position, name in enumerate(names)
        if known["checks"] and name not in known[field]
    ]


def _tool_errors(provider: Provider, tools: Sequence[str]) -> list[FieldMessage]:
    if tools and provider is not Provider.KUBERNETES:
        return [("tools", f"Only scans of clusters name tools; this account is one of {provider}.")]
    return [
        (
            f"tools[{position}]",
            f"No tool `{tool}` looks at a cluster. There are: {', '.join(CLUSTER_TOOLS)}.",
        )
        for position, tool in enumerate(tools)
        if tool not in CLUSTER_TOOLS
    ]


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


async def what_is_missing(shared: Services, *, no_engine: str = NO_ENGINE) -> str | None:
    """In words why nothing begins: Temporal or a worker is not there; None when both are."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return None if await shared.engine.is_polled(task_queues.SCANS) else NO_WORKER
    except (EngineUnavailable, TimeoutError):
        return no_engine


async def _read(shared: Services, team_id: UUID, scan_id: UUID) -> Scan:
    async with shared.database.transaction() as session:
        return await scans.get_scan(session, team_id, scan_id)


async def _require_read(shared: Services, scan: Scan) -> None:
    """Conflict unless an import waits for its merge only: its file is not kept."""
    if scan.status.ended:
        raise Conflict(f"This import is {scan.status}.", fix="Import the file again.")
    async with shared.database.transaction() as session:
        if not await imports.was_read(session, scan.id):
            raise Conflict("The file of this import is still being read.")


async def start_workflow(shared: Services, team_id: UUID, scan: Scan, account: Account) -> None:
    """Start a pending scan; a 503 that names the scan when Temporal cannot be reached."""
    try:
        await shared.engine.start_scan(scan, team_id, account.name)
    except EngineUnavailable as error:
        async with shared.database.transaction() as session:
            await scan_state.set_waiting(session, scan.id, NOT_STARTED)
        raise Refusal(
            503,
            "The scan is queued, but Temporal cannot be reached, so it has not started.",
            code=error.code,
            fix=f"When Temporal is back, `cloudsweep scan resume {scan.id}` starts it; so does the "
            "same request with the same Idempotency-Key.",
            scan_id=str(scan.id),
        ) from error
    if scan.waiting_for == NOT_STARTED:
        async with shared.database.transaction() as session:
            await scan_state.set_waiting(session, scan.id, None)


async def _let_it_end(shared: Services, scan: Scan) -> None:
    """A workflow outlives its scan by a moment; a start in that moment would be lost in it."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await shared.engine.wait_until_closed(scan.workflow_id)
    except TimeoutError as error:
        raise Conflict(
            f"This scan is {scan.status}, but its workflow is still stopping.",
            fix="Resume it again in a moment. If it stays so, see that a worker runs.",
        ) from error


async def _signal(shared: Services, scan: Scan, name: str) -> None:
    if not await shared.engine.signal(scan.workflow_id, name):
        raise Conflict(
            f"The scan is {scan.status} here, but Temporal no longer runs its workflow.",
            fix="Cancel the scan, then resume it: the shards that are not done run again.",
        )
