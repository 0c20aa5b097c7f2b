"""Any sequence of scans leaves what a small model in Python says, and true running totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.findings import FindingFilter, FindingSummary
from contracts.observations import CoveredCheck, ObservedFinding
from contracts.scans import FindingCounts
from contracts.vocabulary import FindingState, FindingStatus, FindingTransition, Severity
from storage.database import Database
from storage.findings.findings import summarize_findings
from storage.merge import findings as merging
from tests.storage.lab import FAIL, NOT_ASSESSED, PASS, Lab, make_lab, observed

CHECKS, REGIONS, RESOURCES = ("s3_a", "iam_b"), ("r1", "r2"), ("x", "y", "z")
PAIRS = [CoveredCheck(check, region) for check in CHECKS for region in REGIONS]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Known:
    """What the model knows of one finding."""

    status: FindingStatus
    severity: Severity
    state: FindingState
    is_gone: bool = False
    history: tuple[FindingTransition, ...] = (FindingTransition.OPENED,)


@dataclass(frozen=True)
class Step:
    """One scan: its verdicts, what it covered, what it could not judge, who muted what before."""

    verdicts: dict[Key, tuple[FindingStatus, Severity]]
    covered: frozenset[CoveredCheck]
    not_assessed: frozenset[CoveredCheck]
    muted: Key | None


KEYS = st.tuples(st.sampled_from(CHECKS), st.sampled_from(REGIONS), st.sampled_from(RESOURCES))
STEPS = st.builds(
    Step,
    verdicts=st.dictionaries(
        KEYS,
        st.tuples(
            st.sampled_from([PASS, FAIL, FindingStatus.MANUAL]),
            st.sampled_from([Severity.LOW, Severity.CRITICAL]),
        ),
        max_size=8,
    ),
    covered=st.frozensets(st.sampled_from(PAIRS)),
    not_assessed=st.frozensets(st.sampled_from(PAIRS), max_size=2),
    muted=st.none() | KEYS,
)


def expect(known: dict[Key, Known], step: Step) -> tuple[dict[Key, Known], FindingCounts]:
    """The rules in words of Python: one finding after the other, nothing clever."""
    after = dict(known)
    new = changed = resolved = unchanged = 0
    covered = step.covered - step.not_assessed
    for key, (status, severity) in step.verdicts.items():
        told = NOT_ASSESSED if CoveredCheck(*key[:2]) in step.not_assessed else status
        old = known.get(key)
        closed = FindingState.RESOLVED if told is PASS else FindingState.OPEN
        if old is None:
            after[key] = Known(told, severity, closed)
            new += 1
            continue
        same = (old.status, old.severity) == (told, severity)
        if told is NOT_ASSESSED or (same and not old.is_gone):
            unchanged += 1
            continue
        person = old.state in (FindingState.MUTED, FindingState.ACCEPTED)
        state = old.state if person else closed
        name: FindingTransition | None = FindingTransition.CHANGED
        if (old.state, state) == (FindingState.OPEN, FindingState.RESOLVED):
            name = FindingTransition.RESOLVED
        elif (old.state, state) == (FindingState.RESOLVED, FindingState.OPEN):
            name = FindingTransition.REOPENED
        elif same and state is FindingState.RESOLVED:
            name = None
        resolved += name is FindingTransition.RESOLVED
        changed += name in (FindingTransition.CHANGED, FindingTransition.REOPENED)
        after[key] = Known(told, severity, state, history=(*old.history, *([name] if name else ())))
    for key, old in known.items():
        if key in step.verdicts or old.is_gone or CoveredCheck(*key[:2]) not in covered:
            continue
        if old.state is FindingState.OPEN:
            resolved += 1
            after[key] = replace(
                old,
                state=FindingState.RESOLVED,
                is_gone=True,
                history=(*old.history, FindingTransition.RESOLVED),
            )
        elif old.state is FindingState.RESOLVED:
            after[key] = replace(old, is_gone=True)
        else:
            changed += 1
            after[key] = replace(
                old, is_gone=True, history=(*old.history, FindingTransition.CHANGED)
            )
    return after, FindingCounts(new=new, changed=changed, resolved=resolved, unchanged=unchanged)


def shown(known: dict[Key, Known]) -> dict[Key, Known]:
    """What lists and counts show."""
    return {key: each for key, each in known.items() if not (each.is_gone and each.status is PASS)}


async def stored(lab: Lab) -> dict[Key, Known]:
    """What the store says, in the model's words."""
    rows = await lab.sql(
        "SELECT place.check_id, place.region, finding.resource_name, status::text,"
        " severity::text, state::text, gone_at IS NOT NULL, ARRAY(SELECT transition::text"
        "  FROM finding_event WHERE finding_id = finding.id ORDER BY finding_event.id)"
        " FROM finding JOIN check_coverage AS place ON place.id = coverage_id"
        " WHERE place.account_id = :account_id",
        account_id=lab.account_id,
    )
    return {
        (check, region, name): Known(
            FindingStatus(status),
            Severity(severity),
            FindingState(state),
            gone,
            (FindingTransition.OPENED, *map(FindingTransition, events)),
        )
        for check, region, name, status, severity, state, gone, events in rows
    }


def observe(step: Step) -> Sequence[ObservedFinding]:
    """The verdicts as a scanner reports them."""
    return [
        observed(name, status, check, region=region, severity=severity)
        for (check, region, name), (status, severity) in step.verdicts.items()
    ]


async def summary(lab: Lab, **fields: object) -> FindingSummary:
    """Counts from the store."""
    async with lab.database.transaction() as session:
        return await summarize_findings(session, lab.team_id, FindingFilter.model_validate(fields))


@pytest.mark.parametrize("known", [merging.READ_ALL, merging.LOOK_UP])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
async def test_any_sequence_of_scans_does_what_the_rules_say(
    database: Database, known: str, steps: list[Step]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("READ_ALL", "LOOK_UP"):  # in a store of any size
            patch.setattr(merging, name, known)
        await _follow(await make_lab(database), steps)


async def _follow(lab: Lab, steps: list[Step]) -> None:
    known: dict[Key, Known] = {}
    for step in steps:
        if step.muted in known:
            key = step.muted
            known[key] = replace(known[key], state=FindingState.MUTED)
            await lab.sql(
                "UPDATE finding SET state = 'muted' FROM check_coverage AS place"
                " WHERE place.id = coverage_id AND (place.account_id, place.check_id,"
                " place.region, resource_name) = (:account_id, :check, :region, :name)",
                account_id=lab.account_id, check=key[0], region=key[1], name=key[2],
            )  # fmt: skip
        known, counts = expect(known, step)
        assert counts == await lab.scan(
            observe(step),
            sorted(step.covered - step.not_assessed),
            not_assessed=sorted(step.not_assessed),
        )
        assert await stored(lab) == known
        visible = shown(known)
        totals = await summary(lab)
        assert totals.total == len(visible) == len(await lab.list())
        for name in ("status", "state", "severity"):
            words = [getattr(each, name).value for each in visible.values()]
            assert getattr(totals, name) == {word: words.count(word) for word in set(words)}
        regions = [region for _, region, _ in visible]
        assert totals.region == {region: regions.count(region) for region in set(regions)}
        of_account = await summary(lab, account_id=[lab.account_id])
        assert of_account == totals
        of_check = await summary(lab, check_id=[CHECKS[0]])
        assert of_check.total == sum(check == CHECKS[0] for check, _, _ in visible)
