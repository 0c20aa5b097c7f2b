"""Imports: a file is read to its end into staging, then a workflow merges it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api import scan_control
from api.problems import Refusal
from api.state import Services
from contracts.accounts import Account
from contracts.errors import (
    CloudsweepError,
    Conflict,
    DatabaseUnavailable,
    ReportMalformed,
    WrongAccount,
)
from contracts.findings import CheckText
from contracts.observations import ObservedFinding
from contracts.scans import Scan, ScanError
from scanners.processes import hostile_text
from scanners.processes.json_records import JsonRecords, Record
from scanners.prowler import prowler_ocsf
from storage import accounts
from storage.merge import staging
from storage.scans import imports, scans

STAGED_AT_ONCE: Final = 2_000
NOTED_EVERY_BYTES: Final = 4_000_000
CHECKS_LIMIT: Final = 20_000
"""Different checks of one file; their texts are held until its end."""

FIX: Final = "Nothing was merged. Correct the file, or send it whole, and import it again."


class Imported(NamedTuple):
    """The scan that an import is, and whether this upload made it."""

    scan: Scan
    is_new: bool


async def receive(
    shared: Services,
    team_id: UUID,
    account_id: UUID,
    chunks: AsyncIterator[bytes],
    *,
    is_complete: bool,
    again: bool,
) -> Imported:
    """Read a file of findings and start its merge; a Refusal says which line is wrong.

    The same file again gives the earlier import, unless `again`. Whatever goes wrong before the
    file is read to its end, nothing of it stays but the scan's row, which says why it failed.
    """
    async with shared.database.transaction() as session:
        account = await accounts.get_account(session, team_id, account_id)
        _require_importable(account)
        scan_id = await imports.create_import(
            session, team_id, account_id, is_complete=is_complete, at=_now()
        )
    reading = _Reading(shared, account, scan_id)
    try:
        async for chunk in chunks:
            await reading.take(chunk)
        await reading.end()
    except ReportMalformed as error:
        failure = ScanError(code=error.code, message=error.message, fix=FIX)
        await _fail(shared, scan_id, failure)
        raise Refusal(
            422, error.message, code=error.code, fix=FIX, errors=[("body", error.message)],
            scan_id=str(scan_id),
        ) from error  # fmt: skip
    except (Exception, asyncio.CancelledError) as error:
        failure = ScanError(code="import_failed", message=_why(error), fix=FIX)
        await asyncio.shield(_fail(shared, scan_id, failure))
        if isinstance(error, ClientDisconnect):  # nobody is there to read it: no fault of ours
            raise Refusal(422, failure.message, scan_id=str(scan_id)) from error
        raise
    return await _finish(shared, team_id, reading, is_complete=is_complete, again=again)


async def _finish(
    shared: Services, team_id: UUID, reading: _Reading, *, is_complete: bool, again: bool
) -> Imported:
    scan_id, account = reading.scan_id, reading.account
    digest = reading.digest.digest()
    async with shared.database.transaction() as session:
        earlier = await imports.earlier_import(session, account.id, digest, is_complete=is_complete)
        if earlier is not None and not again:
            await imports.forget_import(session, scan_id)
            return Imported(await scans.get_scan(session, team_id, earlier), False)
        kept = await imports.finish_reading(
            session,
            scan_id,
            texts=list(reading.texts.values()),
            rows=reading.rows,
            gone=reading.gone,
            size=reading.size,
            sha256=digest,
            is_complete=is_complete,
            at=_now(),
        )
        scan = await scans.get_scan(session, team_id, scan_id)
    if not kept:
        raise Conflict(f"This import was ended while its file was read: it is {scan.status}.")
    await scan_control.start_workflow(shared, team_id, scan, account)
    return Imported(scan, True)


class _Reading:
    """A file on its way into staging; what is held of it is one batch of findings."""

    def __init__(self, shared: Services, account: Account, scan_id: UUID) -> None:
        self._database = shared.database
        self.account = account
        self.scan_id = scan_id
        self.digest = hashlib.sha256()
        self.size = self.rows = self.gone = 0
        self.texts: dict[str, CheckText] = {}
        self._records = JsonRecords()
        self._batch: list[ObservedFinding] = []
        self._noted = 0
        self._target = staging.StagingTarget(
            scan_id=scan_id,
            key=imports.KEY,
            team_id=account.team_id,
            account_id=account.id,
            account_uid=account.uid or "",
            provider=account.provider,
            source=prowler_ocsf.SOURCE,
        )

    async def take(self, chunk: bytes) -> None:
        """Read what came; stage what is enough for a batch."""
        self.digest.update(chunk)
        self.size += len(chunk)
        for record in self._records.feed(chunk):
            self._add(record)
            if len(self._batch) >= STAGED_AT_ONCE:
                await self._stage()
        if self.size - self._noted >= NOTED_EVERY_BYTES:
            await self._note()

    async def end(self) -> None:
        """Read what only the end completes, and stage the rest."""
        for record in self._records.close():
            self._add(record)
        await self._stage()

    def _add(self, record: Record) -> None:
        try:
            reported = prowler_ocsf.read(record.value)
        except ReportMalformed as error:
            raise ReportMalformed(f"{_capital(record.place)}: {error.message}.") from error
        if (reported.provider, reported.account_uid) != (self.account.provider, self.account.uid):
            provider = hostile_text.line(reported.provider, 40)
            raise WrongAccount(
                f"{_capital(record.place)}: it is of the {provider} account "
                f"{hostile_text.line(reported.account_uid, 200)}; {self.account.name} is "
                f"the {self.account.provider} account {self.account.uid}."
            )
        if reported.is_gone:
            self.gone += 1
            return
        finding = reported.finding
        if finding.check_id not in self.texts:
            if len(self.texts) >= CHECKS_LIMIT:
                raise ReportMalformed(
                    f"{_capital(record.place)}: the file has more than {CHECKS_LIMIT:,} checks."
                )
            self.texts[finding.check_id] = prowler_ocsf.read_text(
                record.value, finding, self.account.provider
            )
        self._batch.append(finding)

    async def _stage(self) -> None:
        if not self._batch:
            return
        async with self._database.copying() as connection:
            self.rows += await staging.stage_findings(connection, self._target, self._batch)
        self._batch.clear()
        await self._note()

    async def _note(self) -> None:
        self._noted = self.size
        async with self._database.transaction() as session:
            alive = await imports.note_read(
                session, self.scan_id, size=self.size, rows=self.rows, at=_now()
            )
        if not alive:
            raise Conflict("This import was ended while its file was read.")


def _require_importable(account: Account) -> None:
    if not account.enabled:
        raise Conflict(f"Account {account.name} is disabled.", fix="Enable it first.")
    if account.uid is None:
        raise Conflict(
            f"Account {account.name} has no uid yet, so nothing says whether a file is of it.",
            fix=f"Run `cloudsweep account check {account.name}`, or set its uid.",
        )


async def _fail(shared: Services, scan_id: UUID, error: ScanError) -> None:
    try:
        async with shared.database.transaction() as session:
            await imports.fail_import(session, scan_id, error, at=_now())
    except DatabaseUnavailable:
        return  # the watchdog finds it abandoned


def _why(error: BaseException) -> str:
    match error:
        case ClientDisconnect() | asyncio.CancelledError():
            return "The upload broke off before the end of the file."
        case HTTPException():
            return str(error.detail)
        case CloudsweepError():
            return error.message
        case _:
            return "The file could not be read to its end."


def _capital(place: str) -> str:
    return place[:1].upper() + place[1:]


def _now() -> datetime:
    return datetime.now(UTC)
