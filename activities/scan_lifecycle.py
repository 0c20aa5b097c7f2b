"""How a scan begins, is planned, pauses and ends: the light activities around its shards."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client

from activities.cascade_planning import FOLLOWED
from activities.engine_state import how_it_ended
from activities.failures import as_application_error
from activities.progress import heartbeating
from activities.staged_shards import phase_plan
from activities.sync_starts import ask_for_sync_soon
from contracts.accounts import Account, AccountCheck, AccountRef, CloudIdentity
from contracts.errors import (
    CloudsweepError,
    Conflict,
    RateLimited,
    ScopeInvalid,
    TargetUnreachable,
)
from contracts.scans import (
    PhasePlan,
    ScanBegun,
    ScanEnd,
    ScanError,
    ScanPaused,
    ScanPlanning,
    ScanRequest,
    ScanSummary,
    ShardFailed,
)
from contracts.vocabulary import Provider, ScanStatus, TaskKind, TaskStatus
from runtime import policies
from runtime.settings import Settings
from scanners.cloud_identity import check_identity
from scanners.prowler import prowler_catalogue, prowler_plan
from scanners.steampipe import steampipe
from storage import accounts, checks
from storage.cascades import cascades
from storage.database import Database
from storage.scans import scan_state

SHUFFLE_SEED = 20_26
"""Fixed, so that a scan's order is the same each time yet no service or region always goes first:
throttling then spreads over the provider's APIs."""

SKIPPED_DISCOVERY = (
    "Discovery was skipped: CLOUDSWEEP_STEAMPIPE_URL is not set. "
    "Point it at a Steampipe service to fill the inventory."
)


