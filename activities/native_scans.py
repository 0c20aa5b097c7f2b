"""Native scans: which tool looks at which target, and one tool at work on one target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from temporalio import activity

from activities import target_pinning
from activities.failures import as_application_error
from activities.progress import ShardProgress
from activities.staged_shards import StagedShards, last_try, phase_plan
from contracts.errors import (
    NotFound,
    ScannerCrashed,
    ScannerTimedOut,
    ScopeInvalid,
    TargetInvalid,
    TargetUnreachable,
)
from contracts.findings import CheckText
from contracts.native import (
    POLICIES,
    AssetCoverage,
    AssetOutcome,
    Checkpoint,
    NativeFinding,
    NativeTool,
    ScanPolicy,
    Subject,
    ToolProgress,
    ToolReport,
)
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.scans import (
    Coverage,
    PhasePlan,
    Problem,
    ScanRequest,
    ShardReport,
    ShardTask,
)
from contracts.targets import PinnedTarget
from contracts.vocabulary import ErrorClass, FindingStatus, Provider, TargetKind, TaskKind
from scanners.native import native_plan, native_run, native_tools
from storage import checks
from storage.merge import staging
from storage.scans import coverage, scan_checkpoints, scan_policies, scan_state

STAGED_AT_ONCE: Final = 2_000
TEXT_LIMIT: Final = 300

_ERROR_CLASS: Final = {AssetOutcome.UNREACHABLE: ErrorClass.UNREACHABLE}


class NativeScanActivities(StagedShards):
    """Idempotent, as all shards: a retry first deletes the rows that an earlier attempt staged."""

    @activity.defn
    async def plan_native(self, request: ScanRequest) -> PhasePlan:
        """One shard for each tool and part of a target, every address checked and pinned.

        A target that may not be scanned becomes a note of the scan; TargetInvalid when none may.
        """
        return await self._planned(request, self._plan)

    async def _planned(
        self,
        request: ScanRequest,
        plan: Callable[[scan_state.ScanRecord], Awaitable[list[scan_state.PlannedShard]]],
    ) -> PhasePlan:
        """The shards that are not done; planned first if that is yet to be."""
        async with self._database.transaction() as session:
            scan = await scan_state.load_scan(session, request.scan_id)
            undone = await scan_state.undone_shards(session, scan.id, kind=TaskKind.NATIVE)
        return phase_plan(await plan(scan) if undone is None else undone)

    async def _plan(self, scan: scan_state.ScanRecord) -> list[scan_state.PlannedShard]:
        if scan.native is None:
            raise ScopeInvalid("This scan names no targets.")
        async with self._database.transaction() as session:
            policy = await scan_policies.load_policy(session, scan.team_id, scan.native.policy)
        scopes = scan.trigger.scopes
        shards = list[scan_state.PlannedShard]()
        notes, refused = list[str](), list[TargetInvalid | NotFound]()
        kinds = set[TargetKind]()
        for target_id in dict.fromkeys(scan.native.targets):
            try:
                pinned = await target_pinning.pin_target(
                    self._database,
                    self._settings,
                    scan.team_id,
                    target_id,
                    at=_now(),
                    scopes=scopes,
                )
            except (TargetInvalid, NotFound) as error:
                refused.append(error)
                notes.append(f"Not scanned: {error.message}")
                continue
            kinds.add(pinned.kind)
            planned = native_plan.plan(pinned, scan.native.tools)
            notes += planned.notes
            shards += [_shard(tool, policy, pinned, scopes) for tool in planned.tools]
        if refused and not shards:
            raise refused[0]
        if fix := native_tools.unsuitable(scan.native.tools or (), kinds):
            words = f"None of the tools {', '.join(scan.native.tools or ())} looks at any target."
            raise ScopeInvalid(words, field="tools", fix=fix)
        async with self._database.transaction() as session:
            await scan_state.write_plan(session, scan.id, shards, notes=notes)
        return shards

    @activity.defn
    async def run_tool(self, task: ShardTask) -> ShardReport:
        """Check the target once more, run the tool on each of its addresses, stage what it says."""
        shard, _, where = await self._start(task, task.key.partition("/")[0])
        tool = NativeTool(shard.plan["tool"])
        pinned = await target_pinning.verify_target(
            self._database,
            self._settings,
            PinnedTarget.model_validate(shard.plan["pinned"]),
            at=_now(),
            scopes=_ids(shard.plan.get("scopes")),
        )
        jobs = native_plan.jobs(tool, pinned, _planned_policy(shard.plan["policy"]))
        said = Said(pinned.kind, where.provider, port=pinned.port)
        return await self._assess(task, where, jobs, said)

    async def _assess(
        self,
        task: ShardTask,
        where: staging.StagingTarget,
        jobs: Sequence[native_plan.Job],
        said: Said,
        *,
        covers_account: bool = False,
    ) -> ShardReport:
        """Run the tool, stage what it says; `covers_account`: what it did not say is gone anywhere.

        Else only within the assets that it assessed.
        """
        tool = where.source
        async with (
            ShardProgress(self._database, task, total=100 * len(jobs)) as progress,
            aclosing(self._run(task, jobs, progress)) as words,
        ):
            async for word in words:
                said.hear(word)
                if len(said.findings) >= STAGED_AT_ONCE:
                    progress.rows += await self._stage_said(where, said)
            progress.rows += await self._stage_said(where, said)
        told = said.coverage(tool)
        async with self._database.transaction() as session:
            if covers_account:
                said.spread(await coverage.regions(session, where.account_id, tool))
            known = await coverage.live_findings(
                session, where.account_id, tool, sorted(said.assessed)
            )
        async with self._database.copying() as connection:
            progress.rows += await staging.stage_findings(connection, where, said.kept(known))
            covered = await staging.stage_coverage(connection, where, said.complete(known))
        report = await self._report(where, told, progress.rows, covered)
        await self._forget(task)  # last: a worker that dies before it loses nothing
        return report

    async def _run(
        self, task: ShardTask, jobs: Sequence[native_plan.Job], progress: ShardProgress
    ) -> AsyncGenerator[NativeFinding | AssetCoverage | ToolReport, None]:
        """What the tool says of each job. A job goes on from where an earlier attempt had come."""
        async with self._database.transaction() as session:
            begun = await scan_checkpoints.load(session, task.scan_id, task.key, at=_now())
        try:
            for number, job in enumerate(jobs):
                run = native_run.assess(*job, begun=begun.get(number))
                async with aclosing(run) as words:
                    async for word in words:
                        if isinstance(word, Checkpoint):
                            await self._keep(task, number, word)
                        elif isinstance(word, ToolProgress):
                            progress.done = int(100 * number + word.percent)
                            await progress.write()
                        else:
                            yield word
                progress.done = 100 * (number + 1)
        except (ScannerCrashed, ScannerTimedOut, TargetUnreachable) as error:
            await self._forget(task)  # it may be what it went on from
            raise as_application_error(error, final=last_try()) from None

    async def _keep(self, task: ShardTask, run: int, done: Checkpoint) -> None:
        async with self._database.transaction() as session:
            await scan_checkpoints.save(
                session, task.scan_id, task.key, run=run, report=done.report, at=_now()
            )

    async def _forget(self, task: ShardTask) -> None:
        async with self._database.transaction() as session:
            await scan_checkpoints.forget(session, task.scan_id, task.key)

    async def _stage_said(self, where: staging.StagingTarget, said: Said) -> int:
        if not said.findings:
            return 0
        async with self._database.transaction() as session:
            await checks.add_checks(session, list(said.texts.values()))
        async with self._database.copying() as connection:
            staged = await staging.stage_findings(connection, where, said.findings)
        said.findings.clear()
        said.texts.clear()
        return staged


class _Key(NamedTuple):
    """What tells findings of one tool apart."""

    check_id: str
    region: str
    resource_uid: str


class Said:
    """What a tool said so far: findings not staged yet, and how far each asset was assessed.

    The store knows an asset as a region, within which a shard may find things gone: of a target
    that names a port it is that port alone.
    """

    def __init__(self, kind: str, provider: Provider, *, port: int | None = None) -> None:
        self._kind, self._provider, self._port = kind, provider, port
        self.findings: list[ObservedFinding] = []
        self.texts: dict[str, CheckText] = {}
        self.seen: set[_Key] = set()
        self._assets: defaultdict[str, list[AssetCoverage]] = defaultdict(list)

    def _region(self, asset: str) -> str:
        port = self._port
        return asset if port is None or asset.endswith(f":{port}") else f"{asset}:{port}"

    def hear(self, word: NativeFinding | AssetCoverage | ToolReport) -> None:
        """One more word; a name with several addresses may get the same of each."""
        if isinstance(word, NativeFinding):
            self._find(word)
        elif isinstance(word, AssetCoverage):
            self._assets[self._region(word.asset)].append(word)

    def _find(self, finding: NativeFinding) -> None:
        subject = finding.subject or Subject(
            native_plan.resource_uid(finding), finding.asset, self._kind
        )
        observed = ObservedFinding(
            check_id=finding.rule,
            service=finding.tool,
            region=subject.region or self._region(finding.asset),
            resource_uid=subject.uid,
            resource_name=subject.name,
            resource_type=subject.type,
            severity=finding.severity,
            status=FindingStatus.FAIL,
            detail=f"{finding.title}\n{finding.evidence}".strip(),
        )
        if _key(observed) not in self.seen:
            self.seen.add(_key(observed))
            self.findings.append(observed)
            self.texts.setdefault(finding.rule, _text(finding, self._provider))

    def spread(self, regions: Iterable[str]) -> None:
        """What was said of the only asset holds for these regions and those of what was found."""
        words = [said for told in self._assets.values() for said in told]
        self._assets.clear()
        for region in {*regions, *(key.region for key in self.seen)}:
            self._assets[region] = words

    @property
    def assessed(self) -> set[str]:
        """Assets where what was not found again may be gone."""
        return {
            asset
            for asset, words in self._assets.items()
            if all(said.outcome is AssetOutcome.ASSESSED for said in words)
        }

    def kept(self, known: Iterable[ObservedFinding]) -> list[ObservedFinding]:
        """Those of these that were not found again, where nobody looked for them this time."""
        return [
            each
            for each in known
            if _key(each) not in self.seen
            and not all(
                said.may_resolve(each.check_id, native_plan.port_of(each.resource_uid))
                for said in self._assets[each.region]
            )
        ]

    def complete(self, known: Iterable[ObservedFinding]) -> list[CoveredCheck]:
        """Where findings that are not staged are gone."""
        pairs = {CoveredCheck(key.check_id, key.region) for key in self.seen}
        pairs |= {CoveredCheck(each.check_id, each.region) for each in known}
        assessed = self.assessed
        return sorted(pair for pair in pairs if pair.region in assessed)

    def coverage(self, tool: str) -> Coverage:
        """The same in numbers, with a problem for each asset that was not wholly assessed."""
        wanting = [
            (region, said)
            for region, words in self._assets.items()
            for said in words
            if said.outcome is not AssetOutcome.ASSESSED or said.not_assessed
        ]
        return Coverage(
            planned=len(self._assets),
            run=len(self.assessed),
            not_assessed=len(self._assets) - len(self.assessed),
            problems=[
                Problem(
                    service=tool,
                    region=region,
                    error_class=_ERROR_CLASS.get(said.outcome, ErrorClass.OTHER),
                    count=1,
                    checks=list(said.not_assessed),
                    message=f"{said.outcome}: {said.reason}"[:TEXT_LIMIT],
                )
                for region, said in wanting
            ],
        )


def _planned_policy(planned: Any) -> ScanPolicy:
    """The policy as it was when the scan was planned: what changes later is for later scans."""
    return POLICIES[planned] if isinstance(planned, str) else ScanPolicy.model_validate(planned)


def _shard(
    tool: NativeTool, policy: ScanPolicy, pinned: PinnedTarget, scopes: Sequence[UUID] | None
) -> scan_state.PlannedShard:
    return scan_state.PlannedShard(
        kind=TaskKind.NATIVE,
        key=f"{tool}/{pinned.value}",
        title=f"{tool}: {pinned.value}",
        batch=0,
        plan={
            "tool": tool,
            "policy": policy.model_dump(mode="json"),
            "pinned": pinned.model_dump(mode="json"),
            "scopes": None if scopes is None else list(map(str, scopes)),
        },
    )


def _ids(texts: Sequence[str] | None) -> list[UUID] | None:
    return None if texts is None else list(map(UUID, texts))


def _key(finding: ObservedFinding) -> _Key:
    return _Key(finding.check_id, finding.region, finding.resource_uid)


def _text(finding: NativeFinding, provider: Provider) -> CheckText:
    return CheckText(
        source=finding.tool,
        provider=provider,
        check_id=finding.rule,
        title=native_plan.check_title(finding),
        severity=finding.severity,
        service=finding.tool,
        remediation=finding.remediation,
        references=list(finding.references),
    )


def _now() -> datetime:
    return datetime.now(UTC)
