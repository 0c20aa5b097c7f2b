"""The tables of docs/schedules.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.schedules import JobTarget, NewSchedule, OneTimeTrigger, ScheduleDefinition
from contracts.vocabulary import OverlapPolicy, RunOutcome
from scheduling.words import in_words
from tests.schedules.test_overlap import POLICIES
from workflows.catalogue import JOBS

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
Rows = list[list[str]]


def table(first: str) -> Rows:
    """The rows of the table whose first column has this heading; code marks are left out."""
    lines = PAGE.splitlines()
    start = next(
        n
        for n, line in enumerate(lines)
        if line.startswith(f"| {first} |") and lines[n + 1].startswith("| ---")
    )
    found: Rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return found


def test_the_overlap_table_is_the_one_that_is_tested_on_a_real_server() -> None:
    told = {
        OverlapPolicy(policy): tuple(map(RunOutcome, outcomes))
        for policy, *outcomes in table("`overlap`")
    }

    assert told == POLICIES
    assert set(told) == set(OverlapPolicy)


def test_every_outcome_is_told_with_whether_it_is_an_end() -> None:
    told = [(outcome, ended) for outcome, ended, *_ in table("outcome")]

    assert told == [(each.value, "yes" if each.ended else "no") for each in RunOutcome]


def test_every_job_of_the_catalogue_is_told_as_it_is() -> None:
    expected = [
        [
            job.name,
            job.description,
            job.queue,
            ""
            if job.default is None
            else in_words(
                NewSchedule(
                    **job.default.model_dump(), name=job.name, target=JobTarget(job=job.name)
                )
            ).partition(";")[0],
        ]
        for job in JOBS.values()
    ]

    assert table("job") == expected


@pytest.mark.parametrize(
    "field", ["jitter_seconds", "overlap", "catchup_seconds", "max_runs", "pause_after_failures"]
)
def test_the_defaults_are_told_as_they_are(field: str) -> None:
    told = {row[0]: row[1] for row in table("field")}
    made = NewSchedule(
        name="one",
        target=JobTarget(job="account_check"),
        trigger=OneTimeTrigger.model_validate({"at": "2030-01-01T00:00:00Z"}),
    )

    default = getattr(made, field)

    assert told[field] == ("none" if default is None else str(default))


def test_every_field_of_a_schedule_is_told() -> None:
    told = {name for row in table("field") for name in row[0].split(", ")}

    assert told | {"name", "target", "trigger"} >= set(ScheduleDefinition.model_fields)
    assert told <= set(NewSchedule.model_fields)


def test_every_row_of_a_table_has_as_many_cells_as_its_heading() -> None:
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