class ScanLifecycleActivities:
    """Idempotent: each is a claim or an upsert by scan id."""

    def __init__(self, database: Database, settings: Settings, client: Client) -> None:
        self._database = database
        self._settings = settings
        self._client = client

    @activity.defn
    async def begin_scan(self, request: ScanRequest) -> ScanBegun:
        """Take the account, check its credentials, resolve its regions."""
        async with heartbeating():  # a worker that dies here is noticed before its time is up
            return await self._begin(request)

    async def _begin(self, request: ScanRequest) -> ScanBegun:
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, request.scan_id)
            account = await accounts.load_account(session, scan.account_id)
        if not account.enabled:
            raise Conflict(
                f"Account {account.name} is disabled.", fix="Enable it, then resume this scan."
            )
        holder = await self._claim(request)
        if holder is not None:
            return ScanBegun(waits_for=holder, account_name=account.name)
        if account.provider is Provider.NATIVE:  # nobody to ask who we are
            return ScanBegun(
                account_name=account.name,
                provider=account.provider,
                shards_in_flight=self._settings.shards_in_flight,
            )
        try:
            identity = await self._learn_identity(account)
        except (TargetUnreachable, RateLimited) as error:
            final = activity.info().attempt >= policies.PROVIDER_TRIES
            raise as_application_error(error, final=final) from None
        home, regions = _resolve_regions(account, identity, scan.options.regions)
        return ScanBegun(
            account_name=account.name,
            provider=account.provider,
            regions=regions,
            home_region=home,
            stagger_seconds=self._settings.stagger_seconds,
            shards_in_flight=self._settings.shards_in_flight,
        )

    @activity.defn
    async def take_account(self, request: ScanRequest) -> ScanBegun:
        """Take the account without asking its provider: all that an import needs."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, request.scan_id)
            account = await accounts.load_account(session, scan.account_id)
        return ScanBegun(waits_for=await self._claim(request), account_name=account.name)

    async def _claim(self, request: ScanRequest) -> str | None:
        """None once this scan has the account, else in words which scan has it."""
        while True:
            async with self._database.transaction() as session:
                holder = await scan_state.claim_account(session, request.scan_id, at=_now())
            if holder is None:
                return None
            # A workflow that was terminated could not give the account back itself.
            ended = await how_it_ended(self._client, f"scan/{holder}")
            if ended is None:
                break
            async with self._database.transaction() as session:
                await scan_state.end_scan(
                    session,
                    ScanEnd(
                        scan_id=holder,
                        outcome=ScanStatus.FAILED,
                        error=ScanError(
                            code="workflow_ended",
                            message=f"The workflow of this scan {ended} without recording its end.",
                            fix="Resume the scan to run the shards that are not done.",
                        ),
                    ),
                    at=_now(),
                )
        words = f"Scan {holder} of this account is running; one account has one running scan."
        async with self._database.transaction() as session:
            await scan_state.set_waiting(session, request.scan_id, words)
        return words

    async def _learn_identity(self, account: Account) -> CloudIdentity:
        identity = await check_identity(account, self._settings)
        home = account.home_region or _home_region(account, identity)
        async with self._database.transaction() as session:
            await accounts.record_identity(
                session, account.id, uid=identity.account_uid, home_region=home, at=_now()
            )
        return identity

    @activity.defn
    async def check_account(self, request: AccountRef) -> AccountCheck:
        """Who we are in the account, or exactly what is missing. Never raises for credentials."""
        async with self._database.transaction() as session:
            account = await accounts.load_account(session, request.account_id)
        try:
            identity = await self._learn_identity(account)
        except CloudsweepError as error:
            return AccountCheck(ok=False, error=error.message, fix=error.fix)
        return AccountCheck(ok=True, identity=identity)

    @activity.defn
    async def plan_discovery(self, planning: ScanPlanning) -> PhasePlan:
        """One shard per table group; skipped with a note where no Steampipe is configured."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, planning.scan_id)
            if not scan.options.discovery:
                return PhasePlan()
            account = await accounts.load_account(session, scan.account_id)
            undone = await scan_state.undone_shards(session, scan.id, kind=TaskKind.DISCOVERY)
            if undone is None:
                notes = [] if self._settings.steampipe_url else [SKIPPED_DISCOVERY]
                groups = steampipe.table_groups(account.provider) if not notes else {}
                undone = [
                    scan_state.PlannedShard(
                        kind=TaskKind.DISCOVERY,
                        key=f"discovery/{group}",
                        title=f"Inventory: {group} ({len(tables)} tables)",
                        batch=0,
                        plan={
                            "group": group,
                            "regions": planning.regions,
                            # What a scan of some regions does not see is not gone.
                            "is_complete": scan.options.regions is None,
                        },
                    )
                    for group, tables in groups.items()
                ]
                await scan_state.write_plan(session, scan.id, undone, notes=notes)
        return phase_plan(undone)

    @activity.defn
    async def plan_compliance(self, planning: ScanPlanning) -> PhasePlan:
        """Shards of (service group x region batch); also stores the texts of the checks."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, planning.scan_id)
            account = await accounts.load_account(session, scan.account_id)
            undone = await scan_state.undone_shards(session, scan.id, kind=TaskKind.COMPLIANCE)
        if not scan.options.compliance:
            return PhasePlan()
        if undone is not None:
            return phase_plan(undone)
        catalogue = await prowler_catalogue.load_catalogue(self._settings, account.provider)
        shards = prowler_plan.plan_shards(
            catalogue,
            regions=planning.regions,
            home_region=planning.home_region,
            services=scan.options.services,
            checks=scan.options.checks,
            frameworks=scan.options.frameworks,
            region_batch_size=self._settings.region_batch_size,
        )
        random.Random(SHUFFLE_SEED).shuffle(shards)  # noqa: S311 (an order, not a secret)
        undone = [
            scan_state.PlannedShard(
                kind=TaskKind.COMPLIANCE,
                key=shard.key,
                title=shard.title,
                batch=shard.batch,
                plan={
                    "checks": shard.checks,
                    "regions": shard.regions,
                    "home_region": planning.home_region,
                },
            )
            for shard in sorted(shards, key=lambda shard: shard.batch)  # stable: keeps the shuffle
        ]
        async with self._database.transaction() as session:
            await checks.upsert_checks(session, catalogue.checks)
            await scan_state.write_plan(session, scan.id, undone, notes=[])
        return phase_plan(undone)

    @activity.defn
    async def record_failed_shard(self, failed: ShardFailed) -> None:
        """A shard that failed for good; the scan goes on without it."""
        async with self._database.transaction() as session:
            await scan_state.fail_task(
                session,
                failed.scan_id,
                failed.key,
                status=TaskStatus.FAILED,
                error=failed.error,
                at=_now(),
            )

    @activity.defn
    async def record_paused(self, paused: ScanPaused) -> None:
        """Whether the scan starts new shards."""
        async with self._database.transaction() as session:
            await scan_state.pause_scan(session, paused.scan_id, paused.paused, at=_now())

    @activity.defn
    async def end_scan(self, end: ScanEnd) -> ScanSummary:
        """Record how the scan ended, give the account back, name the scan that waits for it.

        What it found becomes vulnerabilities at once; should Temporal not take that, the next
        scheduled sync does it.
        """
        async with self._database.transaction() as session:
            summary = await scan_state.end_scan(session, end, at=_now())
            scan = await scan_state.load_scan(session, end.scan_id)
            may_cascade = summary.status in FOLLOWED and bool(
                await cascades.enabled_rules(session, scan.team_id)
            )
        await ask_for_sync_soon(self._client, scan.team_id)
        return summary.model_copy(update={"may_cascade": may_cascade})


def _now() -> datetime:
    return datetime.now(UTC)


def _home_region(account: Account, identity: CloudIdentity) -> str | None:
    """Where account-wide findings are reported: us-east-1 where the account has it."""
    candidates = account.regions or identity.regions
    if not candidates:
        return None
    return "us-east-1" if "us-east-1" in candidates else sorted(candidates)[0]


def _resolve_regions(
    account: Account, identity: CloudIdentity, asked: list[str] | None
) -> tuple[str, list[str]]:
    """(home region, sorted regions to scan); refuses a region that the account does not have."""
    if account.provider is not Provider.AWS:
        return "", []
    home = account.home_region or _home_region(account, identity) or "us-east-1"
    regions = sorted(set(asked or account.regions or identity.regions))
    unknown = [region for region in regions if region not in identity.regions]
    if unknown:
        raise ScopeInvalid(
            f"Account {account.name} has no region {', '.join(unknown)}.",
            field="regions",
            fix=f"Use some of: {', '.join(identity.regions)}.",
        )
    return home, regions
